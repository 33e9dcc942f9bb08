"""Taking a version out of use: revoked for ever, or quarantined until it is cleared."""

from __future__ import annotations

from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.event import Act
from mlflow_governance.core.stage import WITHDRAWN, Stage
from mlflow_governance.errors import Conflict, InvalidRequest
from mlflow_governance.workflows.accept import REGISTER, hash_now
from mlflow_governance.workflows.judge import judge, load
from mlflow_governance.workflows.mirror import mirror
from mlflow_governance.workflows.policy import under_one_policy
from mlflow_governance.workflows.ports import Ports, Request, VersionRecord
from mlflow_governance.workflows.record import write_allowed, write_denial
from mlflow_governance.workflows.refuse import refuse_impossible


@under_one_policy
def withdraw(ports: Ports, request: Request, target: Stage) -> VersionRecord:
    """Revoke, quarantine, or return a quarantined version to where it came from.

    The digest is blocked in the same transaction, so that the same content registered under
    any other name is blocked too.

    Raises:
        NotFound: the version is not governed.
        InvalidRequest: no reason was given.
        Denied: the gate said no, or the life cycle has no such transition.
        Conflict: somebody else moved it at the same moment.
    """
    with ports.store.read() as reading:
        record = load(reading, request.ref)
    if record.stage is target:
        return record
    if not request.reason.strip():
        raise InvalidRequest(
            f"taking {request.ref} to {target} needs a reason",
            advice=f"mlflow-governance {_VERBS.get(target, 'restore')} {request.ref} --reason WHY",
        )
    refuse_impossible(ports, request, record, target)
    action = {"from": record.stage.value, "to": target.value, "reason": request.reason}
    if target in WITHDRAWN and record.digest is None:
        record = hash_now(ports, record)
    judgement = judge(ports, Gate.WITHDRAW, request, action, record.facts or {})
    if judgement.record.stage is not record.stage:
        raise Conflict(f"{request.ref} was moved to {judgement.record.stage} meanwhile")
    act = Act.VERSION_REVOKED if target is Stage.REVOKED else Act.VERSION_TRANSITIONED
    if not judgement.decision.allow:
        write_denial(ports, judgement, act)
        raise judgement.refuse(f"{request.ref} may not go from {record.stage} to {target}")
    moved = judgement.record.with_(
        stage=target,
        decision_id=judgement.decision.decision_id,
        quarantined_from=record.stage if target is Stage.QUARANTINED else None,
    )
    with ports.store.begin() as uow:
        write_allowed(ports, uow, judgement, act, moved)
        if record.digest is not None:
            if target in WITHDRAWN:
                uow.block(record.digest, target, judgement.dossier.now)
            else:
                uow.unblock(record.digest)
        elif target in WITHDRAWN:
            uow.add_task(REGISTER, record.uid)  # the worker hashes and blocks what is too large
    mirror(ports, record.uid)
    return moved


_VERBS = {Stage.REVOKED: "revoke", Stage.QUARANTINED: "quarantine"}
