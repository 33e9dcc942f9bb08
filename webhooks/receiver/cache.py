"""Deleting a model from the serving cache, and nothing else ever."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path

from mlflow_governance.core import digest as digests

_DOOMED = ".purged-"


def purge(root: Path, digest: object) -> bool:
    """Delete ``<root>/<digest hex>``; True when it was there.

    The directory is renamed first, so that from one moment to the next no server finds it,
    however long deleting takes. A symbolic link is removed, never followed.

    Args:
        root: the serving cache.
        digest: ``sha256:<64 hex>`` from an event. Nothing else reaches the file system.

    Raises:
        InvalidRequest: not a digest.
        OSError: the directory cannot be renamed or deleted.
    """
    name = digests.hex_of(digests.parse(digest))
    doomed = root / f"{_DOOMED}{name}-{secrets.token_hex(4)}"
    try:
        os.rename(root / name, doomed)
    except FileNotFoundError:
        return False
    _delete(doomed)
    return True


def sweep(root: Path) -> None:
    """Finish purges that an earlier process left half done.

    Raises:
        OSError: something cannot be deleted.
    """
    for left in root.glob(f"{_DOOMED}*"):
        _delete(left)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        # Verified copies are read-only; their directories must be writable to be emptied.
        # shutil.rmtree does not follow links inside the tree.
        for folder, _, _ in os.walk(path):
            os.chmod(folder, 0o700)
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
