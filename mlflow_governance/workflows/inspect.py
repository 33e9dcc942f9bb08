"""Reading a model's own files, once a content: what loading them would run, and its pins."""

from __future__ import annotations

from contextlib import suppress

from mlflow_governance.core.manifest import Manifest
from mlflow_governance.errors import GovernanceError, NotFound, VerificationError
from mlflow_governance.evidence.inspection import Inspection
from mlflow_governance.workflows.ports import Ports, VersionRecord

INSPECT = "inspect"
"""The task of reading files that take longer than a request should."""


def inspect(ports: Ports, location: str, manifest: Manifest) -> Inspection | None:
    """What reading these files finds, unless the present rules have read this content already.

    Raises:
        VerificationError: the files are not those of the manifest.
        NotFound: there is nothing at that location.
    """
    with ports.store.read() as reading:
        known = reading.inspection(manifest.digest)
    if known is not None and known.scanner == ports.artifacts.scanner:
        return None
    return ports.artifacts.inspect(location, manifest)


def inspect_again(ports: Ports, record: VersionRecord) -> None:
    """Bring the inspection of a version up to the rules of now; large models are left to the
    worker, and what cannot be read stays uninspected, which the verifier says.
    """
    if record.digest is None:
        return
    with ports.store.read() as reading:
        known = reading.inspection(record.digest)
        manifest = reading.manifest(record.digest)
    if manifest is None or (known is not None and known.scanner == ports.artifacts.scanner):
        return
    if manifest.size > ports.rules.sync_limit_bytes:
        with ports.store.begin() as uow:
            uow.add_task(INSPECT, record.uid)
        return
    with suppress(GovernanceError):  # the verifier says that nobody has read them
        keep(ports, record, manifest)


def inspect_later(ports: Ports, version_uid: str) -> None:
    """The worker's part of :func:`inspect_again`."""
    with ports.store.read() as reading:
        record = reading.version_by_uid(version_uid)
        manifest = reading.manifest(record.digest) if record and record.digest else None
    if record is None or manifest is None:
        return
    try:
        keep(ports, record, manifest)
    except (VerificationError, NotFound) as error:
        raise GovernanceError(f"{record.ref} cannot be inspected: {error.message}") from error


def keep(ports: Ports, record: VersionRecord, manifest: Manifest) -> None:
    """Inspect and store."""
    found = inspect(ports, record.location, manifest)
    if found is not None:
        with ports.store.begin() as uow:
            uow.add_inspection(manifest.digest, found)
