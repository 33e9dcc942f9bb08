"""Changes of the trust policy, which is a file: each is recorded before anything rests on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.event import Act, Event
from mlflow_governance.errors import Conflict
from mlflow_governance.workflows.ports import Ports, UnitOfWork

TRUST = "trust"


def note_trust(ports: Ports, uow: UnitOfWork, digest: Digest) -> None:
    """Record that this trust policy is in force, unless the ledger says so already.

    Who changed the file is not known to the registry; that it changed, when, and what it says
    now is. The document is kept by its own digest, which is in the entry.

    Raises:
        Conflict: the file says something else again by now.
    """
    before = uow.in_force(TRUST)
    if before == digest:
        return
    document = ports.examiner.trust_document
    if ports.examiner.trust_digest != digest:
        raise Conflict("the trust policy changed while this was being decided", advice="Repeat it.")
    data = canonical.encode(document)
    uow.put_in_force(TRUST, digest, data)
    uow.record(
        Event(
            act=Act.TRUST_CHANGED,
            person=Actor.system("server").person,
            at=ports.clock(),
            before={"trust_digest": before},
            after={"trust_digest": digest},
            facts={"document_digest": of_bytes(data), **_counts(document)},
        )
    )


def note_trust_now(ports: Ports) -> None:
    """Record the trust policy of now, if the ledger does not say yet that it is in force."""
    digest = ports.examiner.trust_digest
    with ports.store.read() as reading:
        if reading.in_force(TRUST) == digest:
            return
    with ports.store.begin() as uow:
        note_trust(ports, uow, digest)


def _counts(document: Mapping[str, Any]) -> dict[str, Any]:
    # How many, not who: names of people stay out of the ledger.
    kinds = ("signers", "thresholds", "timestamping")
    counts: dict[str, Any] = {kind: len(document.get(kind, [])) for kind in kinds}
    return {**counts, "usable": "problem" not in document}
