"""A setting that stands twice in config.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_governance import config
from mlflow_governance.errors import ConfigurationError


@pytest.mark.parametrize(
    "text",
    [
        "policy_signed: true\npolicy_signed: false\n",
        "policy_approvals: {count: 2, count: 1, roles: [security]}\n",
    ],
)
def test_a_setting_is_not_quietly_undone_by_a_second_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)

    with pytest.raises(ConfigurationError, match="twice"):
        config.load(tmp_path)
