"""A changed policy: what was released under the old one counts no longer, unless it is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from mlflow_governance.errors import Denied, VerificationError
from mlflow_governance.serving import ServingSettings, load_model
from tests.integration.told import Told


def tighten(told: Told) -> None:
    """The organisation blocks vulnerabilities a little earlier."""
    path = told.server.home / "policies" / "registry" / "config" / "data.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "blocking_cvss": 6.9}))


def policy(told: Told) -> dict[str, Any]:
    found: dict[str, Any] = told.ask("rita", "GET", "/api/2.0/mlflow-governance/policy").json()
    return found


def served(told: Told, name: str, place: Path) -> object:
    """Load as a serving host with a cache of its own does."""
    told.here("rita", "trust", "export", "-o", str(place / "trust.yaml"))
    variables = {
        "MLFLOW_GOVERNANCE_TRUST": str(place / "trust.yaml"),
        "MLFLOW_GOVERNANCE_CACHE": str(place / "cache"),
        "MLFLOW_TRACKING_URI": told.server.uri,
    }
    with told.speaking_as("rita"):
        return load_model(f"models:/{name}/1", settings=ServingSettings.from_env(variables))


def test_a_release_lives_as_long_as_its_policy_counts(told: Told, tmp_path: Path) -> None:
    told.approved("first", seed=110)
    told.approved("second", seed=111)
    old = policy(told)["policy_digest"]
    assert served(told, "first", tmp_path) is not None

    tighten(told)
    told.restart()

    new = policy(told)["policy_digest"]
    assert new != old
    the_old_releases_are_refused(told, tmp_path)
    one_is_approved_and_judged_again(told, tmp_path)

    told.configure(old)
    told.restart()

    assert policy(told)["accepted_policy_digests"] == sorted([old, new])
    for name in ("first", "second"):
        assert told.load(f"models:/{name}/1") is not None
        assert served(told, name, tmp_path) is not None


def the_old_releases_are_refused(told: Told, place: Path) -> None:
    for name in ("first", "second"):
        with pytest.raises(MlflowException, match="DLD-004"):
            told.load(f"models:/{name}/1", "admin")
    with pytest.raises((Denied, VerificationError)):
        served(told, "first", place)


def one_is_approved_and_judged_again(told: Told, place: Path) -> None:
    # The approvals were given under the old policy, too.
    with pytest.raises(Denied, match="does not pass"):
        told.here("alice", "judge", "first/1")
    told.approve("first", "sam", "security")
    told.approve("first", "pia", "product")
    told.here("alice", "judge", "first/1")

    assert told.load("models:/first/1") is not None
    assert served(told, "first", place) is not None
    with pytest.raises(MlflowException, match="DLD-004"):
        told.load("models:/second/1")
