"""Approvals: one person's word for one role, bound to the model and policy they saw.

A word stands until the same person says something else in that role, or takes it back. Taking it
back after a release moves nothing: the release was decided while the word stood. It is recorded
and shown, and whoever judges the version again is told that an approval is missing.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from mlflow_governance.approval.duties import refuse_unfit
from mlflow_governance.approval.request import WITHDRAW, ApprovalRequest
from mlflow_governance.core.actor import ANONYMOUS
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.event import Act, Event
from mlflow_governance.errors import Denied, Unauthenticated
from mlflow_governance.workflows.judge import load
from mlflow_governance.workflows.policy import POLICY
from mlflow_governance.workflows.ports import (
    ApprovalRecord,
    Ports,
    Request,
    UnitOfWork,
    VersionRecord,
)
from mlflow_governance.workflows.record import state_of, subject_of
from mlflow_governance.workflows.repeats import Denial, is_told, told


def approve(ports: Ports, request: Request, role: str, decision: str) -> ApprovalRecord:
    """Record an approval or a rejection, or take back what was said before.

    Args:
        ports: everything a workflow needs.
        request: who speaks, about which version, and why.
        role: the role they speak in.
        decision: ``approve``, ``reject`` or ``withdraw``.

    Returns:
        The word given, or the word that was taken back.

    Raises:
        NotFound: the version is not governed.
        InvalidRequest: no reason, or an unknown role or decision.
        Denied: separation of duties forbids it, or there is nothing to take back; the attempt is
            recorded all the same.
    """
    now = ports.clock()
    asked = ApprovalRequest(request.actor, role.strip().lower(), decision, request.reason)
    with ports.store.begin() as uow:
        policy = uow.in_force(POLICY) or ports.policy.current().digest
        asked = replace(asked, policy_digest=policy)
        # Duties are checked inside: of two words at once the later one has to see the earlier.
        record = load(uow, request.ref)
        said = uow.approvals(record.uid)
        before = next((a for a in said if (a.person, a.role) == _speaker(asked)), None)
        refusal = _refusal(uow, asked, record, said, before)
        if refusal is not None:
            _record_refused(uow, asked, record, now)
        elif before is not None and decision == WITHDRAW:
            uow.withdraw_approval(before)
            about = {"role": asked.role, "decision": before.decision, "approval": before.uid}
            uow.record(_event(asked, Act.APPROVAL_WITHDRAWN, record, now, about))
            return before
        else:
            given = _approval(asked, record, policy, now)
            uow.add_approval(given)
            about_given: dict[str, Any] = {
                "role": asked.role,
                "decision": decision,
                "policy_digest": policy,
                "approval": given.uid,
                "supersedes": before.uid if before else None,
            }
            uow.record(_event(asked, Act.APPROVAL_GIVEN, record, now, about_given))
            return given
    raise refusal


def _record_refused(
    uow: UnitOfWork, asked: ApprovalRequest, record: VersionRecord, now: datetime
) -> None:
    # In whichever role: else each made-up one would be an entry.
    repeated = {"decision": asked.decision, "policy_digest": asked.policy_digest}
    state, person = state_of(record), asked.actor.person
    denial = Denial(Act.APPROVAL_REFUSED, person, subject_of(record), state, repeated)
    if is_told(uow, denial, now) is None:
        about = {"role": asked.role, **repeated}
        uow.record(_event(asked, Act.APPROVAL_REFUSED, record, now, about))
        told(uow, denial, now)


def _speaker(asked: ApprovalRequest) -> tuple[str, str]:
    return asked.actor.person, asked.role


def _refusal(
    uow: UnitOfWork,
    asked: ApprovalRequest,
    record: VersionRecord,
    said: Sequence[ApprovalRecord],
    before: ApprovalRecord | None,
) -> Denied | None:
    if asked.decision == WITHDRAW:
        return _not_theirs(asked, record, before)
    # Whoever registered the same content under another name is no stranger to it either.
    also = uow.submitters(record.digest) if record.digest else set()
    person = asked.actor.person
    seen = record.with_(submitter=person if person in also else record.submitter)
    try:
        refuse_unfit(asked, seen.subject(blocked=False), [a.to_document() for a in said])
    except Denied as refusal:
        return refusal
    return None


def _not_theirs(
    asked: ApprovalRequest, record: VersionRecord, before: ApprovalRecord | None
) -> Denied | None:
    # Whoever lost the role since may still take back what they said in it.
    if not asked.actor.authenticated or asked.actor.person in ("", ANONYMOUS):
        return Unauthenticated(
            "a word is taken back by who gave it, and nobody is logged in",
            advice="Log in (MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD) and repeat.",
        )
    if before is None:
        return Denied(
            f"nothing that {asked.actor.person} said of {record.ref} as {asked.role} stands",
            advice=f"See who said what: mlflow-governance show {record.ref}",
        )
    return None


def _event(
    asked: ApprovalRequest, act: Act, record: VersionRecord, at: datetime, facts: dict[str, Any]
) -> Event:
    return Event(
        act=act,
        person=asked.actor.person,
        at=at,
        subject=subject_of(record),
        before=state_of(record),
        after=state_of(record),
        allowed=act is not Act.APPROVAL_REFUSED,
        reason=asked.reason,
        facts=facts,
    )


def _approval(
    asked: ApprovalRequest, record: VersionRecord, policy: Digest, now: datetime
) -> ApprovalRecord:
    assert record.digest is not None  # noqa: S101  (duties refuse a version without digest)
    return ApprovalRecord(
        uid=uuid.uuid4().hex,
        version_uid=record.uid,
        person=asked.actor.person,
        role=asked.role,
        decision=asked.decision,
        model_digest=record.digest,
        policy_digest=policy,
        reason=asked.reason,
        at=now,
    )
