"""Transitions between stages."""

from __future__ import annotations

from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.event import Act
from mlflow_governance.core.stage import WITHDRAWN, Stage
from mlflow_governance.errors import Conflict
from mlflow_governance.workflows.accept import READY, settle, verify_unchanged
from mlflow_governance.workflows.inspect import inspect_again
from mlflow_governance.workflows.judge import Judgement, judge, load
from mlflow_governance.workflows.mirror import mirror
from mlflow_governance.workflows.policy import under_one_policy
from mlflow_governance.workflows.ports import Ports, Request, VersionRecord
from mlflow_governance.workflows.record import write_allowed, write_confirmed, write_denial
from mlflow_governance.workflows.refuse import refuse_impossible
from mlflow_governance.workflows.withdraw import withdraw


def transition(ports: Ports, request: Request, target: Stage) -> VersionRecord:
    """Move a version to a stage if its gate allows.

    A transition to the stage the version already has succeeds and writes nothing.

    Raises:
        NotFound: the version is not governed.
        Denied: the gate said no; the refusal names each failed check and its mend.
        VerificationError: the stored bytes are not the accepted ones.
        Conflict: somebody else moved it at the same moment.
    """
    with ports.store.read() as reading:
        record = load(reading, request.ref)
    if record.stage is target:
        return record
    if target in WITHDRAWN or record.stage is Stage.QUARANTINED:
        return withdraw(ports, request, target)
    if record.stage is Stage.NONE and target is Stage.CANDIDATE:
        judgement = settle(ports, request)
        if not judgement.decision.allow:
            raise judgement.refuse(f"{request.ref} is not accepted as a Candidate")
        return _current(ports, request)
    return _promote(ports, request, record, target)


@under_one_policy
def _promote(ports: Ports, request: Request, record: VersionRecord, target: Stage) -> VersionRecord:
    refuse_impossible(ports, request, record, target)
    verify_unchanged(ports, request.actor, record)
    inspect_again(ports, record)
    action = {"from": record.stage.value, "to": target.value, "reason": request.reason}
    judgement = judge(ports, Gate.PROMOTE, request, action)
    if judgement.record.stage is not record.stage:
        raise Conflict(f"{request.ref} was moved to {judgement.record.stage} meanwhile")
    if not judgement.decision.allow:
        write_denial(ports, judgement, Act.VERSION_TRANSITIONED)
        mirror(ports, record.uid)
        raise judgement.refuse(f"{request.ref} may not go from {record.stage} to {target}")
    with ports.store.begin() as uow:
        write_allowed(
            ports, uow, judgement, Act.VERSION_TRANSITIONED,
            _moved(judgement, target),
        )  # fmt: skip
    mirror(ports, record.uid)
    return _current(ports, request)


def _moved(judgement: Judgement, target: Stage) -> VersionRecord:
    return judgement.record.with_(
        stage=target,
        policy_digest=judgement.decision.policy_digest,
        decision_id=judgement.decision.decision_id,
        facts=judgement.evidence,
        trust_digest=judgement.trust_digest,
    )


def _current(ports: Ports, request: Request) -> VersionRecord:
    with ports.store.read() as reading:
        return load(reading, request.ref)


_BROUGHT_BY: dict[Stage, Stage] = {
    Stage.STAGING: Stage.CANDIDATE,
    Stage.APPROVED: Stage.STAGING,
}


@under_one_policy
def rejudge(ports: Ports, request: Request) -> Judgement:
    """Judge a version again where it stands, under the policy and evidence of now.

    At None this is the accept gate, and a pass accepts. At Candidate it is the accept gate, at
    Staging and Approved the gate that led there; a pass binds the version to the policy in
    force (nothing is renewed where that is so already), a failure is recorded and changes nothing.

    Raises:
        NotFound: the version is not governed.
        Conflict: it is withdrawn or deprecated, or somebody else was faster.
    """
    with ports.store.read() as reading:
        record = load(reading, request.ref)
    if record.stage is Stage.NONE:
        judgement = settle(ports, request)
        ports.catalogue.set_status(record, READY, "")  # whatever became of its worker
        return judgement
    if record.stage in WITHDRAWN or record.stage is Stage.DEPRECATED:
        raise Conflict(f"{request.ref} is {record.stage}: there is nothing to judge again")
    verify_unchanged(ports, request.actor, record)
    inspect_again(ports, record)
    origin = _BROUGHT_BY.get(record.stage, Stage.NONE)
    gate = Gate.ACCEPT if origin is Stage.NONE else Gate.PROMOTE
    action = {"from": origin.value, "to": record.stage.value, "again": True}
    judgement = judge(ports, gate, request, action)
    if judgement.decision.allow and _is_bound(judgement):
        write_confirmed(ports, judgement, Act.VERSION_REJUDGED)
        return judgement
    if judgement.decision.allow:
        with ports.store.begin() as uow:
            write_allowed(
                ports, uow, judgement, Act.VERSION_REJUDGED,
                _moved(judgement, record.stage),
            )  # fmt: skip
    else:
        write_denial(ports, judgement, Act.VERSION_REJUDGED)
    mirror(ports, record.uid)
    return judgement


def _is_bound(judgement: Judgement) -> bool:
    # Judging again what stands already would only let readers add to the record of a release.
    record = judgement.record
    return (
        record.policy_digest == judgement.decision.policy_digest
        and record.trust_digest == judgement.trust_digest
        and record.facts == judgement.evidence
    )
