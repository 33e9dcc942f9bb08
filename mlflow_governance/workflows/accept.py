"""Registration: hash, sweep the evidence, and ask the accept gate.

A version always exists at stage None first, so no work is ever lost; the ``register`` task is
queued in the same transaction that creates it, so a crash in between loses nothing either.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Container, Sequence

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import hex_of, of_bytes
from mlflow_governance.core.dossier import Gate, Outcome
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import WITHDRAWN, Stage
from mlflow_governance.errors import Conflict, NotFound, VerificationError
from mlflow_governance.evidence.attestation import SUFFIX, is_verdict
from mlflow_governance.evidence.interface import EvidenceItem, Kind
from mlflow_governance.workflows.admit import permits
from mlflow_governance.workflows.inspect import inspect
from mlflow_governance.workflows.judge import Judgement, judge, load
from mlflow_governance.workflows.mirror import mirror
from mlflow_governance.workflows.policy import under_one_policy
from mlflow_governance.workflows.ports import Ports, Request, UnitOfWork, VersionRecord
from mlflow_governance.workflows.record import (
    MIRROR,
    refuse_moved,
    state_of,
    subject_of,
    write_allowed,
    write_denial,
)
from mlflow_governance.workflows.refuse import record_refused

REGISTER = "register"
READY = "READY"
"""MLflow's word for a registration that is through, accepted or not."""
_REGISTER_DELAY = 30.0
"""Seconds after which the worker takes over a registration the server did not finish."""


def register(
    ports: Ports,
    request_of: Callable[[VersionRef], Request],
    create: Callable[[], tuple[VersionRef, str]],
    *,
    later: bool,
    adopted_from: str | None = None,
) -> VersionRecord:
    """Create a version in MLflow and take responsibility for it, in one transaction.

    Args:
        ports: everything a workflow needs.
        request_of: the request, once the version has a number.
        create: makes MLflow's row inside the open transaction; returns name and location.
        later: leave hashing and judging to the worker (the version stays pending).
        adopted_from: the stage a version had before anybody governed it. Who submitted such a
            version is unknown, and nobody can approve what nobody submitted.
    """
    with ports.store.begin() as uow:
        ref, location = create()
        request = request_of(ref)
        record = VersionRecord(
            uid=uuid.uuid4().hex,
            ref=ref,
            stage=Stage.NONE,
            location=location,
            submitter=request.actor.person if adopted_from is None else "",
            created_at=ports.clock(),
        )
        uow.add_version(record)
        uow.record(
            Event(
                act=Act.VERSION_REGISTERED,
                person=request.actor.person,
                at=ports.clock(),
                subject=subject_of(record),
                before={} if adopted_from is None else {"stage": adopted_from},
                after=state_of(record),
                # Of the place only the digest: an address may hold what is not for everybody.
                facts={"location_digest": of_bytes(location.encode())},
            )
        )
        uow.add_task(REGISTER, record.uid, delay_seconds=0 if later else _REGISTER_DELAY)
    return record


@under_one_policy
def settle(ports: Ports, request: Request) -> Judgement:
    """Hash the version, take in the evidence beside it, and judge; accepted if policy allows.

    Raises:
        NotFound: the version is not governed.
        Conflict: it has left stage None, or somebody else settled it at the same moment.
    """
    with ports.store.read() as reading:
        record = load(reading, request.ref)
    problem = _refresh(ports, record) if record.stage is Stage.NONE else ""
    evidence = dict.fromkeys(Kind, Outcome.failed(problem)) if problem else None
    action = {"from": Stage.NONE.value, "to": Stage.CANDIDATE.value}
    judgement = judge(ports, Gate.ACCEPT, request, action, evidence)
    if judgement.record.stage is not Stage.NONE:
        raise Conflict(f"{request.ref} was moved to {judgement.record.stage} meanwhile")
    if not judgement.decision.allow:
        write_denial(ports, judgement, Act.VERSION_REFUSED)
    else:
        target = judgement.record.with_(
            stage=Stage.CANDIDATE,
            policy_digest=judgement.decision.policy_digest,
            decision_id=judgement.decision.decision_id,
            facts=judgement.evidence,
            trust_digest=judgement.trust_digest,
        )
        with ports.store.begin() as uow:
            write_allowed(ports, uow, judgement, Act.VERSION_TRANSITIONED, target)
    mirror(ports, record.uid)
    return judgement


def _refresh(ports: Ports, record: VersionRecord) -> str:
    # Hash the files and take in the evidence beside them. What cannot be hashed is not an
    # exception for the person who registered: it is a failed check with its reason. Somebody
    # else may have accepted the version meanwhile, and its digest must stay the one judged.
    try:
        manifest = ports.artifacts.manifest(record.location)
        items = ports.artifacts.evidence(record.location)
        inspection = inspect(ports, record.location, manifest)
    except (VerificationError, NotFound) as error:
        return error.message
    with ports.store.begin() as uow:
        refuse_moved(uow, record)
        uow.add_manifest(manifest)
        if inspection is not None:
            uow.add_inspection(manifest.digest, inspection)
        late = {file.path for file in uow.attachments(record.uid)}
        kept = _kept(uow.evidence(record.uid), items, late)
        uow.add_evidence(record.uid, [*items, *kept])
        uow.save_version(record.with_(digest=manifest.digest))
    return ""


def _kept(
    before: Sequence[EvidenceItem], now: Sequence[EvidenceItem], late: Container[str]
) -> list[EvidenceItem]:
    # A new submission replaces what it said before of a model, but neither a verdict nor what
    # others attached later: a FAILED that was signed must not vanish behind another file of its
    # name.
    new = {item.name: item.data for item in now}
    return [
        EvidenceItem(f"attestations/kept-{hex_of(of_bytes(old.data))[:16]}{SUFFIX}", old.data)
        for old in before
        if old.name in new and new[old.name] != old.data
        if old.name in late or is_verdict(old)
    ]


def hash_now(ports: Ports, record: VersionRecord) -> VersionRecord:
    """Hash a version that never was, if that takes seconds; otherwise it stays unhashed."""
    try:
        if ports.artifacts.size(record.location) <= ports.rules.sync_limit_bytes:
            _refresh(ports, record)
    except (VerificationError, NotFound):
        return record  # what cannot be hashed cannot be served under another name either
    with ports.store.read() as reading:
        return load(reading, record.ref)


def block_late(ports: Ports, record: VersionRecord) -> None:
    """Hash a version that was withdrawn before it was hashed, block its content and say so."""
    if record.digest is None:
        _refresh(ports, record)
    with ports.store.begin() as uow:
        now = uow.version_by_uid(record.uid)
        if now is None or now.digest is None or now.stage not in WITHDRAWN:
            return
        uow.block(now.digest, now.stage, ports.clock())
        if _is_told(uow, now):
            return
        # The same act again, now with the digest: whoever blocks by digest needs no other event.
        revoked = now.stage is Stage.REVOKED
        uow.record(
            Event(
                act=Act.VERSION_REVOKED if revoked else Act.VERSION_TRANSITIONED,
                person=Actor.system("worker").person,
                at=ports.clock(),
                subject=subject_of(now),
                before=state_of(now),
                after=state_of(now),
                facts={"hashed_late": True},
            )
        )
        uow.add_task(MIRROR, now.uid)


def _is_told(uow: UnitOfWork, record: VersionRecord) -> bool:
    # Whether the ledger already says that this content was withdrawn with this version.
    return any(
        entry["act"] in (Act.VERSION_REVOKED, Act.VERSION_TRANSITIONED)
        and entry["allowed"]
        and entry["subject"]["uid"] == record.uid
        and entry["subject"]["digest"] == record.digest
        and entry["after"].get("stage") == record.stage.value
        for entry in uow.timeline(record.uid)
    )


def verify_unchanged(ports: Ports, actor: Actor, record: VersionRecord) -> None:
    """Hash the bytes again and compare them with the recorded digest, if that takes seconds.

    Raises:
        VerificationError: a file changed, is missing or was added; the message names it to whoever
            may read it, and the attempt is recorded.
    """
    limit = ports.rules.sync_limit_bytes
    if record.digest is None or ports.artifacts.size(record.location) > limit:
        return
    found = ports.artifacts.manifest(record.location)
    if found.digest == record.digest:
        return
    with ports.store.read() as reading:
        accepted = reading.manifest(record.digest)
    facts = {"asked": "judge changed files", "found": found.digest}
    record_refused(ports, actor, Act.REQUEST_REFUSED, subject_of(record), facts)
    changes = accepted.differences(found) if accepted else ["the accepted manifest is lost"]
    if not permits(ports, Request(actor, record.ref), "artifact"):
        changes = [f"{len(changes)} of them differ; their names are for those who may read them"]
    if record.stage is Stage.NONE:
        raise VerificationError(
            f"the files of {record.ref} changed since they were hashed:\n  "
            + "\n  ".join(changes[:20]),
            advice=f"Have it hashed and judged as it is now: mlflow-governance judge {record.ref}",
        )
    raise VerificationError(
        f"the stored files of {record.ref} are not the accepted ones:\n  "
        + "\n  ".join(changes[:20]),
        advice=f"Quarantine it: mlflow-governance quarantine {record.ref} --reason tampered",
    )
