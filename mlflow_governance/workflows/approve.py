"""Approvals: one person's word for one role, bound to the model and policy they saw."""

from __future__ import annotations

import uuid
from dataclasses import replace

from mlflow_governance.approval.duties import refuse_unfit
from mlflow_governance.approval.request import ApprovalRequest
from mlflow_governance.core.event import Act, Event
from mlflow_governance.errors import Denied
from mlflow_governance.workflows.judge import load
from mlflow_governance.workflows.ports import ApprovalRecord, Ports, Request
from mlflow_governance.workflows.record import state_of, subject_of


def approve(ports: Ports, request: Request, role: str, decision: str) -> ApprovalRecord:
    """Record an approval or a rejection.

    Raises:
        NotFound: the version is not governed.
        InvalidRequest: no reason, or an unknown role or decision.
        Denied: separation of duties forbids it; the attempt is recorded all the same.
    """
    with ports.store.read() as reading:
        record = load(reading, request.ref)
        given = reading.approvals(record.uid)
    now = ports.clock()
    asked = ApprovalRequest(
        request.actor,
        role.strip().lower(),
        decision,
        request.reason,
        policy_digest=ports.engine.policy_digest,
    )
    event = Event(
        act=Act.APPROVAL_GIVEN,
        person=request.actor.person,
        at=now,
        subject=subject_of(record),
        before=state_of(record),
        after=state_of(record),
        reason=request.reason,
        facts={"role": asked.role, "decision": decision},
    )
    try:
        refuse_unfit(asked, record.subject(blocked=False), [a.to_document() for a in given])
    except Denied:
        with ports.store.begin() as uow:
            uow.record(replace(event, act=Act.APPROVAL_REFUSED, allowed=False))
        raise
    assert record.digest is not None  # noqa: S101  (duties refuse a version without digest)
    approval = ApprovalRecord(
        uid=uuid.uuid4().hex,
        version_uid=record.uid,
        person=request.actor.person,
        role=asked.role,
        decision=decision,
        model_digest=record.digest,
        policy_digest=ports.engine.policy_digest,
        reason=request.reason,
        at=now,
    )
    with ports.store.begin() as uow:
        uow.add_approval(approval)
        uow.record(event)
    return approval
