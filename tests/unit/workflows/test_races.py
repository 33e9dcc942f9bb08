"""Two people at once: what one judged no longer stands when the other was faster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Conflict, Denied, NotFound
from mlflow_governance.evidence.interface import EvidenceItem, Kind
from mlflow_governance.workflows.accept import settle
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.attach import attach
from mlflow_governance.workflows.delete import delete_version
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import rejudge, transition
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.workflows.agreement import disagreements
from tests.unit.workflows.builders import ALICE, PIA, SAM, FolderArtifacts, InProcessRegistry

BOTH = Actor("bo", ("security", "product"), authenticated=True)


class Interrupted(FolderArtifacts):
    """Somebody else acts while the files are being hashed."""

    between: Callable[[], Any] | None = None

    def manifest(self, location: str) -> Manifest:
        found = super().manifest(location)
        between, self.between = self.between, None
        if between is not None:
            between()
        return found


@pytest.fixture
def registry(tmp_path: Path) -> InProcessRegistry:
    return InProcessRegistry(tmp_path)


def interrupted(registry: InProcessRegistry, between: Callable[[], Any]) -> None:
    artifacts = Interrupted(registry.artifacts.root)
    artifacts.between = between
    registry.ports = replace(registry.ports, artifacts=artifacts)


def agree(registry: InProcessRegistry) -> None:
    assert disagreements(registry.sessions, registry.ledger_key) == []


def test_files_changed_between_two_acceptances_do_not_slip_in(registry: InProcessRegistry) -> None:
    ref = registry.register("churn")

    def accepted_meanwhile() -> None:
        registry.model("churn-1", "what was judged and accepted")
        registry.settle(ref)

    interrupted(registry, accepted_meanwhile)
    with pytest.raises(Conflict):
        registry.settle(ref, SAM)

    record = registry.record(ref)
    assert record.stage is Stage.CANDIDATE
    assert record.facts is not None
    assert record.digest == registry.artifacts.manifest("churn-1").digest
    agree(registry)


def test_a_version_deleted_while_it_is_hashed_is_not_brought_back(
    registry: InProcessRegistry,
) -> None:
    ref = registry.register("churn")
    interrupted(registry, lambda: delete_version(registry.ports, Request(ALICE, ref), lambda: None))

    with pytest.raises((Conflict, NotFound)):
        settle(registry.ports, Request(ALICE, ref))

    with registry.ports.store.read() as reading:
        assert reading.versions() == []


def test_an_acceptance_that_comes_second_refuses_nothing_and_records_nothing(
    registry: InProcessRegistry,
) -> None:
    ref = registry.register("churn")
    interrupted_during_examination(registry, lambda: registry.settle(ref))

    with pytest.raises(Conflict):
        registry.settle(ref, SAM)

    with registry.ports.store.read() as reading:
        acts = [entry["act"] for entry in reading.timeline(registry.record(ref).uid)]
    assert acts == ["version.registered", "version.transitioned"]
    agree(registry)


def _promote(registry: InProcessRegistry, ref: VersionRef) -> None:
    transition(registry.ports, Request(ALICE, ref), Stage.STAGING)


def _revoke(registry: InProcessRegistry, ref: VersionRef) -> None:
    withdraw(registry.ports, Request(SAM, ref, "an incident"), Stage.REVOKED)


def _rejudge(registry: InProcessRegistry, ref: VersionRef) -> None:
    rejudge(registry.ports, Request(SAM, ref))


@pytest.mark.parametrize("meanwhile", [_promote, _revoke, _rejudge])
@pytest.mark.parametrize("act", [_promote, _rejudge])
def test_what_was_judged_before_somebody_elses_commit_is_not_written(
    registry: InProcessRegistry,
    act: Callable[[InProcessRegistry, VersionRef], None],
    meanwhile: Callable[[InProcessRegistry, VersionRef], None],
) -> None:
    ref = registry.accepted("churn")
    # Found out since: judging again what stands already would write nothing.
    registry.outcomes.spoiled = {
        Kind.SBOM: Outcome.passed(components=4, pins_checked=True, unresolved=[])
    }
    interrupted_during_policy(registry, lambda: meanwhile(registry, ref))

    with pytest.raises((Conflict, Denied)):
        act(registry, ref)

    agree(registry)


def interrupted_during_policy(registry: InProcessRegistry, between: Callable[[], Any]) -> None:
    """Somebody else acts while policy is being asked."""
    engine = registry.engine

    class Slow:
        name, policy_digest = engine.name, engine.policy_digest

        def evaluate(self, *arguments: Any) -> Any:
            registry.ask(engine)
            between()
            return engine.evaluate(*arguments)

    registry.ask(Slow())


def interrupted_during_examination(registry: InProcessRegistry, between: Callable[[], Any]) -> None:
    """Somebody else acts after the files were hashed, before the judgement is begun."""
    store = registry.ports.store

    class Slow:
        begun = 0

        def read(self) -> Any:
            self.begun += 1
            if self.begun == 2:
                registry.ports = replace(registry.ports, store=store)
                between()
            return store.read()

        def begin(self) -> Any:
            return store.begin()

    registry.ports = replace(registry.ports, store=Slow())


def test_one_person_does_not_approve_twice_by_being_quick(registry: InProcessRegistry) -> None:
    ref = registry.accepted("churn")
    ports = registry.ports

    class Late:
        """The second word is on its way before the first is written."""

        asked = False

        def __call__(self) -> Any:
            if not self.asked:
                self.asked = True
                approve(ports, Request(BOTH, ref, "also"), "product", "approve")
            return ports.clock()

    with pytest.raises(Denied, match="DUTY-ONE-ROLE"):
        approve(replace(ports, clock=Late()), Request(BOTH, ref, "yes"), "security", "approve")

    with ports.store.read() as reading:
        assert [a.role for a in reading.approvals(registry.record(ref).uid)] == ["product"]
    agree(registry)


def test_an_approval_of_a_version_revoked_meanwhile_is_refused(registry: InProcessRegistry) -> None:
    ref = registry.accepted("churn")
    ports = registry.ports

    class Late:
        asked = False

        def __call__(self) -> Any:
            if not self.asked:
                self.asked = True
                withdraw(ports, Request(PIA, ref, "an incident"), Stage.REVOKED)
            return ports.clock()

    with pytest.raises(Denied, match="DUTY-STAGE"):
        approve(replace(ports, clock=Late()), Request(SAM, ref, "yes"), "security", "approve")
    agree(registry)


def test_evidence_never_takes_the_place_of_other_evidence(registry: InProcessRegistry) -> None:
    ref = registry.accepted("churn")
    name = "attestations/canary.intoto.json"
    attach(registry.ports, Request(ALICE, ref), EvidenceItem(name, b"{}"))
    before = registry.entries()

    attach(registry.ports, Request(ALICE, ref), EvidenceItem(name, b"{}"))
    with pytest.raises(Conflict):
        attach(registry.ports, Request(ALICE, ref), EvidenceItem(name, b"{ }"))

    assert registry.entries() == before
