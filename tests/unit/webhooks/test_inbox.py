"""What was done is remembered long enough, and not for ever."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mlflow_governance.outbox.relay import RelayOptions
from tests.unit.outbox.builders import NOW
from webhooks.receiver.inbox import REMEMBERED, Inbox


def test_an_id_is_forgotten_after_a_month(tmp_path: Path):
    inbox = Inbox(tmp_path / "state" / "receiver.db")
    assert inbox.once("a", NOW, lambda: None)
    assert not inbox.once("a", NOW + REMEMBERED, lambda: None)
    assert inbox.once("a", NOW + REMEMBERED + timedelta(seconds=1), lambda: None)


def test_a_month_is_longer_than_the_registry_goes_on_retrying():
    options = RelayOptions()
    longest = sum(options.retry_delays) * (1 + options.jitter)
    assert timedelta(seconds=longest) < REMEMBERED


def test_an_act_that_raises_is_not_remembered(tmp_path: Path):
    inbox = Inbox(tmp_path / "receiver.db")

    def fails() -> None:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        inbox.once("a", NOW, fails)
    assert not inbox.has("a")


def test_what_is_remembered_outlives_the_process(tmp_path: Path):
    Inbox(tmp_path / "receiver.db").remember("a", NOW)
    assert Inbox(tmp_path / "receiver.db").has("a")
