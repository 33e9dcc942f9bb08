"""What the registry knows about a version, as JSON: for the interface and for the pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlflow_governance.core import digest, moment
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.decision import remarks
from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.event import Act
from mlflow_governance.core.stage import Stage, next_stage
from mlflow_governance.workflows.admit import permits
from mlflow_governance.workflows.judge import judge
from mlflow_governance.workflows.ports import (
    AliasRecord,
    ApprovalRecord,
    Ports,
    Reading,
    Request,
    VersionRecord,
)

MAX_TIMELINE = 500
"""Ledger entries told about one version, the newest; the ledger itself has them all."""
_MAX_DENIED = 100
"""Refused downloads among them: a host that keeps asking must not hide what else happened."""
_MAX_DECISIONS = 20

Document = dict[str, Any]


def summary(record: VersionRecord) -> Document:
    """One version in a listing."""
    origin = record.quarantined_from
    return {
        "name": record.ref.name,
        "version": record.ref.version,
        "workspace": record.ref.workspace,
        "uid": record.uid,
        "stage": record.stage.value,
        "quarantined_from": origin.value if origin else None,
        "digest": record.digest,
        "policy_digest": record.policy_digest,
        "submitter": record.submitter,
        "decision_id": record.decision_id,
        "created_at": moment.to_text(record.created_at) if record.created_at else None,
    }


def alias(record: AliasRecord) -> Document:
    """Where one alias points, and where it pointed before."""
    return {
        "alias": record.alias,
        "version": record.version,
        "before": record.before,
        "at": moment.to_text(record.at),
    }


def detail(ports: Ports, actor: Actor, record: VersionRecord) -> Document:
    """Everything about one version, as this actor may see and do it."""
    with ports.store.read() as reading:
        last = reading.last_decision(record.uid)
        document = {
            **summary(record),
            **_evidence(reading, record, last),
            "last_decision": _without_dossier(last) if last else None,
            "missing": missing(last),
            "warnings": remarks(last or {}),
            "approvals": [
                approval(given, record, ports.policy.current().digest)
                for given in reading.approvals(record.uid)
            ],
            "attachments": [
                _file(found.path, found.data) for found in reading.attachments(record.uid)
            ],
            **_history(reading, record),
        }
    request = Request(actor, record.ref)
    document["ahead"] = ahead(ports, request, record)
    # Without proved facts the answer would cost a full examination, and would be no anyway.
    document["download"] = record.facts is not None and permits(ports, request, "registry")
    return document


def missing(decision: Mapping[str, Any] | None) -> list[Document]:
    """The failed checks of a denial: ``{code, path, message, fix}``; none of an approval."""
    if decision is None or decision.get("allow") is True:
        return []
    return [dict(reason) for reason in decision.get("reasons", [])]


def approval(given: ApprovalRecord, record: VersionRecord, policy_digest: str) -> Document:
    """An approval; ``current`` says whether it is about this content and the policy in force."""
    current = given.model_digest == record.digest and given.policy_digest == policy_digest
    return {"uid": given.uid, **given.to_document(), "reason": given.reason, "current": current}


def ahead(ports: Ports, request: Request, record: VersionRecord) -> Document | None:
    """How the next transition would be judged now, by the evidence of now; nothing is written.

    None where no gate leads on: before acceptance the last decision says more (it has hashed
    the files), and after release there is nothing to reach for.
    """
    target = next_stage(record.stage)
    if record.stage not in (Stage.CANDIDATE, Stage.STAGING) or target is None:
        return None
    action = {"from": record.stage.value, "to": target.value, "reason": ""}
    decision = judge(ports, Gate.PROMOTE, request, action).decision.to_document()
    return {
        "stage": target.value,
        "allow": decision["allow"],
        "checks": decision["checks"],
        "missing": missing(decision),
        "warnings": remarks(decision),
    }


def _evidence(reading: Reading, record: VersionRecord, last: Mapping[str, Any] | None) -> Document:
    # The newest judgement says what was proved last; a withdrawal proves nothing by itself.
    facts = {kind.value: outcome.to_document() for kind, outcome in (record.facts or {}).items()}
    outcomes = _judged_evidence(reading, last) or facts
    return {
        "evidence": [{"kind": kind, **outcomes[kind]} for kind in sorted(outcomes)],
        "evidence_files": [_file(item.name, item.data) for item in reading.evidence(record.uid)],
    }


def _judged_evidence(reading: Reading, last: Mapping[str, Any] | None) -> Mapping[str, Document]:
    if last is None:
        return {}
    whole = last if "dossier" in last else reading.decision(str(last["decision_id"])) or {}
    dossier: Mapping[str, Any] = whole.get("dossier") or {}
    found: Mapping[str, Document] = dossier.get("evidence") or {}
    return found


def _history(reading: Reading, record: VersionRecord) -> Document:
    timeline = reading.timeline(record.uid)
    return {
        "timeline": _told(timeline),
        "timeline_length": len(timeline),
        "decisions": _decisions(reading, timeline),
    }


def _told(timeline: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    denied = [entry["index"] for entry in timeline if entry["act"] == Act.DOWNLOAD_DENIED.value]
    left_out = set(denied[:-_MAX_DENIED])
    return [entry for entry in timeline if entry["index"] not in left_out][-MAX_TIMELINE:]


def _decisions(reading: Reading, timeline: Sequence[Mapping[str, Any]]) -> list[Document]:
    # The decision behind each stage the version came into, and behind each renewal there.
    binding = [entry for entry in timeline if entry["allowed"] and entry["decision_id"]]
    found = []
    for entry in binding[-_MAX_DECISIONS:]:
        decision = reading.decision(entry["decision_id"])
        if decision is not None:
            found.append(
                {
                    **_without_dossier(decision),
                    "stage": entry["after"].get("stage"),
                    "at": entry["at"],
                    "index": entry["index"],
                    "act": entry["act"],
                }
            )
    return found


def _without_dossier(decision: Mapping[str, Any]) -> Document:
    return {key: value for key, value in decision.items() if key != "dossier"}


def _file(path: str, data: bytes) -> Document:
    return {"path": path, "size": len(data), "digest": digest.of_bytes(data)}
