"""The bytes of models from inside the server, without the guard that stands before clients."""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from mlflow_governance.core.digest import Digest
from mlflow_governance.core.manifest import (
    EVIDENCE_FOLDER,
    Manifest,
    is_evidence,
    refuse_unsafe_name,
)
from mlflow_governance.errors import Denied, NotFound, VerificationError
from mlflow_governance.evidence.hashing import directory_size, hash_directory, read_file, walk
from mlflow_governance.evidence.inspection import Inspection
from mlflow_governance.evidence.interface import (
    MAX_ITEM_BYTES,
    MAX_ITEMS,
    MAX_TOTAL_BYTES,
    EvidenceItem,
)
from mlflow_governance.plugin import compat
from mlflow_governance.plugin.places import Root, normalise, true_path
from mlflow_governance.workflows.ports import Attachment

if TYPE_CHECKING:
    from mlflow.entities import FileInfo
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

SUBMITTED = f"{EVIDENCE_FOLDER}/evidence"
"""Where producers leave evidence beside a model, before it is registered."""

_F = TypeVar("_F")
_MAX_NAME = 1000
_MAX_FILES = 100_000


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
        place = storage if path is None else self._true_place(normalise(path))
        if not place:
            raise Denied(
                "the artifact destination itself is no model",
                advice="Register the folder of one model.",
            )
        if path is not None and not place.startswith("file://"):
            return place
        if urlsplit(place).scheme in ("", "file"):
            raise Denied(
                "the model lies outside the artifact destination of this server",
                advice="Log it to an experiment without an artifact location of its own.",
            )
        return place.rstrip("/")

    @staticmethod
    def _true_place(path: str) -> str:
        # Behind a link, or in other letters on a disk that folds them, are the same files.
        folder = compat.local_folder(compat.plain_uri(compat.artifact_destination_uri()))
        if folder is None:
            return path
        return Root("", "", folder, folder).place_of(true_path(str(folder / path)))

    def size(self, location: str) -> int:
        """See :class:`~mlflow_governance.workflows.ports.Artifacts`."""
        repository, root = self._open(location)
        local = self._local(repository, root)
        if local is not None:
            return directory_size(local) if local.is_dir() else 0
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

    @property
    def scanner(self) -> Digest:
        """See :class:`~mlflow_governance.workflows.ports.Artifacts`."""
        from mlflow_governance.evidence.malware import SCANNER

        return SCANNER

    def inspect(self, location: str, manifest: Manifest) -> Inspection:
        """See :class:`~mlflow_governance.workflows.ports.Artifacts`."""
        from mlflow_governance.evidence.malware import inspect_directory

        repository, root = self._open(location)
        local = self._local(repository, root)
        if local is not None:
            return inspect_directory(local, manifest)
        with tempfile.TemporaryDirectory(prefix="governance-") as folder:
            fetched = Path(repository.download_artifacts(root, folder))
            return inspect_directory(fetched, manifest, private=True)

    def evidence(self, location: str) -> list[EvidenceItem]:
        """See :class:`~mlflow_governance.workflows.ports.Artifacts`."""
        repository, root = self._open(location)
        local = self._local(repository, root)
        if local is not None:
            found = _within_bounds((f.name, f.size, f) for f in walk(local, SUBMITTED))
            return [EvidenceItem(name, read_file(f, MAX_ITEM_BYTES)) for name, f in found]
        folder = posixpath.join(root, SUBMITTED)
        listed = _within_bounds(
            (posixpath.join(SUBMITTED, name), info.file_size or 0, info)
            for name, info in self._walk(repository, folder)
        )
        return [EvidenceItem(name, self._read(repository, info)) for name, info in listed]

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
        # The stock repository, not the guarded one: the registry itself may read what is blocked.
        if "://" in location or location.startswith("/"):
            return compat.direct_repository(location), ""
        destination = compat.plain_uri(compat.artifact_destination_uri())
        return compat.stock_repository(destination), location

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

    @staticmethod
    def _read(repository: ArtifactRepository, info: FileInfo) -> bytes:
        with tempfile.TemporaryDirectory(prefix="governance-") as folder:
            return Path(repository.download_artifacts(info.path, folder)).read_bytes()


def _within_bounds(files: Iterable[tuple[str, int, _F]]) -> list[tuple[str, _F]]:
    """Files by their name below the evidence folder, if they are few, small and well named.

    Args:
        files: name below the model directory, size in bytes, and whatever reads the file.

    Raises:
        VerificationError: they are not; it names the first file that is too much.
    """
    kept: list[tuple[str, _F]] = []
    total = 0
    for name, size, file in files:
        refuse_unsafe_name(name)
        if len(kept) == MAX_ITEMS:
            raise VerificationError(f"more than {MAX_ITEMS} files lie in {SUBMITTED}")
        if len(name) > _MAX_NAME:
            raise VerificationError(f"a name has more than {_MAX_NAME} characters: {name[:80]}…")
        total += size
        if size > MAX_ITEM_BYTES or total > MAX_TOTAL_BYTES:
            raise VerificationError(
                f"the evidence file {name} has {size} bytes; at most {MAX_ITEM_BYTES} are read "
                f"of one and {MAX_TOTAL_BYTES} of all"
            )
        kept.append((posixpath.relpath(name, SUBMITTED), file))
    return kept
