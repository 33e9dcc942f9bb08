"""Deleting and renaming: allowed only where no governed history would be torn away."""

from __future__ import annotations

from collections.abc import Callable

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.stage import Stage
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
        Denied: it is past Candidate; the refusal is recorded.
    """
    with ports.store.read() as reading:
        record = reading.version(request.ref)
    if record is not None and record.stage not in _DELETABLE:
        refuse(
            ports,
            request.actor,
            Refused("delete", subject_of(record)),
            f"{record.ref} is {record.stage} and may not be deleted",
            f"Withdraw it instead: mlflow-governance revoke {record.ref} --reason WHY",
        )
    with ports.store.begin() as uow:
        if record is not None:
            uow.move_stage(record, record)  # fails if it was promoted meanwhile
            uow.remove_version(record)
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


def refuse_if_governed(ports: Ports, actor: Actor, name: str, workspace: str, asked: str) -> None:
    """Refuse to rename or delete a registered model that has governed versions.

    Args:
        ports: everything a workflow needs.
        actor: who asks.
        name: the registered model.
        workspace: where it is.
        asked: ``rename`` or ``delete``.

    Raises:
        Denied: it has; names and histories stay together. The refusal is recorded.
    """
    with ports.store.read() as reading:
        versions = reading.versions(name=name, workspace=workspace)
    if not versions:
        return
    refuse(
        ports,
        actor,
        Refused(asked, {"name": name, "workspace": workspace}),
        f"the model {name!r} has {len(versions)} governed versions: {asked} is refused",
        "Delete versions that were never released one by one; withdraw the others: "
        f"mlflow-governance revoke {versions[0].ref} --reason WHY",
    )
