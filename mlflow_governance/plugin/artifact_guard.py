"""The storage of artifacts, guarded.

Every byte the server hands out or takes in passes here: FastAPI's artifact routes, Flask's
handlers, listings, uploads, multipart and presigned links, traces, and whatever repository
MLflow opens for a location somebody else chose. These rules hold, whatever route asks:

- the bytes of an accepted version are read-only, and so is its evidence;
- bytes and their names are handed out only if the download gate permits them to whoever asks;
- the bytes of a withdrawn model are handed out from nowhere.

Everything else is MLflow's business and passes untouched.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import posixpath
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlflow_governance.plugin import compat
from mlflow_governance.plugin.path_guard import Guard, Permit
from mlflow_governance.plugin.places import Root, root_anywhere, root_below
from mlflow_governance.plugin.refusals import refusing

LINK_SECONDS = 300
"""How long a link for a download may be used at most, as MLflow has it by default. MLflow's client
asks for a new one, and so the gate again, when one expires in the middle of a large file."""

_ELSEWHERE = frozenset({"runs", "models", "http", "https", "mlflow-artifacts"})
"""Schemes that only lead to another repository, or to a server with a guard of its own."""


@refusing
def build(artifact_uri: str, options: dict[str, Any]) -> Any:
    """The guarded repository for ``governance+<URI>``: the artifact destination, or below it.

    Raises:
        Denied: it is not sure to lie below the destination.
    """
    destination, uri = compat.artifact_destination_uri(), compat.plain_uri(artifact_uri)
    top = compat.plain_uri(destination) if destination else uri
    repository = compat.stock_repository(uri, **options)
    return _guarded(repository, root_below(top, uri, _folder(repository)))


def guard_every_repository() -> None:
    """Have every repository this process opens guarded, whatever decided its location.

    A tag of a trace, a root of a workspace or an experiment from before can name any storage.
    The registry itself goes on reading through :func:`compat.stock_repository`.
    """
    compat.wrap_repositories(_wrapped)


@refusing
def _wrapped(uri: str, repository: Any) -> Any:
    scheme = urlsplit(uri).scheme.lower()
    if scheme in _ELSEWHERE or scheme.startswith(compat.PREFIX):
        return repository
    destination = compat.plain_uri(compat.artifact_destination_uri())
    top = _folder(compat.stock_repository(destination))
    return _guarded(repository, root_anywhere(destination, uri, _folder(repository), top))


def _folder(repository: Any) -> Path | None:
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    local = isinstance(repository, LocalArtifactRepository)
    return Path(repository.artifact_dir) if local else None


def _guarded(repository: Any, root: Root) -> Any:
    # A subclass of the real one's class, so that MLflow's checks for streaming, multipart and
    # presigned support go on seeing what the storage can do.
    repository.governance_guard = Guard(root)
    kind: type = type(repository)
    repository.__class__ = _guarded_class(kind)
    return repository


# Of writes: the position of the path argument, and what the place of the file is made of.
_INTO_FOLDER, _AS_NAMED, _ITSELF = "the local file or folder", "the file's name", "the path"
_WRITES: dict[str, tuple[int, int, str]] = {
    "log_artifact": (1, 0, _INTO_FOLDER),
    "log_artifacts": (1, 0, _INTO_FOLDER),
    "log_artifact_from_stream": (2, 1, _AS_NAMED),
    "create_multipart_upload": (2, 0, _AS_NAMED),
    "complete_multipart_upload": (3, 0, _AS_NAMED),
    "delete_artifacts": (0, 0, _ITSELF),
}
_TRACES = {
    "download_trace_data": "traces.json",
    "download_archived_trace_data": "traces.pb",
}
"""Reads and writes of one file whose name MLflow knows: it lies at the repository's root."""


@lru_cache(maxsize=64)
def _guarded_class(base: type) -> type:
    methods: dict[str, Any] = {
        "get_local_path": _local_path(base),
        "download_artifacts": _download(base),
        "_download_file": _file(base),
        "list_artifacts": _listing(base),
        "upload_archived_trace_data_bytes": _trace_upload(base),
        **{name: _trace(base, name, file) for name, file in _TRACES.items()},
        **{name: _write(base, name, *where) for name, where in _WRITES.items() if _has(base, name)},
    }
    for name, make in (
        ("get_download_presigned_url", _download_link),
        ("create_presigned_upload_url", _upload_link),
        ("_publish_staged_artifact", _publication),
        ("log_artifact_from_async_stream", _async_write),
    ):
        if _has(base, name):
            methods[name] = make(base)
    return type(f"Guarded{base.__name__}", (base,), methods)


def _has(base: type, name: str) -> bool:
    return hasattr(base, name)


def _guard_of(repository: Any) -> Guard:
    guard: Guard = repository.governance_guard
    return guard


# Reads -----------------------------------------------------------------------------------------


def _local_path(base: Any) -> Callable[..., Any]:
    def get_local_path(self: Any, artifact_path: str) -> str | None:
        guard = _guard_of(self)
        permit = guard.check_read(artifact_path)
        path: str | None = base.get_local_path(self, artifact_path)
        if path is not None:
            guard.check_bytes(permit, Path(path))
        return path

    return get_local_path


def _download(base: Any) -> Callable[..., Any]:
    def download_artifacts(self: Any, artifact_path: str, dst_path: str | None = None) -> Any:
        # All below is asked about at once; the bytes are looked at file by file.
        _guard_of(self).check_read(artifact_path)
        return base.download_artifacts(self, artifact_path, dst_path)

    return download_artifacts


def _file(base: Any) -> Callable[..., Any]:
    def _download_file(self: Any, remote_file_path: str, local_path: Any) -> None:
        guard = _guard_of(self)
        guard.check_read(remote_file_path)
        base._download_file(self, remote_file_path, local_path)
        try:
            # Asked again: a download takes its time, and a withdrawal does not wait for it.
            guard.check_bytes(guard.check_read(remote_file_path), Path(local_path))
        except Exception:
            Path(local_path).unlink(missing_ok=True)
            raise

    return _download_file


def _listing(base: Any) -> Callable[..., Any]:
    def list_artifacts(self: Any, path: str | None = None) -> Any:
        _guard_of(self).check_list(path)
        return base.list_artifacts(self, path)

    return list_artifacts


def _trace(base: Any, name: str, file: str) -> Callable[..., Any]:
    original = getattr(base, name)

    def method(self: Any) -> Any:
        _guard_of(self).check_read(file)
        return original(self)

    return method


def _download_link(base: Any) -> Callable[..., Any]:
    def get_download_presigned_url(
        self: Any, artifact_path: str, expiration: int = LINK_SECONDS
    ) -> Any:
        guard = _guard_of(self)
        permit = guard.check_read(artifact_path)
        link = base.get_download_presigned_url(self, artifact_path, min(expiration, LINK_SECONDS))
        if guard.may_be_blocked(permit, link.file_size):
            _look_at(self, base, permit)
        return link

    return get_download_presigned_url


def _look_at(repository: Any, base: Any, permit: Permit) -> None:
    with tempfile.TemporaryDirectory(prefix="governance-") as folder:
        copy = Path(folder) / "file"
        base._download_file(repository, permit.path, str(copy))
        _guard_of(repository).check_bytes(permit, copy)


# Writes ----------------------------------------------------------------------------------------


def _write(base: Any, name: str, path_at: int, file_at: int, made_of: str) -> Callable[..., Any]:
    original = getattr(base, name)
    names = list(inspect.signature(original).parameters)[1:]

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = dict(zip(names, args, strict=False)) | kwargs
        path, file = given.get(names[path_at]) or "", str(given.get(names[file_at]) or "")
        targets = [path]
        if made_of is _INTO_FOLDER and os.path.isdir(file):
            targets = _targets(path, file)
        elif made_of is not _ITSELF:
            targets = [posixpath.join(path, os.path.basename(file))]
        for target in targets:
            if made_of is _ITSELF:
                _guard_of(self).check_delete(target)
            else:
                _guard_of(self).check_write(target)
        return original(self, *args, **kwargs)

    method.__name__ = name
    return method


def _targets(path: str, folder: str) -> list[str]:
    """Where every file of a local folder is put below ``path``."""
    below = (os.path.join(root, name) for root, _, names in os.walk(folder) for name in names)
    return [path, *(posixpath.join(path, os.path.relpath(file, folder)) for file in below)]


def _trace_upload(base: Any) -> Callable[..., Any]:
    def upload_archived_trace_data_bytes(self: Any, data: bytes) -> None:
        _guard_of(self).check_write(_TRACES["download_archived_trace_data"])
        base.upload_archived_trace_data_bytes(self, data)

    return upload_archived_trace_data_bytes


def _upload_link(base: Any) -> Callable[..., Any]:
    def create_presigned_upload_url(self: Any, artifact_path: str, expiration: int = 0) -> Any:
        _guard_of(self).refuse_link(artifact_path)

    return create_presigned_upload_url


def _async_write(base: Any) -> Any:
    async def log_artifact_from_async_stream(
        self: Any, chunks: Any, artifact_file_name: str, artifact_path: str | None = None
    ) -> Any:
        # In a thread: the database may take its time, and this is the server's event loop.
        path = posixpath.join(artifact_path or "", os.path.basename(artifact_file_name))
        await asyncio.to_thread(_guard_of(self).check_write, path)
        return await base.log_artifact_from_async_stream(
            self, chunks, artifact_file_name, artifact_path
        )

    return log_artifact_from_async_stream


def _publication(base: Any) -> Callable[..., Any]:
    """An upload may take as long as its client likes: ask again when its file gets its name."""

    def _publish_staged_artifact(
        self: Any, temp_file_path: str, destination_file_path: str, *args: Any, **kwargs: Any
    ) -> Any:
        inside = os.path.relpath(destination_file_path, self.artifact_dir)
        _guard_of(self).check_write(inside)
        return base._publish_staged_artifact(
            self, temp_file_path, destination_file_path, *args, **kwargs
        )

    return _publish_staged_artifact
