"""What the worker does with a task."""

from __future__ import annotations

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.stage import WITHDRAWN, Stage
from mlflow_governance.workflows.accept import READY, REGISTER, block_late, settle
from mlflow_governance.workflows.inspect import INSPECT, inspect_later
from mlflow_governance.workflows.mirror import mirror_now
from mlflow_governance.workflows.ports import Ports, Request, Task
from mlflow_governance.workflows.record import MIRROR

_WORKER = Actor.system("worker")


def perform(ports: Ports, task: Task) -> None:
    """Do one task; doing it twice changes nothing.

    Raises:
        GovernanceError: it could not be done now; the worker tries again later.
    """
    if task.kind == MIRROR:
        mirror_now(ports, task.version_uid)
    elif task.kind == REGISTER:
        _register(ports, task.version_uid)
    elif task.kind == INSPECT:
        inspect_later(ports, task.version_uid)


def _register(ports: Ports, version_uid: str) -> None:
    with ports.store.read() as reading:
        record = reading.version_by_uid(version_uid)
        judged = reading.last_decision(version_uid) is not None
    if record is None:
        return
    if record.stage in WITHDRAWN:
        block_late(ports, record)
    if record.stage is Stage.NONE and not judged:
        judgement = settle(ports, Request(_WORKER, record.ref))
        if ports.rules.strict_registration and not judgement.decision.allow:
            message = judgement.decision.explain(f"the registration of {record.ref} was refused")
            ports.catalogue.set_status(record, "FAILED_REGISTRATION", message)
            return
    ports.catalogue.set_status(record, READY, "")
