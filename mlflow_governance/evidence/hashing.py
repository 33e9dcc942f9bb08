"""From a model directory to its manifest: a strict walk, and SHA-256 at the speed of the cores.

Large files are a task each, small ones go in batches (a task for each would cost more than
hashing it), and OpenSSL releases the interpreter lock, so one thread a core keeps all cores busy.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlflow_governance.core.manifest import EVIDENCE_FOLDER, FileEntry, Manifest
from mlflow_governance.errors import VerificationError

LARGE = 1024 * 1024
"""Bytes from which a file is a task of its own."""

_CHUNK = 1024 * 1024
_BATCHES_PER_THREAD = 4
# Neither follow a link nor wait for a pipe put there since the walk; O_BINARY is for Windows.
_OPEN = os.O_RDONLY
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
    _OPEN |= getattr(os, _flag, 0)

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class _Found:
    path: str
    name: str
    size: int


def hash_directory(
    path: Path,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    private: bool = False,
) -> Manifest:
    """The manifest of every file below ``path``, top-level ``governance/`` left out.

    Args:
        path: the model directory.
        threads: how many hash at once; by default one a core.
        progress: called with the bytes hashed since the last call, from worker threads, one call
            at a time.
        private: nobody else can write to the directory. Large files are then mapped instead of
            copied, which is faster; of a mapped file that shrinks the process would die.

    Raises:
        VerificationError: not a directory, no file, a symlink, a special file, an unreadable or
            unsafely named one, or one that changed meanwhile; names it.
    """
    files = sorted(_walk(path), key=lambda found: found.size, reverse=True)
    workers = max(1, threads or _cores())
    large = [[found] for found in files if found.size >= LARGE]
    small = files[len(large) :]
    step = max(1, -(-len(small) // (workers * _BATCHES_PER_THREAD)))
    batches = large + [small[start : start + step] for start in range(0, len(small), step)]
    hash_batch = partial(_hash_batch, told=_one_at_a_time(progress), private=private)
    if workers == 1 or len(batches) <= 1:
        return Manifest.of(entry for batch in batches for entry in hash_batch(batch))
    pool = ThreadPoolExecutor(workers, thread_name_prefix="hash")
    try:
        return Manifest.of(entry for done in pool.map(hash_batch, batches) for entry in done)
    finally:
        pool.shutdown(cancel_futures=True)


def directory_size(path: Path) -> int:
    """Bytes in the files :func:`hash_directory` would hash, found without reading them.

    Raises:
        VerificationError: as :func:`hash_directory`, for what a walk can see.
    """
    return sum(found.size for found in _walk(path))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _walk(root: Path) -> Iterator[_Found]:
    pending = [(os.fspath(root), "")]
    while pending:
        folder, prefix = pending.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = prefix + entry.name
                    mode = entry.stat(follow_symlinks=False).st_mode
                    _refuse(name, mode)
                    if name == EVIDENCE_FOLDER:
                        continue
                    if stat.S_ISDIR(mode):
                        pending.append((entry.path, name + "/"))
                    else:
                        size = entry.stat(follow_symlinks=False).st_size
                        yield _Found(entry.path, name, size)
        except OSError as error:
            where = prefix.rstrip("/") or os.fspath(root)
            raise VerificationError(f"cannot be read: {where!r}: {error.strerror}") from error


def _refuse(name: str, mode: int) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise VerificationError(f"unsafe file name: {name!a}") from error
    if stat.S_ISLNK(mode):
        raise VerificationError(
            f"symlink in the model directory: {name!r}", advice="Put the file itself there."
        )
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise VerificationError(f"special file in the model directory: {name!r}")
    if name == EVIDENCE_FOLDER and not stat.S_ISDIR(mode):
        # A file of that name would be in the directory and in no manifest.
        raise VerificationError(f"{name!r} is the name of the evidence folder, and a file has it")


def _hash_batch(batch: list[_Found], told: Progress, private: bool) -> list[FileEntry]:
    return [_hash_file(found, told, private) for found in batch]


def _hash_file(found: _Found, told: Progress, private: bool) -> FileEntry:
    # Bare descriptors: a file object would cost as much again as hashing a small file.
    try:
        descriptor = os.open(found.path, _OPEN)
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise VerificationError(f"special file in the model directory: {found.name!r}")
            mapped = private and before.st_size >= LARGE
            hash_bytes = _hash_mapped if mapped else _hash_read
            size, sha256 = hash_bytes(descriptor, before.st_size, told)
            # What came in a single read is of one moment; more may be of several.
            after = os.fstat(descriptor) if size >= _CHUNK else before
        finally:
            os.close(descriptor)
    except OSError as error:
        raise VerificationError(f"cannot be read: {found.name!r}: {error.strerror}") from error
    if not size == before.st_size == after.st_size or before.st_mtime_ns != after.st_mtime_ns:
        raise VerificationError(f"changed while it was read: {found.name!r}")
    return FileEntry(found.name, size, sha256)


def _hash_mapped(descriptor: int, expected: int, told: Progress) -> tuple[int, str]:
    with mmap.mmap(descriptor, expected, access=mmap.ACCESS_READ) as content:
        sha256 = hashlib.sha256(content).hexdigest()
    told(expected)
    return expected, sha256


def _hash_read(descriptor: int, expected: int, told: Progress) -> tuple[int, str]:
    """Read one byte more than expected at most: enough to notice that the file grew."""
    hasher = hashlib.sha256()
    size = 0
    while size <= expected:
        wanted = min(_CHUNK, expected - size + 1)
        data = os.read(descriptor, wanted)
        hasher.update(data)
        size += len(data)
        told(len(data))
        if len(data) < wanted:
            break
    return size, hasher.hexdigest()


def _one_at_a_time(progress: Progress | None) -> Progress:
    if progress is None:
        return lambda count: None
    lock = threading.Lock()

    def tell(count: int) -> None:
        with lock:
            progress(count)

    return tell
