"""A copy whose bytes were hashed once, and how each of its files looked then.

::

    <entry>/model/         the files, read-only
    <entry>/proved.json    {"schema": 1, "boot": "…", "files": [{name, sha256, size, seen}, …]}

``seen`` is device, inode, size, mtime, ctime and mode. While all of them are what they were, the
bytes are too: whatever writes to a file, replaces it or sets its mtime back gives it another ctime,
which nobody can set. So the next use looks at every file, and reads none. Anything else than an
exact match means hashing again. That holds

- only while this host runs: a disk may have been written to where ctimes are whatever one likes;
- only against changes after the hashing began: nothing is remembered until the clock of the file
  system, which may be coarse, has left the moment of the last change behind;
- not against who can write to this directory, which is this user alone (mode 0700): they could
  write ``proved.json`` as well, or the Python that reads it.

What is remembered says only which bytes these are, never that they may be used.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mlflow_governance.core import canonical
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.manifest import EVIDENCE_FOLDER, FileEntry, Manifest
from mlflow_governance.errors import GovernanceError, VerificationError
from mlflow_governance.evidence.hashing import hash_directory, walk
from mlflow_governance.serving import files

MODEL = "model"
RECORD = "proved.json"

_SCHEMA = 1
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PATIENCE_SECONDS = 0.1
"""For a clock to tick. One that takes longer costs another hashing at the next use."""


def manifest_of(entry: Path, subject: Digest) -> Manifest:
    """The manifest of a copy in the cache: remembered if it is ``subject``'s, hashed otherwise.

    Args:
        entry: the directory that holds ``model/``.
        subject: the content it should be. What is returned may be another one.

    Raises:
        VerificationError: a symlink, a special file or an unreadable one; names it.
    """
    manifest = remembered(entry, subject)
    if manifest is not None:
        return manifest
    try:
        return prove(entry)
    except OSError:  # for example on a read-only medium
        return hash_directory(entry / MODEL, private=True)


def prove(entry: Path) -> Manifest:
    """Make a copy read-only, hash every file, and remember how the files look.

    Raises:
        VerificationError: a symlink, a special file or an unreadable one; names it.
        OSError: the copy cannot be made read-only.
    """
    model = entry / MODEL
    _fingerprints(model)  # refuses links before a mode is changed through one
    files.make_read_only(model)
    before = _fingerprints(model)
    past = _is_past(entry, before)
    manifest = hash_directory(model, private=True)
    if past and before == _fingerprints(model):
        _remember(entry, manifest, before)
    return manifest


def remembered(entry: Path, subject: Digest) -> Manifest | None:
    """The manifest of a copy nothing has touched since it was hashed to ``subject``.

    None means that it has to be hashed; a damaged or missing record is no error.
    """
    try:
        data = files.read_file(entry / RECORD, canonical.MAX_BYTES)
        record = canonical.decode_object(data or b"")
        manifest = Manifest.from_document(record["files"])
        seen = {file["name"]: file["seen"] for file in record["files"]}
        this_boot = record["schema"] == _SCHEMA and record["boot"] == _boot() != ""
        if this_boot and manifest.digest == subject and seen == _fingerprints(entry / MODEL):
            return manifest
    except (GovernanceError, OSError, TypeError, KeyError, ValueError, AttributeError):
        return None
    return None


def _remember(entry: Path, manifest: Manifest, seen: Mapping[str, str]) -> None:
    if not _boot():
        return
    listed = [_document(file, seen[file.name]) for file in manifest.files]
    record = {"schema": _SCHEMA, "boot": _boot(), "files": listed}
    # To forget costs time and nothing else.
    with suppress(GovernanceError):
        files.replace_file(entry / RECORD, canonical.encode(record))


def _document(file: FileEntry, seen: str) -> dict[str, str | int]:
    return {"name": file.name, "sha256": file.sha256, "size": file.size, "seen": seen}


def _fingerprints(model: Path) -> dict[str, str]:
    if os.path.lexists(model / EVIDENCE_FOLDER):
        # No signature covers what is in it, so a walk leaves it out; it has no place in a copy.
        raise VerificationError(f"{EVIDENCE_FOLDER!r} was put into a verified copy")
    return {found.name: _fingerprint(os.lstat(found.path)) for found in walk(model)}


def _fingerprint(status: os.stat_result) -> str:
    facts = (
        status.st_dev, status.st_ino, status.st_size,
        status.st_mtime_ns, status.st_ctime_ns, status.st_mode,
    )  # fmt: skip
    return ":".join(map(str, facts))


def _is_past(folder: Path, seen: Mapping[str, str]) -> bool:
    """True once a change made from now on would get another ctime than any in ``seen``.

    Asked of the file system the files are on, whose clock may be another host's.
    """
    newest = max((int(text.split(":")[4]) for text in seen.values()), default=0)
    until = time.monotonic() + _PATIENCE_SECONDS
    descriptor, name = tempfile.mkstemp(prefix=".clock-", dir=folder)
    try:
        while os.fstat(descriptor).st_ctime_ns <= newest:
            if time.monotonic() > until:
                return False
            time.sleep(0.001)
            os.utime(name)
        return True
    finally:
        os.close(descriptor)
        os.unlink(name)


def _boot() -> str:
    """Which start of this host this is; empty where the system does not say."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
