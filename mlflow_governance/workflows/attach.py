"""Taking in a piece of evidence after registration, such as a canary's result."""

from __future__ import annotations

from collections.abc import Sequence

from mlflow_governance.core import digest
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.manifest import refuse_unsafe_name
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Conflict, InvalidRequest, VerificationError
from mlflow_governance.evidence.attestation import SUFFIX, is_verdict
from mlflow_governance.evidence.interface import (
    MAX_ITEM_BYTES,
    MAX_ITEMS,
    MAX_TOTAL_BYTES,
    EvidenceItem,
)
from mlflow_governance.workflows.accept import settle
from mlflow_governance.workflows.judge import load
from mlflow_governance.workflows.mirror import mirror
from mlflow_governance.workflows.ports import Attachment, Ports, Request
from mlflow_governance.workflows.record import MIRROR, MIRROR_DELAY, state_of, subject_of
from mlflow_governance.workflows.refuse import record_refused


def attach(ports: Ports, request: Request, item: EvidenceItem) -> None:
    """Store one signed statement with a version.

    Anybody may bring it; it is kept only if somebody trusted signed it about this content. At
    stage None the version is judged at once: this may be what it lacked.

    Raises:
        NotFound: the version is not governed.
        InvalidRequest: the name or size is not acceptable.
        VerificationError: nobody trusted signed it, it is about other content, says nothing new,
            or contradicts what is proved; the attempt is recorded.
        Conflict: the version is revoked, is full, or has another file of that name.
    """
    _refuse_unusable(item)
    with ports.store.read() as reading:
        record = load(reading, request.ref)
        beside = reading.evidence(record.uid)
        late = {file.path for file in reading.attachments(record.uid)}
        manifest = reading.manifest(record.digest) if record.digest else None
    if record.stage is Stage.REVOKED:
        raise Conflict(f"{request.ref} is revoked for ever; evidence cannot change that")
    if _is_there(request, beside, item):
        return
    if manifest is None:
        raise Conflict(f"{request.ref} is not hashed yet", advice="Repeat it in a moment.")
    _refuse_full(request, beside, late, item)
    facts = {"name": item.name, "digest": digest.of_bytes(item.data)}
    try:
        ports.examiner.recognise(manifest, record.ref.name, item, ports.clock(), beside)
    except VerificationError:
        record_refused(ports, request.actor, Act.EVIDENCE_ATTACHED, subject_of(record), facts)
        raise
    with ports.store.begin() as uow:
        if _is_there(request, uow.evidence(record.uid), item):  # by somebody who was faster
            return
        uow.add_evidence(record.uid, [item])
        uow.add_attachments(record.uid, [Attachment(item.name, item.data)])
        uow.record(
            Event(
                act=Act.EVIDENCE_ATTACHED,
                person=request.actor.person,
                at=ports.clock(),
                subject=subject_of(record),
                before=state_of(record),
                after=state_of(record),
                reason=request.reason,
                facts=facts,
            )
        )
        uow.add_task(MIRROR, record.uid, delay_seconds=MIRROR_DELAY)
    if record.stage is Stage.NONE:
        settle(ports, request)
    else:
        mirror(ports, record.uid)


def _is_there(request: Request, present: Sequence[EvidenceItem], item: EvidenceItem) -> bool:
    if any(found.name == item.name and found.data != item.data for found in present):
        raise Conflict(
            f"{request.ref} already has evidence named {item.name}",
            advice="Evidence is never overwritten; attach it under another name.",
        )
    return item in present


def _refuse_full(
    request: Request, present: Sequence[EvidenceItem], late: set[str], item: EvidenceItem
) -> None:
    # Verdicts that came later have a room of their own, which only who is trusted for verdicts
    # can fill: a submitter with much to show must not leave no place for a FAILED or ROLLBACK.
    verdicts = [found for found in present if found.name in late and is_verdict(found)]
    others = [found for found in present if found not in verdicts]
    room = verdicts if is_verdict(item) else others
    kept = sum(len(found.data) for found in room) + len(item.data)
    if len(room) >= MAX_ITEMS or kept > MAX_TOTAL_BYTES:
        raise Conflict(f"{request.ref} holds as much evidence as is read")


def _refuse_unusable(item: EvidenceItem) -> None:
    try:
        refuse_unsafe_name(item.name)
    except VerificationError as error:
        raise InvalidRequest(error.message) from error
    statement = item.name.startswith("attestations/") and item.name.endswith(SUFFIX)
    if not statement and not item.name.startswith("signatures/"):
        raise InvalidRequest(
            f"evidence is named attestations/NAME{SUFFIX} or signatures/NAME, "
            f"not {item.name[:80]!r}"
        )
    if not item.data or len(item.data) > MAX_ITEM_BYTES:
        raise InvalidRequest(f"evidence has 1 to {MAX_ITEM_BYTES} bytes, not {len(item.data)}")
