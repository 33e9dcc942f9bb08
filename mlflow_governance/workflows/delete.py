"""Deleting a version: allowed only where no released history would be torn away."""

from __future__ import annotations

from collections.abc import Callable

from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.stage import Stage
from mlflow_governance.evidence.attestation import is_verdict
from mlflow_governance.evidence.interface import EvidenceItem
from mlflow_governance.workflows.ports import Ports, Request
from mlflow_governance.workflows.record import state_of, subject_of
from mlflow_governance.workflows.refuse import Refused, refuse

_DELETABLE = frozenset({Stage.NONE, Stage.CANDIDATE})


def delete_version(ports: Ports, request: Request, apply: Callable[[], None]) -> None:
    """Delete a version that was never released; the ledger keeps that it existed.

    Args:
        ports: everything a workflow needs.
        request: who asks, about which version.
        apply: deletes MLflow's row inside the transaction.

    Raises:
        Denied: it is past Candidate, or holds tests, canaries, scans or VEX of others; the
            refusal is recorded.
    """
    with ports.store.read() as reading:
        record = reading.version(request.ref)
        judged = record is not None and any(
            is_verdict(EvidenceItem(file.path, file.data))
            for file in reading.attachments(record.uid)
        )
    if record is not None and record.stage not in _DELETABLE:
        refuse(
            ports,
            request.actor,
            Refused("delete", subject_of(record)),
            f"{record.ref} is {record.stage} and may not be deleted",
            f"Withdraw it instead: mlflow-governance revoke {record.ref} --reason WHY",
        )
    if record is not None and judged:
        refuse(
            ports,
            request.actor,
            Refused("delete", subject_of(record)),
            f"{record.ref} holds what others said of its content, which would be forgotten",
            "Leave it where it is: nothing is served from there.",
        )
    with ports.store.begin() as uow:
        if record is not None:
            uow.move_stage(record, record)  # fails if it was promoted meanwhile
            uow.remove_version(record)
            uow.forget_aliases(record.ref, ports.clock())
            uow.record(
                Event(
                    act=Act.VERSION_DELETED,
                    person=request.actor.person,
                    at=ports.clock(),
                    subject=subject_of(record),
                    before=state_of(record),
                    reason=request.reason,
                )
            )
        apply()
