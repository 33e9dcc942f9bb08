"""Files of the installation that nobody else may read, in folders nobody else may write."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from mlflow_governance.errors import ConfigurationError

_SECRET = frozenset({".pem", ".key", ".salt", ".password", ".ini", ".secret", ".retired"})
"""How the names of private files in the folder ``keys`` end."""


def require_private(path: Path) -> None:
    """Refuse a file that somebody else can read, write or put another one in the place of.

    Raises:
        ConfigurationError: a link, no file, of another user, or open to others; names the command
            that mends it.
    """
    if os.name != "posix":
        return
    status = _look(path)
    place = shlex.quote(str(path))
    if stat.S_ISLNK(status.st_mode):
        raise ConfigurationError(
            f"the key file {path} is a link to somewhere else",
            advice=f"cp --remove-destination {shlex.quote(str(path.resolve()))} {place}"
            f" && chmod 600 {place}",
        )
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"{path} is not a file")
    _require_own(path, status)
    if status.st_mode & 0o077:
        raise ConfigurationError(
            f"the key file {path} is open to other users", advice=f"chmod 600 {place}"
        )
    require_folder(path.parent)


def require_folder(path: Path) -> None:
    """Refuse a folder in which somebody else could exchange a file.

    Raises:
        ConfigurationError: of another user, or others may write to it.
    """
    if os.name != "posix":
        return
    status = path.stat()
    _require_own(path, status)
    if status.st_mode & 0o022:
        raise ConfigurationError(
            f"other users may write to the folder of keys {path}",
            advice=f"chmod go-w {shlex.quote(str(path))}",
        )


def require_home(home: Path) -> None:
    """Refuse a home folder whose secrets are not private.

    Raises:
        ConfigurationError: names the first, and the command that mends it.
    """
    keys = home / "keys"
    require_folder(home)
    require_folder(keys)
    for path in sorted(keys.iterdir()):
        if path.suffix in _SECRET:
            require_private(path)


def _look(path: Path) -> os.stat_result:
    try:
        return path.lstat()
    except OSError as error:
        raise ConfigurationError(
            f"the key file {path} cannot be opened: {error.strerror}",
            advice="Restore it from a backup of the home folder.",
        ) from error


def _require_own(path: Path, status: os.stat_result) -> None:
    # Root may do anything anyway; everybody else who owns it could change it.
    if status.st_uid not in (os.geteuid(), 0):
        raise ConfigurationError(
            f"{path} belongs to another user (uid {status.st_uid})",
            advice=f"chown {os.geteuid()} {shlex.quote(str(path))}",
        )


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file whole or not at all, over one that is there.

    Raises:
        ConfigurationError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
