"""From a model directory to its manifest: a strict walk, and SHA-256 at the speed of the cores.

Large files are a task each, small ones go in one batch a thread (a task for each would cost more
than hashing it, and each change of threads costs as much as a file), and OpenSSL releases the
interpreter lock, so one thread a core keeps all cores busy.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from mlflow_governance.core.manifest import EVIDENCE_FOLDER, FileEntry, Manifest
from mlflow_governance.errors import VerificationError

LARGE = 1024 * 1024
"""Bytes from which a file is a task of its own."""

_CHUNK = 1024 * 1024
_OPENING = 16 * 1024
"""Opening a file costs about as much as hashing this many bytes."""
_ALONE = 4 * 1024 * 1024
"""Less work than this is done before a thread has started."""
# Neither follow a link nor wait for a pipe put there since the walk; O_BINARY is for Windows.
_OPEN = os.O_RDONLY
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
    _OPEN |= getattr(os, _flag, 0)

Progress = Callable[[int], None]


class Found(NamedTuple):
    """A file as a walk saw it: where it is, its name below the root, its size in bytes."""

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
    files = sorted(walk(path), key=attrgetter("size"), reverse=True)
    work = sum(found.size + _OPENING for found in files)
    workers = 1 if work < _ALONE else max(1, threads or _cores())
    large = [[found] for found in files if found.size >= LARGE]
    small = files[len(large) :]
    # Dealt out in turn, so that every batch has its share of the larger ones.
    batches = large + [small[turn::workers] for turn in range(min(workers, len(small)))]
    hash_batch = partial(_hash_batch, told=_one_at_a_time(progress), private=private)
    if workers == 1 or len(batches) <= 1:
        return _manifest(map(hash_batch, batches))
    pool = ThreadPoolExecutor(workers, thread_name_prefix="hash")
    try:
        return _manifest(pool.map(hash_batch, batches))
    finally:
        pool.shutdown(cancel_futures=True)


def directory_size(path: Path) -> int:
    """Bytes in the files :func:`hash_directory` would hash, found without reading them.

    Raises:
        VerificationError: as :func:`hash_directory`, for what a walk can see.
    """
    return sum(found.size for found in walk(path))


def _manifest(batches: Iterable[list[FileEntry]]) -> Manifest:
    # By name alone, which is much cheaper to compare; the manifest then finds them in order.
    entries = (entry for batch in batches for entry in batch)
    return Manifest.of(sorted(entries, key=attrgetter("name")))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def walk(root: Path, below: str = "") -> Iterator[Found]:
    """Every file of a directory, links and special files refused; ``governance/`` left out.

    Args:
        root: the model directory.
        below: walk this folder of it only, e.g. the evidence that is otherwise left out. An
            absent one is empty.

    Raises:
        VerificationError: a symlink, a special file, an unreadable or unsafely named one.
    """
    if below and not _is_there(root, below):
        return
    pending = [(os.path.join(root, below), f"{below}/" if below else "")]
    while pending:
        folder, prefix = pending.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = prefix + entry.name
                    status = entry.stat(follow_symlinks=False)
                    _refuse(name, status.st_mode)
                    if name == EVIDENCE_FOLDER:
                        continue
                    if stat.S_ISDIR(status.st_mode):
                        pending.append((entry.path, name + "/"))
                    else:
                        yield Found(entry.path, name, status.st_size)
        except OSError as error:
            where = prefix.rstrip("/") or os.fspath(root)
            raise VerificationError(f"cannot be read: {where!r}: {error.strerror}") from error


def _is_there(root: Path, below: str) -> bool:
    # The way to a folder is as foreign as what is in it.
    parts = below.split("/")
    for depth in range(1, len(parts) + 1):
        name = "/".join(parts[:depth])
        try:
            mode = os.lstat(os.path.join(root, name)).st_mode
        except FileNotFoundError:
            return False
        except OSError as error:
            raise VerificationError(f"cannot be read: {name!r}: {error.strerror}") from error
        _refuse(name, mode)
    return True


def read_file(found: Found, limit: int) -> bytes:
    """The bytes of a small file, as it stands now.

    Raises:
        VerificationError: it has more than ``limit`` bytes, or is no plain file any more.
    """
    try:
        with open(os.open(found.path, _OPEN), "rb") as file:
            plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            data = file.read(limit + 1) if plain else b""
    except OSError as error:
        raise VerificationError(f"cannot be read: {found.name!r}: {error.strerror}") from error
    if not plain:
        raise VerificationError(f"not a plain file: {found.name!r}")
    if len(data) > limit:
        raise VerificationError(f"{found.name!r} has more than {limit} bytes")
    return data


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


def _hash_batch(batch: list[Found], told: Progress, private: bool) -> list[FileEntry]:
    return [_hash_file(found, told, private) for found in batch]


def _hash_file(found: Found, told: Progress, private: bool) -> FileEntry:
    # Bare descriptors: a file object would cost as much again as hashing a small file.
    try:
        descriptor = os.open(found.path, _OPEN)
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise VerificationError(f"special file in the model directory: {found.name!r}")
            if before.st_size < LARGE:
                # A single read is of one moment; there is nothing to compare it with.
                size, sha256 = _hash_small(descriptor, before.st_size, told)
                after = before
            else:
                hash_large = _hash_mapped if private else _hash_read
                size, sha256 = hash_large(descriptor, before.st_size, told)
                after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise VerificationError(f"cannot be read: {found.name!r}: {error.strerror}") from error
    if not size == before.st_size == after.st_size or before.st_mtime_ns != after.st_mtime_ns:
        raise VerificationError(f"changed while it was read: {found.name!r}")
    return FileEntry(found.name, size, sha256)


def _hash_small(descriptor: int, expected: int, told: Progress) -> tuple[int, str]:
    """Read one byte more than expected: enough to notice that the file grew."""
    data = os.read(descriptor, expected + 1)
    told(len(data))
    return len(data), hashlib.sha256(data).hexdigest()


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
