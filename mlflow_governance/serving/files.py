"""Files that only this user may touch: made, replaced whole, locked and deleted."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlflow_governance.errors import ConfigurationError, Unavailable, VerificationError

_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def private_directory(path: Path) -> Path:
    """The directory, made with mode 0700 when absent; its absolute path without symlinks.

    Raises:
        ConfigurationError: it cannot be made, is another user's, or others may enter it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise ConfigurationError(
            f"the cache {path} cannot be used: {error.strerror}",
            advice="Set MLFLOW_GOVERNANCE_CACHE to a directory of your own.",
        ) from error
    if status.st_uid != os.geteuid():
        raise ConfigurationError(
            f"the cache {path} belongs to another user",
            advice="Set MLFLOW_GOVERNANCE_CACHE to a directory of your own.",
        )
    if status.st_mode & 0o077:
        raise ConfigurationError(
            f"the cache {path} is open to other users", advice=f"chmod 700 {path}"
        )
    return path.resolve()


def read_file(path: Path, limit: int) -> bytes | None:
    """The bytes of a regular file; None when there is none.

    Raises:
        VerificationError: a symlink, a special file, or more than ``limit`` bytes.
        Unavailable: it is there and cannot be read.
    """
    try:
        descriptor = os.open(path, _OPEN)
    except FileNotFoundError:
        return None
    except OSError as error:
        if path.is_symlink():
            raise VerificationError(f"{path} is a symlink") from error
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise VerificationError(f"{path} is not a file")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise VerificationError(f"{path} has more than {limit} bytes and is not read")
    return data


def replace_file(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 so that readers see the old bytes or the new, never a part.

    Raises:
        Unavailable: it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except OSError:
            with suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder against every other process and thread that asks for the same."""
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_read_only(root: Path) -> None:
    """Take the right to write from every file and folder below ``root``, and from itself.

    What is so already is not touched, so that its ctime stays. There must be no symlink in it.
    """
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            _set_mode(os.path.join(folder, name), 0o400)
        _set_mode(folder, 0o500)


def _set_mode(path: str, mode: int) -> None:
    if stat.S_IMODE(os.lstat(path).st_mode) != mode:
        os.chmod(path, mode)


def delete_tree(root: Path) -> None:
    """Delete a directory, read-only ones inside it too; nothing happens when it is not there."""
    for folder, _, _ in os.walk(root):
        os.chmod(folder, 0o700)  # the walk follows no symlink, so this is inside the tree
    shutil.rmtree(root, ignore_errors=True)
