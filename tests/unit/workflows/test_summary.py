"""Each decision as a signed verification summary."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.core.digest import hex_of, of_bytes
from mlflow_governance.core.dossier import Gate, Outcome
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Denied
from mlflow_governance.evidence import envelope, predicate
from mlflow_governance.evidence.interface import EvidenceItem, Kind
from mlflow_governance.evidence.predicate import VSA
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import transition
from mlflow_governance.workflows.summary import signed_summary
from tests.unit.workflows.builders import ALICE, InProcessRegistry


@pytest.fixture
def registry(tmp_path: Path) -> InProcessRegistry:
    return InProcessRegistry(tmp_path)


def attached(registry: InProcessRegistry, ref: VersionRef) -> dict[str, dict[str, Any]]:
    with registry.ports.store.read() as reading:
        files = reading.attachments(registry.record(ref).uid)
    return {f.path: opened(registry, f.data) for f in files if f.path.endswith(".vsa.json")}


def opened(registry: InProcessRegistry, data: bytes) -> dict[str, Any]:
    enclosed = envelope.parse(data)
    envelope.verify(enclosed, [registry.ports.signer.key.public])  # type: ignore[attr-defined]
    statement: dict[str, Any] = json.loads(enclosed.payload)
    predicate.check(VSA, statement["predicate"])
    return statement


def test_a_decision_that_was_carried_out_is_summed_up_as_passed(
    registry: InProcessRegistry,
) -> None:
    ref = registry.accepted("churn")
    [(name, statement)] = attached(registry, ref).items()

    record = registry.record(ref)
    assert name == f"decisions/accept-{record.decision_id}.vsa.json"
    assert statement["subject"][0]["digest"]["sha256"] == hex_of(record.digest)  # type: ignore[arg-type]
    said = statement["predicate"]
    assert (said["verificationResult"], said["verifiedLevels"]) == (
        "PASSED",
        ["MLFLOW_GOVERNANCE_CANDIDATE"],
    )


def test_it_names_every_file_that_was_judged(registry: InProcessRegistry) -> None:
    ref = registry.register("churn")
    registry.settle(ref)
    item = EvidenceItem("attestations/late.intoto.json", b"{}")
    with registry.ports.store.begin() as uow:
        uow.add_evidence(registry.record(ref).uid, [item])
    transition(registry.ports, Request(ALICE, ref), Stage.STAGING)

    summary = next(s for n, s in attached(registry, ref).items() if "promote" in n)
    inputs = {i["uri"]: i["digest"]["sha256"] for i in summary["predicate"]["inputAttestations"]}
    assert inputs["urn:mlflow-governance:evidence:attestations/late.intoto.json"] == hex_of(
        of_bytes(b"{}")
    )
    assert sum("dossier" in uri for uri in inputs) == 1


def test_refusals_are_summed_up_as_failed_and_share_one_file(registry: InProcessRegistry) -> None:
    ref = registry.accepted("churn")
    registry.outcomes.spoiled[Kind.SIGNATURE] = Outcome.failed("it is not")
    for _ in range(3):
        with pytest.raises(Denied):
            transition(registry.ports, Request(ALICE, ref), Stage.STAGING)

    refused = {n: s for n, s in attached(registry, ref).items() if "promote" in n}
    assert list(refused) == ["decisions/promote-refused.vsa.json"]
    said = refused["decisions/promote-refused.vsa.json"]["predicate"]
    assert (said["verificationResult"], said["verifiedLevels"]) == ("FAILED", ["FAILED"])


def test_a_summary_can_be_had_for_any_decision_and_is_the_same_each_time(
    registry: InProcessRegistry,
) -> None:
    ref = registry.accepted("churn")
    with registry.ports.store.read() as reading:
        stored = reading.last_decision(registry.record(ref).uid)
    assert stored is not None

    once, again = (signed_summary(registry.ports, stored, stored["dossier"]) for _ in range(2))

    assert once == again
    [(_, statement)] = attached(registry, ref).items()
    assert json.loads(base64.b64decode(json.loads(once)["payload"])) == statement


def test_a_transition_the_life_cycle_has_not_is_passed_by_no_summary(
    registry: InProcessRegistry,
) -> None:
    class Yes:
        name, policy_digest = registry.engine.name, registry.engine.policy_digest

        def evaluate(self, gate: Gate, document: bytes) -> Any:
            answer = {"gate": gate.value, "allow": True, "checks": {"X-1": True}, "reasons": []}
            return {**answer, "warnings": [], "obligations": [], "details": {}}

    ref = registry.accepted("churn")
    registry.ask(Yes())
    before = attached(registry, ref)
    for target in (Stage.APPROVED, Stage.DEPRECATED, Stage.NONE):
        with pytest.raises(Denied, match="life cycle"):
            transition(registry.ports, Request(ALICE, ref, "now"), target)

    with registry.ports.store.read() as reading:
        entries = reading.timeline(registry.record(ref).uid)[-3:]
    assert {(e["act"], e["allowed"], e["decision_id"]) for e in entries} == {
        ("request.refused", False, "")
    }
    assert entries[0]["facts"] == {"asked": "transition to Approved"}
    assert attached(registry, ref) == before
    assert registry.record(ref).stage is Stage.CANDIDATE


def test_an_old_decision_that_could_not_be_carried_out_is_no_pass(
    registry: InProcessRegistry,
) -> None:
    ref = registry.accepted("churn")
    transition(registry.ports, Request(ALICE, ref), Stage.STAGING)
    with registry.ports.store.read() as reading:
        stored = reading.last_decision(registry.record(ref).uid)
    assert stored is not None
    dossier = stored["dossier"]
    impossible = {**dossier, "action": {**dossier["action"], "to": "Deprecated"}}

    results = [
        opened(registry, signed_summary(registry.ports, stored, d))["predicate"]
        for d in (dossier, impossible)
    ]

    assert [said["verificationResult"] for said in results] == ["PASSED", "FAILED"]
