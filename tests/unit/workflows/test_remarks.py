"""What is told beside a verdict: warnings and waivers, in the tags stock clients read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.core.decision import remarks
from mlflow_governance.core.dossier import Outcome
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import PolicyInForce
from tests.unit.policy.builders import configured
from tests.unit.workflows.builders import InProcessRegistry
from tests.unit.workflows.fixed_policies import FixedPolicies

WAIVER = {
    "id": "W-1",
    "model": "churn",
    "check": "ACC-001",
    "owner": "ben",
    "approver": "sam",
    "reason": "tests move to CI",
    "expires": "2027-02-19T00:00:00Z",
}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[InProcessRegistry]:
    made = InProcessRegistry(tmp_path)
    made.outcomes.spoiled = {
        Kind.MODEL_CARD: Outcome.passed(complete=False, missing=["risks"], risk_tier="low"),
        Kind.TEST_RESULT: Outcome.missing("no test result is attached"),
    }
    yield made
    made.sessions.dispose()


def tags(registry: InProcessRegistry, **settings: Any) -> dict[str, str]:
    """Of a version that was just registered under these settings."""
    bundle = configured(**settings)
    policy = FixedPolicies(PolicyInForce(EmbeddedEngine(bundle), bundle))
    registry.ports = replace(registry.ports, policy=policy)
    ref = registry.accepted("churn")
    return dict(registry.book.tags[str(ref)])


def test_a_check_in_warn_mode_and_a_waiver_are_told_and_deny_nothing(
    registry: InProcessRegistry,
) -> None:
    told = tags(registry, modes={"ACC-006": "warn"}, check_waivers=[WAIVER])

    assert (told["governance.stage"], told["governance.missing"]) == ("Candidate", "")
    card, waived = told["governance.warnings"].splitlines()
    assert card.startswith("ACC-006 the model card is missing or incomplete: it lacks risks")
    assert card.endswith(
        "| fix: mlflow-governance submit models:/churn/1 --model-card model_card.yaml --key KEY.pem"
    )
    assert waived == "ACC-001 fails, which the waiver W-1 of ben covers until 2027-02-19T00:00:00Z"


def test_a_check_in_shadow_mode_is_told_to_nobody(registry: InProcessRegistry) -> None:
    told = tags(registry, modes={"ACC-006": "shadow", "ACC-001": "shadow"})

    assert told["governance.stage"] == "Candidate"
    assert told["governance.warnings"] == ""


def test_a_refusal_tells_its_warnings_apart(registry: InProcessRegistry) -> None:
    told = tags(registry, modes={"ACC-006": "warn"})

    assert told["governance.missing"].startswith("ACC-001")
    assert told["governance.warnings"].startswith("ACC-006")


def test_a_warning_of_ones_own_policy_may_say_anything() -> None:
    assert remarks({"warnings": [{"x": 1}, {"code": "OWN-1", "message": "m"}]}) == [
        {"code": "", "message": "", "fix": ""},
        {"code": "OWN-1", "message": "m", "fix": ""},
    ]
    assert remarks({}) == []
