"""Taking in a piece of evidence after registration, such as a canary's result."""

from __future__ import annotations

from mlflow_governance.core import digest
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.manifest import refuse_unsafe_name
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Conflict, InvalidRequest, VerificationError
from mlflow_governance.evidence.attestation import SUFFIX
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


def attach(ports: Ports, request: Request, item: EvidenceItem) -> None:
    """Store one signed statement with a version.

    Anybody may bring it; it is kept only if somebody trusted signed it about this content. At
    stage None the version is judged at once: this may be what it lacked.

    Raises:
        NotFound: the version is not governed.
        InvalidRequest: the name or size is not acceptable.
        VerificationError: nobody trusted signed it, or it is about other content.
        Conflict: the version is revoked, is full, or has another file of that name.
    """
    _refuse_unusable(item)
    with ports.store.read() as reading:
        record = load(reading, request.ref)
        present = {found.name: found.data for found in reading.evidence(record.uid)}
        manifest = reading.manifest(record.digest) if record.digest else None
    if record.stage is Stage.REVOKED:
        raise Conflict(f"{request.ref} is revoked for ever; evidence cannot change that")
    if item.name in present:
        if present[item.name] == item.data:
            return
        raise Conflict(
            f"{request.ref} already has evidence named {item.name}",
            advice="Evidence is never overwritten; attach it under another name.",
        )
    if manifest is None:
        raise Conflict(f"{request.ref} is not hashed yet", advice="Repeat it in a moment.")
    kept = sum(len(data) for data in present.values()) + len(item.data)
    if len(present) >= MAX_ITEMS or kept > MAX_TOTAL_BYTES:
        raise Conflict(f"{request.ref} holds as much evidence as is read")
    ports.examiner.recognise(manifest, record.ref.name, item, ports.clock())
    with ports.store.begin() as uow:
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
                facts={"name": item.name, "digest": digest.of_bytes(item.data)},
            )
        )
        uow.add_task(MIRROR, record.uid, delay_seconds=MIRROR_DELAY)
    if record.stage is Stage.NONE:
        settle(ports, request)
    else:
        mirror(ports, record.uid)


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
