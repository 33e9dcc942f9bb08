"""Writing a judgement down: decision, summary, ledger entry, event, tasks in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.stage import WITHDRAWN
from mlflow_governance.errors import Conflict
from mlflow_governance.workflows.judge import Judgement
from mlflow_governance.workflows.policy import note_policy
from mlflow_governance.workflows.ports import Ports, UnitOfWork, VersionRecord
from mlflow_governance.workflows.ports import subject_of as subject_of
from mlflow_governance.workflows.release import release_files
from mlflow_governance.workflows.repeats import Denial, is_told, told
from mlflow_governance.workflows.summary import summary_file
from mlflow_governance.workflows.trust import note_trust

MIRROR = "mirror"
MIRROR_DELAY = 5.0
"""Seconds before the worker repeats a mirror that the server itself should have done."""

_ATTACHED = frozenset({Gate.ACCEPT, Gate.PROMOTE, Gate.WITHDRAW})
_BINDING = frozenset({Act.VERSION_TRANSITIONED, Act.VERSION_REJUDGED})
"""Acts that bind a version to a decision anew, and so renew what is attached to a release."""


def state_of(record: VersionRecord) -> dict[str, Any]:
    """What an event's before and after say of a version."""
    return {
        "stage": record.stage.value,
        "policy_digest": record.policy_digest,
        "trust_digest": record.trust_digest,
    }


def write_denial(ports: Ports, judgement: Judgement, act: Act) -> None:
    """Record a refusal. The state stays what it was."""
    with ports.store.begin() as uow:
        _write(ports, uow, judgement, act, None)


def write_download_denial(ports: Ports, judgement: Judgement) -> Judgement:
    """Record that a download was refused, or count it where it was recorded often enough.

    Returns:
        The judgement as it is recorded: of a repeated one the decision that it repeats.
    """
    record, request = judgement.record, judgement.request
    action = dict(judgement.dossier.action)
    denial = Denial(
        Act.DOWNLOAD_DENIED,
        request.actor.person,
        subject_of(record),
        state_of(record),
        facts={**_facts(judgement, action), "policy_digest": judgement.decision.policy_digest},
    )
    with ports.store.begin() as uow:
        repeated = is_told(uow, denial, judgement.dossier.now)
        if repeated is None:
            _write(ports, uow, judgement, Act.DOWNLOAD_DENIED, None)
            told(uow, denial, judgement.dossier.now, judgement.decision.decision_id)
            return judgement
    return replace(judgement, decision=replace(judgement.decision, decision_id=repeated))


def write_confirmed(ports: Ports, judgement: Judgement, act: Act) -> None:
    """Record a judgement that confirmed what stands already; nothing else is renewed."""
    with ports.store.begin() as uow:
        _record(ports, uow, judgement, act, judgement.record)


def write_allowed(
    ports: Ports,
    uow: UnitOfWork,
    judgement: Judgement,
    act: Act,
    target: VersionRecord,
) -> None:
    """Move the version and record why, inside an open unit of work.

    Raises:
        Conflict: stage, evidence, approvals or revocation changed since the judgement.
    """
    record = judgement.record
    _refuse_stale(uow, judgement, target)
    if target.stage is not record.stage:
        uow.move_stage(record, target)
    else:
        uow.save_version(target)
    if act in _BINDING:
        uow.add_attachments(record.uid, release_files(ports, uow, judgement, target))
    _write(ports, uow, judgement, act, target)


def refuse_moved(uow: UnitOfWork, record: VersionRecord) -> None:
    """Refuse to write what was found out about a version that has changed since.

    Raises:
        Conflict: the version is gone, or has another revision than ``record``.
    """
    now = uow.version_by_uid(record.uid)
    if now is None or now.revision != record.revision:
        raise Conflict(
            f"{record.ref} changed while this was being decided", advice="Look again and repeat."
        )


def _refuse_stale(uow: UnitOfWork, judgement: Judgement, target: VersionRecord) -> None:
    # The judgement was made outside this transaction; what it rests on must still stand.
    record = judgement.record
    refuse_moved(uow, record)
    leaves_block = record.stage in WITHDRAWN or target.stage in WITHDRAWN
    if record.digest is not None and not leaves_block and uow.is_blocked(record.digest):
        raise Conflict(f"the content of {record.ref} was withdrawn while this was being decided")


def _write(
    ports: Ports,
    uow: UnitOfWork,
    judgement: Judgement,
    act: Act,
    target: VersionRecord | None,
) -> None:
    _record(ports, uow, judgement, act, target)
    decision = judgement.decision
    # What policy allowed and was not carried out says nothing about where the version is.
    if decision.gate in _ATTACHED and (target is not None) is decision.allow:
        uow.add_attachments(judgement.record.uid, [summary_file(ports, judgement)])
    if judgement.decision.gate is not Gate.DOWNLOAD:
        uow.add_task(MIRROR, judgement.record.uid, delay_seconds=MIRROR_DELAY)


def _record(
    ports: Ports, uow: UnitOfWork, judgement: Judgement, act: Act, target: VersionRecord | None
) -> None:
    note_policy(ports, uow, judgement.policy)
    if judgement.trust_digest is not None:
        note_trust(ports, uow, judgement.trust_digest)
    # Without a target nothing happened, even where policy would have allowed it.
    after = target or judgement.record
    record, decision, request = judgement.record, judgement.decision, judgement.request
    decision_digest = uow.add_decision(decision, judgement.dossier.encoded, record.uid)
    public = {key: value for key, value in judgement.dossier.action.items() if key != "reason"}
    facts: Mapping[str, Any] = {
        "policy_digest": decision.policy_digest,
        "dossier_digest": decision.dossier_digest,
        **_facts(judgement, public),
    }
    uow.record(
        Event(
            act=act,
            person=request.actor.person,
            at=judgement.dossier.now,
            subject=subject_of(after),
            before=state_of(record),
            after=state_of(after),
            decision_id=decision.decision_id,
            decision_digest=decision_digest,
            allowed=target is not None,
            reason=request.reason,
            facts=facts,
        )
    )


def _facts(judgement: Judgement, action: Mapping[str, Any]) -> dict[str, Any]:
    checks = judgement.decision.checks
    return {
        "gate": judgement.decision.gate.value,
        "failed": sorted(code for code, passed in checks.items() if not passed),
        "action": dict(action),
    }
