"""The bytes of models from inside the server, without the guard that stands before clients."""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mlflow_governance.core.manifest import EVIDENCE_FOLDER, Manifest, is_evidence
from mlflow_governance.errors import Denied, NotFound, VerificationError
from mlflow_governance.evidence.hashing import hash_directory
from mlflow_governance.evidence.interface import MAX_ITEM_BYTES, EvidenceItem
from mlflow_governance.plugin import compat
from mlflow_governance.workflows.ports import Attachment

if TYPE_CHECKING:
    from mlflow.entities import FileInfo
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

SUBMITTED = f"{EVIDENCE_FOLDER}/evidence"
"""Where producers leave evidence beside a model, before it is registered."""

_MAX_ITEMS = 64
_MAX_FILES = 100_000


def normalise(path: str) -> str:
    """The one spelling of a path below the artifact destination."""
    return posixpath.normpath("/" + path).lstrip("/")


class ServerArtifacts:
    """``workflows.ports.Artifacts`` over MLflow's artifact repositories.

    A location is either a path below the artifact destination (``1/models/m-…/artifacts``) or,
    for storage the server does not proxy, a full URI.
    """

    def locate(self, uri: str) -> str:
        """The location a model source names, in its one spelling.

        Raises:
            Denied: it is on the server's own disk outside the artifact destination. Nothing
                there is guarded, and the registry would read and write wherever a client says.
        """
        storage = compat.tracking_location(uri)
        path = compat.proxied_path(storage)
        if path is not None:
            return normalise(path)
        if urlsplit(storage).scheme in ("", "file"):
            raise Denied(
                "the model lies outside the artifact destination of this server",
                advice="Log it to an experiment without an artifact location of its own.",
            )
        return storage.rstrip("/")

    def size(self, location: str) -> int:
        """See :class:`~mlflow_governance.workflows.ports.Artifacts`."""
        repository, root = self._open(location)
        return sum(
            info.file_size or 0
            for name, info in self._walk(repository, root)
            if not is_evidence(name)
        )

    def manifest(self, location: str) -> Manifest:
        """See :class:`~mlflow_governance.workflows.ports.Artifacts`."""
        repository, root = self._open(location)
        local = self._local(repository, root)
        if local is not None:
            if not local.is_dir():
                raise NotFound(f"there is no model directory at {location}")
            return hash_directory(local)
        with tempfile.TemporaryDirectory(prefix="governance-") as folder:
            return hash_directory(Path(repository.download_artifacts(root, folder)))

    def evidence(self, location: str) -> list[EvidenceItem]:
        """See :class:`~mlflow_governance.workflows.ports.Artifacts`."""
        repository, root = self._open(location)
        folder = posixpath.join(root, SUBMITTED)
        found = list(self._walk(repository, folder))
        if len(found) > _MAX_ITEMS:
            raise VerificationError(
                f"{len(found)} files lie in {SUBMITTED}; at most {_MAX_ITEMS} are read"
            )
        return [
            EvidenceItem(name, self._read(repository, posixpath.join(folder, name), info))
            for name, info in found
        ]

    def attach(self, location: str, folder: str, attachments: Iterable[Attachment]) -> None:
        """See :class:`~mlflow_governance.workflows.ports.Artifacts`."""
        repository, root = self._open(location)
        with tempfile.TemporaryDirectory(prefix="governance-") as temporary:
            for attachment in attachments:
                target = Path(temporary) / attachment.path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(attachment.data)
            repository.log_artifacts(temporary, posixpath.join(root, folder))

    def _open(self, location: str) -> tuple[ArtifactRepository, str]:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if "://" in location or location.startswith("/"):
            return compat.direct_repository(location), ""
        # The stock repository, not the guarded one: the registry itself may read what is blocked.
        destination = compat.plain_uri(compat.artifact_destination_uri())
        return get_artifact_repository(destination), location

    @staticmethod
    def _local(repository: ArtifactRepository, root: str) -> Path | None:
        from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

        if not isinstance(repository, LocalArtifactRepository):
            return None
        return Path(repository.artifact_dir) / root

    @staticmethod
    def _walk(repository: ArtifactRepository, root: str) -> Iterator[tuple[str, FileInfo]]:
        pending, seen = [root], 0
        while pending:
            for info in repository.list_artifacts(pending.pop() or None):
                seen += 1
                if seen > _MAX_FILES:
                    raise VerificationError(f"more than {_MAX_FILES} files at {root}")
                if info.is_dir:
                    pending.append(info.path)
                else:
                    yield posixpath.relpath(info.path, root or "."), info

    def _read(self, repository: ArtifactRepository, path: str, info: FileInfo) -> bytes:
        if info.file_size is not None and info.file_size > MAX_ITEM_BYTES:
            raise VerificationError(
                f"the evidence file {posixpath.basename(path)} has {info.file_size} bytes; "
                f"at most {MAX_ITEM_BYTES} are read"
            )
        local = self._local(repository, path)
        if local is not None:
            if local.is_symlink() or not local.is_file():
                raise VerificationError(f"evidence is not a plain file: {path}")
            return local.read_bytes()
        with tempfile.TemporaryDirectory(prefix="governance-") as folder:
            return Path(repository.download_artifacts(path, folder)).read_bytes()
