"""Clocks are wrong: a key's days are counted, tomorrow's results are refused, nothing is torn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Denied
from mlflow_governance.evidence.attestation import CANARY, SLSA_PROVENANCE, TEST_RESULT
from mlflow_governance.evidence.evaluation import CanaryVerifier, TestResultVerifier
from mlflow_governance.evidence.examiner import EvidenceExaminer
from mlflow_governance.evidence.inspection import Inspection
from mlflow_governance.evidence.interface import EvidenceItem, Kind
from mlflow_governance.evidence.provenance import ProvenanceVerifier
from mlflow_governance.evidence.signature import SignatureVerifier, sign_model
from mlflow_governance.evidence.trust import Signer, TrustPolicy
from mlflow_governance.store.outbox_queue import OutboxQueue
from mlflow_governance.store.task_queue import SqlTaskQueue
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.attach import attach
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import transition
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.evidence import builders as evidence
from tests.unit.workflows.agreement import disagreements
from tests.unit.workflows.builders import (
    ALICE,
    GOOD,
    PIA,
    SAM,
    Clock,
    FolderArtifacts,
    InProcessRegistry,
)

TODAY = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
DAY, YEAR = timedelta(days=1), timedelta(days=365)


@dataclass
class Produced(FolderArtifacts):
    """Folders with evidence beside the models."""

    items: dict[str, list[EvidenceItem]] = field(default_factory=dict)

    def evidence(self, location: str) -> list[EvidenceItem]:
        return self.items.get(location, [])


class Examiner:
    """Signatures, provenance, tests and canaries are verified; the rest is good."""

    def __init__(self, signer: Signer) -> None:
        verifiers = SignatureVerifier(), ProvenanceVerifier(), TestResultVerifier()
        self._real = EvidenceExaminer(TrustPolicy((signer,)), (*verifiers, CanaryVerifier()))

    @property
    def trust_digest(self) -> Digest:
        return self._real.trust_digest

    @property
    def trust_document(self) -> Mapping[str, Any]:
        return self._real.trust_document

    def examine(
        self,
        manifest: Manifest,
        model_name: str,
        items: Sequence[EvidenceItem],
        now: datetime,
        inspection: Inspection | None = None,
    ) -> dict[Kind, Outcome]:
        return GOOD | self._real.examine(manifest, model_name, items, now, inspection)

    def recognise(
        self,
        manifest: Manifest,
        model_name: str,
        item: EvidenceItem,
        now: datetime,
        beside: Sequence[EvidenceItem] = (),
    ) -> None:
        self._real.recognise(manifest, model_name, item, now, beside)


class Clocked:
    """A registry whose clock stands where the test says."""

    def __init__(self, folder: Path, **limits: datetime) -> None:
        self.registry = InProcessRegistry(folder)
        self.artifacts = Produced(self.registry.artifacts.root)
        self.clock = Clock(TODAY)
        self.registry.ports = replace(
            self.registry.ports,
            artifacts=self.artifacts,
            examiner=Examiner(evidence.signer(**limits)),
            clock=self.clock,
        )

    def registered(self, name: str = evidence.MODEL) -> VersionRef:
        """A version with its evidence, not judged yet."""
        location = f"{name}-1"
        self.registry.model(location)
        manifest = self.artifacts.manifest(location)
        self.artifacts.items[location] = list(_signed(manifest))
        return self.registry.register(name, location=location)

    def at_staging(self) -> VersionRef:
        ref = self.registered()
        assert self.registry.settle(ref).decision.allow
        transition(self.registry.ports, Request(ALICE, ref), Stage.STAGING)
        for actor, role in ((SAM, "security"), (PIA, "product")):
            approve(self.registry.ports, Request(actor, ref, "fine"), role, "approve")
        return ref

    def canary(self, ref: VersionRef, at: datetime, name: str = "canary") -> None:
        manifest = self.artifacts.manifest(self.registry.record(ref).location)
        data = evidence.attest(CANARY, evidence.canary_body(at=at), manifest=manifest)
        item = EvidenceItem(f"attestations/{name}.intoto.json", data)
        attach(self.registry.ports, Request(ALICE, ref), item)

    def refusal(self, ref: VersionRef, stage: Stage) -> str:
        """Why a transition was refused; and that nothing moved."""
        before = self.registry.record(ref).stage
        with pytest.raises(Denied) as refusal:
            transition(self.registry.ports, Request(PIA, ref), stage)
        assert self.registry.record(ref).stage is before
        self.agrees()
        return "\n".join(
            f"{reason.get('message')}" for reason in refusal.value.details["reasons"]
        ) + repr(self.outcomes(ref))

    def outcomes(self, ref: VersionRef) -> Mapping[str, object]:
        with self.registry.ports.store.read() as reading:
            last = reading.last_decision(self.registry.record(ref).uid)
        assert last is not None
        found: Mapping[str, object] = last["dossier"]["evidence"]
        return found

    def agrees(self) -> None:
        assert disagreements(self.registry.sessions, self.registry.ledger_key) == []


def _signed(manifest: Manifest) -> Iterable[EvidenceItem]:
    yield EvidenceItem("model.sig", sign_model(manifest, evidence.MODEL, evidence.key()))
    for name, kind, body in (
        ("provenance", SLSA_PROVENANCE, evidence.PROVENANCE_BODY),
        ("tests", TEST_RESULT, evidence.results_body()),
    ):
        yield EvidenceItem(
            f"attestations/{name}.intoto.json", evidence.attest(kind, body, manifest=manifest)
        )


def test_a_key_that_is_not_valid_yet_opens_nothing_until_its_day(tmp_path: Path) -> None:
    clocked = Clocked(tmp_path, since=TODAY + DAY)
    ref = clocked.registered()

    refusal = clocked.refusal(ref, Stage.CANDIDATE)

    assert "the key of pipeline is not valid before 2026-11-22" in refusal
    clocked.clock.now = TODAY + DAY
    assert clocked.registry.settle(ref).decision.allow


def test_a_key_that_expired_takes_nobody_further(tmp_path: Path) -> None:
    clocked = Clocked(tmp_path, until=TODAY + DAY)
    ref = clocked.registered()
    clocked.registry.settle(ref)

    clocked.clock.now = TODAY + DAY
    refusal = clocked.refusal(ref, Stage.STAGING)

    assert "the key of pipeline expired at 2026-11-22" in refusal


@pytest.mark.parametrize("ahead", [timedelta(minutes=6), DAY, YEAR])
def test_a_canary_from_the_future_is_refused_by_name(tmp_path: Path, ahead: timedelta) -> None:
    clocked = Clocked(tmp_path)
    ref = clocked.at_staging()
    clocked.canary(ref, TODAY + ahead)

    refusal = clocked.refusal(ref, Stage.APPROVED)

    assert "attestations/canary.intoto.json: it is from the future" in refusal


def test_a_server_a_year_behind_refuses_the_canary_of_today_and_takes_it_once_mended(
    tmp_path: Path,
) -> None:
    clocked = Clocked(tmp_path)
    clocked.clock.now = TODAY - YEAR
    ref = clocked.at_staging()
    clocked.canary(ref, TODAY)
    assert "from the future" in clocked.refusal(ref, Stage.APPROVED)

    clocked.clock.now = TODAY + timedelta(hours=1)

    moved = transition(clocked.registry.ports, Request(PIA, ref), Stage.APPROVED)
    assert moved.stage is Stage.APPROVED
    clocked.agrees()


def test_a_rollback_is_not_outlived_by_an_older_success(tmp_path: Path) -> None:
    clocked = Clocked(tmp_path)
    ref = clocked.at_staging()
    clocked.canary(ref, TODAY - DAY, "older")
    manifest = clocked.artifacts.manifest(clocked.registry.record(ref).location)
    body = evidence.canary_body("ROLLBACK", TODAY)
    item = EvidenceItem(
        "attestations/newer.intoto.json", evidence.attest(CANARY, body, manifest=manifest)
    )
    attach(clocked.registry.ports, Request(ALICE, ref), item)

    assert "ROLLBACK" in clocked.refusal(ref, Stage.APPROVED)


def test_a_server_a_year_ahead_sees_keys_expired_that_are_not(tmp_path: Path) -> None:
    clocked = Clocked(tmp_path, until=TODAY + 30 * DAY)
    ref = clocked.registered()
    clocked.clock.now = TODAY + YEAR
    assert "expired" in clocked.refusal(ref, Stage.CANDIDATE)

    clocked.clock.now = TODAY

    assert clocked.registry.settle(ref).decision.allow
    clocked.agrees()


def test_a_clock_that_jumps_breaks_neither_ledger_nor_state(tmp_path: Path) -> None:
    clocked = Clocked(tmp_path)
    ref = clocked.at_staging()
    clocked.clock.now = TODAY + YEAR
    withdraw(clocked.registry.ports, Request(SAM, ref, "odd"), Stage.QUARANTINED)
    clocked.clock.now = TODAY - YEAR
    withdraw(clocked.registry.ports, Request(SAM, ref, "fine"), Stage.STAGING)
    clocked.clock.now = TODAY

    withdraw(clocked.registry.ports, Request(SAM, ref, "after all"), Stage.REVOKED)

    clocked.agrees()
    with clocked.registry.ports.store.read() as reading:
        stages = [e["after"]["stage"] for e in reading.timeline(clocked.registry.record(ref).uid)]
    assert stages[-3:] == ["Quarantined", "Staging", "Revoked"]


def test_work_and_events_queued_by_a_clock_far_ahead_are_done_once_it_is_mended(
    tmp_path: Path,
) -> None:
    registry = InProcessRegistry(tmp_path)
    registry.accepted("churn")
    clock = Clock(datetime.now(UTC) - YEAR)
    tasks, events = SqlTaskQueue(registry.sessions, clock), OutboxQueue(registry.sessions, clock)

    class All:
        name, acts = "all", ()

    ahead = OutboxQueue(registry.sessions, kept=100 * YEAR)
    ahead.enqueue_missing([All()])
    assert ahead.claim(["all"], 1, 600, datetime.now(UTC)), "leased by a relay a year ahead"

    assert tasks.claim(8, 60)
    assert len(events.claim(["all"], 100, 60, clock())) == registry.entries()


def test_the_identity_of_a_model_does_not_depend_on_the_clock(tmp_path: Path) -> None:
    clocked = Clocked(tmp_path)
    ref = clocked.registered()
    clocked.registry.settle(ref)
    before = clocked.registry.record(ref).digest

    clocked.clock.now = TODAY + YEAR

    assert clocked.artifacts.manifest(clocked.registry.record(ref).location).digest == before
