"""Approvals: one person's word for one role, bound to the model and policy they saw."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from mlflow_governance.approval.duties import refuse_unfit
from mlflow_governance.approval.request import ApprovalRequest
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.event import Act, Event
from mlflow_governance.errors import Denied
from mlflow_governance.workflows.judge import load
from mlflow_governance.workflows.policy import POLICY
from mlflow_governance.workflows.ports import ApprovalRecord, Ports, Request, VersionRecord
from mlflow_governance.workflows.record import state_of, subject_of


def approve(ports: Ports, request: Request, role: str, decision: str) -> ApprovalRecord:
    """Record an approval or a rejection.

    Raises:
        NotFound: the version is not governed.
        InvalidRequest: no reason, or an unknown role or decision.
        Denied: separation of duties forbids it; the attempt is recorded all the same.
    """
    now = ports.clock()
    asked = ApprovalRequest(request.actor, role.strip().lower(), decision, request.reason)
    with ports.store.begin() as uow:
        policy = uow.in_force(POLICY) or ports.policy.current().digest
        asked = replace(asked, policy_digest=policy)
        # Duties are checked inside: of two words at once the later one has to see the earlier.
        record = load(uow, request.ref)
        # Whoever registered the same content under another name is no stranger to it either.
        also = uow.submitters(record.digest) if record.digest else set()
        seen = record.with_(
            submitter=request.actor.person if request.actor.person in also else record.submitter
        )
        refusal = _unfit(asked, seen, uow.approvals(record.uid))
        uow.record(
            Event(
                act=Act.APPROVAL_REFUSED if refusal else Act.APPROVAL_GIVEN,
                person=request.actor.person,
                at=now,
                subject=subject_of(record),
                before=state_of(record),
                after=state_of(record),
                allowed=refusal is None,
                reason=request.reason,
                facts={"role": asked.role, "decision": decision, "policy_digest": policy},
            )
        )
        if refusal is None:
            approval = _approval(asked, record, policy, now)
            uow.add_approval(approval)
    if refusal is not None:
        raise refusal
    return approval


def _unfit(
    asked: ApprovalRequest, record: VersionRecord, given: Sequence[ApprovalRecord]
) -> Denied | None:
    try:
        refuse_unfit(asked, record.subject(blocked=False), [a.to_document() for a in given])
    except Denied as refusal:
        return refusal
    return None


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
