"""Settings about changes of policy: what is misspelt asks nobody for less."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlflow_governance import config
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.workflows.policy_ports import Quorum


def settings(home: Path, **values: object) -> config.Settings:
    (home / "config.yaml").write_text(json.dumps(values))
    return config.load(home)


def test_nobody_is_asked_unless_it_is_set(tmp_path: Path) -> None:
    assert settings(tmp_path).policy_approvals is None
    assert settings(tmp_path).policy_reload_seconds == 5.0


def test_approvals_are_a_count_of_people_with_roles(tmp_path: Path) -> None:
    asked = {"count": 2, "roles": ["Security ", "risk", "security"]}

    found = settings(tmp_path, policy_approvals=asked, policy_reload_seconds=30)

    assert found.policy_approvals == Quorum(2, ("risk", "security"))
    assert found.policy_reload_seconds == 30.0


@pytest.mark.parametrize(
    "asked",
    [
        {},
        [],
        2,
        None,
        {"count": 0, "roles": ["security"]},
        {"count": True, "roles": ["security"]},
        {"count": "2", "roles": ["security"]},
        {"count": 99, "roles": ["security"]},
        {"count": 2, "roles": []},
        {"count": 2, "roles": [""]},
        {"count": 2, "roles": "security"},
        {"count": 2},
        {"count": 2, "roles": ["security"], "least": 0},
    ],
)
def test_what_is_misspelt_stops_the_server(tmp_path: Path, asked: object) -> None:
    with pytest.raises(ConfigurationError, match="policy_approvals"):
        settings(tmp_path, policy_approvals=asked)


@pytest.mark.parametrize("seconds", [0, -1, 0.5, 1e9, True, "5", None, float("nan")])
def test_a_pace_that_is_none_stops_the_server(tmp_path: Path, seconds: object) -> None:
    with pytest.raises(ConfigurationError, match="policy_reload_seconds"):
        settings(tmp_path, policy_reload_seconds=seconds)


def test_a_scope_nobody_looks_at_stops_the_server(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="policy_scope"):
        settings(tmp_path, policies="mine", policy_scope="registry")

    assert settings(tmp_path, policies="mine", policy_scope="r", policy_signed=True).policy_signed
    assert settings(tmp_path, policies="https://h/b.tar.gz", policy_scope="r").policy_scope == "r"


@pytest.mark.parametrize("days", [-1, True, "30", 4000, None])
def test_a_grace_that_is_none_stops_the_server(tmp_path: Path, days: object) -> None:
    with pytest.raises(ConfigurationError, match="policy_grace_days"):
        settings(tmp_path, policy_grace_days=days)
