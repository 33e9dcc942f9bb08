"""What is handed out is judged by the advisories of now; it is proposed, and nothing is moved."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.event import Act
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import transition
from mlflow_governance.workflows.rejudge import ORIGINS, REPEATED_AFTER, Now, Review, rejudge_all
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.policy.builders import configured
from tests.unit.workflows.agreement import disagreements
from tests.unit.workflows.builders import ALICE, PIA, SAM, InProcessRegistry

SEVERE: dict[str, Any] = {
    "id": "CVE-2026-7", "aliases": ["GHSA-7"], "severity": "critical", "cvss": 9.8,
    "component": "pkg:pypi/torch@2.1", "source": "osv", "kev": False, "epss": None, "vex": None,
}  # fmt: skip
NAMED = "CVE-2026-7 in pkg:pypi/torch@2.1"


@pytest.fixture
def registry(tmp_path: Path) -> InProcessRegistry:
    """One version at each stage that is handed out, and one at Candidate."""
    registry = InProcessRegistry(tmp_path)
    registry.accepted("candidate")
    for name in ("staging", "approved", "deprecated"):
        ref = registry.accepted(name)
        transition(registry.ports, Request(ALICE, ref), Stage.STAGING)
        if name == "staging":
            continue
        approve(registry.ports, Request(SAM, ref, "fine"), "security", "approve")
        approve(registry.ports, Request(PIA, ref, "fine"), "product", "approve")
        transition(registry.ports, Request(ALICE, ref), Stage.APPROVED)
    transition(registry.ports, Request(PIA, VersionRef("deprecated", 1)), Stage.DEPRECATED)
    registry.artifacts.away = True  # files are not read
    return registry


def advised(registry: InProcessRegistry, *found: dict[str, Any], **facts: Any) -> None:
    """From now on these vulnerabilities are known."""
    registry.outcomes.spoiled = {
        Kind.VULNERABILITIES: Outcome.passed(vulnerabilities=list(found), **facts)
    }


def reviews(registry: InProcessRegistry, *stages: Stage) -> dict[str, Review]:
    return {r.ref.name: r for r in rejudge_all(registry.ports, stages or tuple(ORIGINS))}


def proposals(registry: InProcessRegistry, name: str) -> list[dict[str, Any]]:
    record = registry.record(VersionRef(name, 1))
    with registry.ports.store.read() as reading:
        timeline = reading.timeline(record.uid)
    return [entry for entry in timeline if entry["act"] == Act.QUARANTINE_PROPOSED]


def test_what_nothing_speaks_against_is_fine_and_writes_nothing(
    registry: InProcessRegistry,
) -> None:
    before = registry.entries()

    found = reviews(registry)

    assert {name: (r.stage, r.now) for name, r in found.items()} == {
        "staging": (Stage.STAGING, Now.OK),
        "approved": (Stage.APPROVED, Now.OK),
        "deprecated": (Stage.DEPRECATED, Now.OK),
    }
    assert all(not r.command and not r.others for r in found.values())
    assert registry.entries() == before


def test_a_new_advisory_proposes_quarantine_and_moves_nothing(
    registry: InProcessRegistry,
) -> None:
    before = registry.entries()
    stages = {n: registry.record(VersionRef(n, 1)) for n in ("staging", "approved", "deprecated")}
    advised(registry, SEVERE)

    found = reviews(registry)

    assert {r.now for r in found.values()} == {Now.PROPOSED}
    assert {r.vulnerabilities for r in found.values()} == {(NAMED,)}
    assert registry.entries() == before + 3
    for name, record in stages.items():
        now = registry.record(record.ref)
        assert (now.stage, now.facts, now.revision) == (record.stage, record.facts, record.revision)
        assert registry.mlflow_stage(record.ref) == record.stage.value
        (entry,) = proposals(registry, name)
        assert entry["actor"] == "system:rejudge"
        assert entry["allowed"] is True
        assert entry["before"] == entry["after"]
        assert entry["reason"] == f"known vulnerabilities block it: {NAMED}"
        assert entry["facts"]["failed"] == ["PRO-008"]
        assert entry["facts"]["vulnerabilities"] == [NAMED]


def test_the_ledger_and_the_tables_still_agree(registry: InProcessRegistry) -> None:
    advised(registry, SEVERE)
    reviews(registry)

    assert not disagreements(registry.sessions, registry.ledger_key)


def test_the_decision_behind_a_proposal_can_be_looked_up(registry: InProcessRegistry) -> None:
    advised(registry, SEVERE)
    reviews(registry)
    (entry,) = proposals(registry, "approved")
    with registry.ports.store.read() as reading:
        decision = reading.decision(entry["decision_id"])
        last = reading.last_decision(registry.record(VersionRef("approved", 1)).uid)

    assert decision is not None
    assert last is not None
    assert decision["allow"] is False
    assert decision["dossier"]["action"] == {"from": "Staging", "to": "Approved", "again": True}
    assert last["decision_id"] == entry["decision_id"]


def test_the_command_it_proposes_does_it(registry: InProcessRegistry) -> None:
    advised(registry, {**SEVERE, "component": 'pkg:pypi/it\'s $(rm) "x"@1'})
    review = reviews(registry)["approved"]
    words = shlex.split(review.command)

    assert words[:4] == ["mlflow-governance", "quarantine", "approved/1", "--reason"]
    withdraw(registry.ports, Request(SAM, review.ref, words[4]), Stage.QUARANTINED)
    assert registry.record(review.ref).stage is Stage.QUARANTINED
    assert "approved" not in reviews(registry)


def test_a_proposal_that_stands_is_not_told_again_for_a_week(registry: InProcessRegistry) -> None:
    advised(registry, SEVERE)
    reviews(registry)
    before = registry.entries()

    again = reviews(registry)
    assert {r.now for r in again.values()} == {Now.STANDING}
    assert all(r.command for r in again.values())
    assert registry.entries() == before

    clock: Any = registry.ports.clock
    clock.now += REPEATED_AFTER + timedelta(seconds=10)
    assert {r.now for r in reviews(registry).values()} == {Now.PROPOSED}


def test_another_vulnerability_is_another_proposal(registry: InProcessRegistry) -> None:
    advised(registry, SEVERE)
    reviews(registry, Stage.APPROVED)
    advised(registry, SEVERE, {**SEVERE, "id": "CVE-2026-8"})

    assert reviews(registry, Stage.APPROVED)["approved"].now is Now.PROPOSED
    assert len(proposals(registry, "approved")) == 2


def test_a_version_that_came_back_is_told_of_again(registry: InProcessRegistry) -> None:
    advised(registry, SEVERE)
    ref = reviews(registry, Stage.APPROVED)["approved"].ref
    withdraw(registry.ports, Request(SAM, ref, "look"), Stage.QUARANTINED)
    transition(registry.ports, Request(SAM, ref, "looked"), Stage.APPROVED)

    assert reviews(registry, Stage.APPROVED)["approved"].now is Now.PROPOSED


def test_only_the_stages_named_are_judged(registry: InProcessRegistry) -> None:
    advised(registry, SEVERE)

    assert set(reviews(registry, Stage.STAGING)) == {"staging"}
    assert not proposals(registry, "approved")


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome.failed("no signed SBOM counts"),
        Outcome.missing("no SBOM is attached"),
        Outcome.error("the vulnerabilities verifier broke"),
    ],
)
def test_what_cannot_be_checked_is_no_reason_to_propose(
    registry: InProcessRegistry, outcome: Outcome
) -> None:
    before = registry.entries()
    registry.outcomes.spoiled = {Kind.VULNERABILITIES: outcome}

    found = reviews(registry)

    assert {(r.now, r.problem, r.command) for r in found.values()} == {
        (Now.UNCHECKED, outcome.problem, "")
    }
    assert registry.entries() == before


def test_advisories_that_are_too_old_are_no_reason_to_propose(registry: InProcessRegistry) -> None:
    engine = EmbeddedEngine(configured(max_advisory_age_days=7))
    registry.ask(engine)
    advised(registry, advisories_at="2026-11-01T00:00:00.000000Z")

    found = reviews(registry)

    assert {r.now for r in found.values()} == {Now.UNCHECKED}
    assert all("too old" in r.problem for r in found.values())


def test_other_checks_that_fail_are_told_apart(registry: InProcessRegistry) -> None:
    # Under another policy the approvals are void; that is no news about vulnerabilities.
    registry.ask(EmbeddedEngine(configured(blocking_cvss=8.0)))
    found = reviews(registry)

    assert {r.now for r in found.values()} == {Now.OK}
    assert found["approved"].others == ("PRO-012",)


def test_an_engine_without_an_answer_lets_nothing_pass(registry: InProcessRegistry) -> None:
    class Broken:
        name = "broken"
        policy_digest = Digest("sha256:" + "b" * 64)

        def evaluate(self, gate: object, dossier: bytes) -> Any:
            return {}

    registry.ask(Broken())
    before = registry.entries()

    assert {r.now for r in reviews(registry).values()} == {Now.UNCHECKED}
    assert registry.entries() == before


def _while_judging(registry: InProcessRegistry, act: Callable[[], object]) -> None:
    inner, done = registry.outcomes.examine, []

    def examine(*arguments: Any) -> Any:
        if not done:
            done.append(True)
            act()
        return inner(*arguments)

    registry.outcomes.examine = examine  # type: ignore[method-assign]


def test_a_version_that_is_moved_meanwhile_is_left_alone(registry: InProcessRegistry) -> None:
    advised(registry, SEVERE)
    ref = VersionRef("approved", 1)
    _while_judging(
        registry,
        lambda: withdraw(registry.ports, Request(SAM, ref, "faster"), Stage.QUARANTINED),
    )

    found = reviews(registry, Stage.APPROVED)

    assert found["approved"].now is Now.CHANGED
    assert not proposals(registry, "approved")


def test_many_vulnerabilities_fit_into_one_sentence(registry: InProcessRegistry) -> None:
    advised(registry, *({**SEVERE, "id": f"CVE-2026-{n:05}"} for n in range(500)))
    review = reviews(registry, Stage.APPROVED)["approved"]

    assert len(review.vulnerabilities) == 500
    assert review.reason.endswith(" and 490 more")
    assert len(review.reason) < 2000
    assert review.to_document()["command"] == review.command
