"""The artifact destination behind MLflow's proxy, guarded.

Every proxied byte passes here: FastAPI's artifact routes, Flask's handlers, uploads, multipart
and presigned links. Two rules hold, whatever route asks:

- the bytes of an accepted version are read-only, and so is its evidence;
- bytes are handed out only if the download gate permits them to whoever asks.

A path nobody registered is MLflow's business and passes untouched.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import posixpath
from collections.abc import Callable
from typing import Any, NoReturn

from mlflow_governance.core.manifest import EVIDENCE_FOLDER
from mlflow_governance.core.stage import WITHDRAWN, Stage
from mlflow_governance.errors import Denied
from mlflow_governance.plugin import compat
from mlflow_governance.plugin.artifacts import SUBMITTED, normalise
from mlflow_governance.plugin.assembly import Assembly
from mlflow_governance.plugin.refusals import refusing
from mlflow_governance.workflows.admit import admit, permits
from mlflow_governance.workflows.ports import Request, VersionRecord
from mlflow_governance.workflows.record import subject_of
from mlflow_governance.workflows.refuse import Refused, refuse


class Guard:
    """Decides about paths below the artifact destination.

    Args:
        prefix: what this repository's root is below the destination, for repositories MLflow
            opens deeper than the destination itself.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix

    @refusing
    def check_read(self, path: str | None) -> None:
        """Refuse to hand out what the download gate does not permit.

        Raises:
            Refusal: a governed version's bytes, and the gate said no.
        """
        full = self._full(path)
        records = self._governing(full)
        if not records:
            return
        governance = _governance()
        actor = governance.identity.current(fresh=False)
        ports = governance.ports
        # Several versions may share one directory. A withdrawn one blocks it for all. A released
        # one opens it; otherwise the oldest decides, so that registering a directory again gives
        # nobody the author's access.
        for record in records:
            if record.stage in WITHDRAWN:
                admit(ports, Request(actor, record.ref), "artifact")
        first = min(records, key=lambda record: str(record.created_at))
        released = [r for r in records if r.stage not in (Stage.NONE, Stage.CANDIDATE)]
        if not any(permits(ports, Request(actor, r.ref), "artifact") for r in [*released, first]):
            admit(ports, Request(actor, first.ref), "artifact")

    @refusing
    def check_write(self, path: str | None) -> None:
        """Refuse to change what was accepted, or anything the registry itself attaches.

        Raises:
            Refusal: the path belongs to an accepted version, or holds the registry's records.
        """
        full = self._full(path)
        for record in [*self._governing(full), *self._below(full)]:
            if record.stage is not Stage.NONE:
                _refuse(
                    record,
                    f"the files of {record.ref} are read-only: it is {record.stage}",
                    "A changed model is a new version: log and register it again.",
                )
            inside = posixpath.relpath(full, record.location)
            if inside.startswith(EVIDENCE_FOLDER + "/") and not _submittable(inside):
                _refuse(
                    record,
                    f"{inside} is written by the registry alone",
                    f"Evidence for a version at None belongs into {SUBMITTED}/.",
                )

    def _full(self, path: str | None) -> str:
        return normalise(posixpath.join(self._prefix, (path or "").lstrip("/")))

    @staticmethod
    def _governing(full: str) -> list[VersionRecord]:
        parts = full.split("/")
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
        with _governance().ports.store.read() as reading:
            return reading.versions_at(above)

    @staticmethod
    def _below(full: str) -> list[VersionRecord]:
        with _governance().ports.store.read() as reading:
            return reading.versions_below(full)


def _refuse(record: VersionRecord, message: str, advice: str) -> NoReturn:
    governance = _governance()
    actor = governance.identity.current(fresh=False)
    refuse(governance.ports, actor, Refused("write files", subject_of(record)), message, advice)


def _submittable(inside: str) -> bool:
    return inside == SUBMITTED or inside.startswith(SUBMITTED + "/")


def _governance() -> Assembly:
    store = compat.live_registry_store()
    governance = getattr(store, "governance", None)
    if not isinstance(governance, Assembly):
        raise Denied("the server's registry store is not governed; no artifact is handed out")
    return governance


def build(artifact_uri: str, options: dict[str, Any]) -> Any:
    """A guarded repository: a subclass of the real one's class, so that MLflow's checks for
    streaming, multipart and presigned support go on seeing what the storage can do."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    inner_uri = compat.plain_uri(artifact_uri)
    base = type(get_artifact_repository(inner_uri))
    guard = Guard(_prefix(artifact_uri))
    guarded = type(f"Guarded{base.__name__}", (base,), _overrides(base, guard))
    return guarded(inner_uri, **options)


def _prefix(artifact_uri: str) -> str:
    root = compat.artifact_destination_uri().rstrip("/")
    uri = artifact_uri.rstrip("/")
    if not root or uri == root:
        return ""
    prefix = uri.removeprefix(root + "/")
    # Storage takes a URI apart in its own way; only where there is nothing to take apart is it
    # sure that the guard and the storage mean the same place.
    if prefix == uri or normalise(prefix) != prefix or set("%?#\\") & set(prefix):
        raise Denied(f"{artifact_uri} lies outside the artifact destination")
    return prefix


# Method name and the position of the path argument; of writes also that of the local file
# or folder, if the path names only where that is put.
_READS = {
    "get_local_path": 0,
    "download_artifacts": 0,
    "get_download_presigned_url": 0,
    "_download_file": 0,
}
_WRITES: dict[str, tuple[int, int | None]] = {
    "log_artifact": (1, 0),
    "log_artifacts": (1, 0),
    "log_artifact_from_stream": (2, 1),
    "delete_artifacts": (0, None),
    "create_multipart_upload": (2, 0),
    "complete_multipart_upload": (3, 0),
    "abort_multipart_upload": (2, 0),
    "create_presigned_upload_url": (0, None),
}


def _overrides(base: type, guard: Guard) -> dict[str, Any]:
    methods: dict[str, Any] = {}
    for name, position in _READS.items():
        if hasattr(base, name):
            methods[name] = _checked(base, name, guard.check_read, position)
    for name, (position, file) in _WRITES.items():
        if hasattr(base, name):
            methods[name] = _checked(base, name, guard.check_write, position, file)
    if hasattr(base, "_publish_staged_artifact"):
        methods["_publish_staged_artifact"] = _checked_publication(base, guard)
    if hasattr(base, "log_artifact_from_async_stream"):
        methods["log_artifact_from_async_stream"] = _checked_async(base, guard)
    return methods


def _checked(
    base: type, name: str, check: Any, position: int, file: int | None = None
) -> Callable[..., Any]:
    original = getattr(base, name)
    names = list(inspect.signature(original).parameters)[1:]

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = dict(zip(names, args, strict=False)) | kwargs
        path = given.get(names[position]) or ""
        for target in [path] if file is None else _targets(path, str(given.get(names[file], ""))):
            check(target)
        return original(self, *args, **kwargs)

    method.__name__ = name
    return method


def _targets(path: str, local: str) -> list[str]:
    """Where a local file, or every file of a local folder, is put below ``path``."""
    if not os.path.isdir(local):
        return [posixpath.join(path, os.path.basename(local))]
    below = (os.path.join(root, name) for root, _, names in os.walk(local) for name in names)
    return [path, *(posixpath.join(path, os.path.relpath(file, local)) for file in below)]


def _checked_async(base: type, guard: Guard) -> Any:
    original = base.log_artifact_from_async_stream  # type: ignore[attr-defined]

    async def method(self: Any, stream: Any, filename: str, artifact_path: Any = None) -> Any:
        # In a thread: the database may take its time, and this is the server's event loop.
        path = posixpath.join(artifact_path or "", filename)
        await asyncio.to_thread(guard.check_write, path)
        return await original(self, stream, filename, artifact_path=artifact_path)

    return method


def _checked_publication(base: type, guard: Guard) -> Callable[..., Any]:
    """An upload may take as long as its client likes: ask again when its file gets its name."""
    original = base._publish_staged_artifact  # type: ignore[attr-defined]

    def method(self: Any, staged: str, destination: str, *args: Any, **kwargs: Any) -> Any:
        guard.check_write(os.path.relpath(destination, self.artifact_dir))
        return original(self, staged, destination, *args, **kwargs)

    return method
