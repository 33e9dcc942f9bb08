"""A target that cannot work is refused when it is configured, not when an event waits for it."""

from __future__ import annotations

from typing import Any

import pytest

from mlflow_governance.errors import ConfigurationError
from tests.unit.outbox.builders import SECRET, target


def test_the_secret_stays_out_of_what_is_printed():
    assert SECRET not in repr(target("https://serving.example"))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "../x"},
        {"url": ""},
        {"url": "serving.example/events"},
        {"url": "ftp://serving.example"},
        {"url": "file:///etc/passwd"},
        {"url": "http://"},
        {"url": "http://[::1"},
        {"url": "http://host:99999"},
        {"url": "https://ann:secret@serving.example"},
        {"secret": "plain text"},
        {"acts": ("version.promoted",)},
        {"timeout_seconds": 0},
        {"timeout_seconds": 61},
        {"timeout_seconds": float("nan")},
    ],
)
def test_a_target_that_cannot_work_is_refused(changes: dict[str, Any]):
    with pytest.raises(ConfigurationError):
        target(**{"url": "https://serving.example", **changes})
