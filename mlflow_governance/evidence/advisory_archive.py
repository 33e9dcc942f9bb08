"""The files of an archive of advisories, one after the other, held to bounds.

A zip or tar archive, or a folder. Nothing is unpacked under a name the archive chose: names are
only looked at. A name that leads elsewhere or a link is refused all the same, since no database
publishes one.
"""

from __future__ import annotations

import gzip
import itertools
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from mlflow_governance.errors import NotFound, VerificationError
from mlflow_governance.evidence import osv

MAX_ARCHIVE_BYTES = 2 * 1024**3
MAX_TOTAL_BYTES = 4 * 1024**3
"""Unpacked, all files together."""

_CHUNK = 1024 * 1024
_MAX_MEMBERS = 1_000_000
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, NotImplementedError, RuntimeError, EOFError, OSError,
    ValueError, zlib.error, lzma.LZMAError,
)  # fmt: skip

Named = tuple[str, bytes]


def documents(archive: Path, work: Path) -> Iterator[Named]:
    """Every ``*.json`` in a zip, a tar (plain or gzip) or a folder: its name and its bytes.

    Args:
        archive: what an operator brought.
        work: a private folder to unpack a compressed tar into, as one file.

    Raises:
        NotFound: there is nothing at that path.
        VerificationError: it is malformed, beyond the bounds, or holds links or foreign paths.
    """
    if not archive.exists():
        raise NotFound(f"there is no archive of advisories at {archive}")
    try:
        found = _members(archive, work)
        yield from _bounded(found, archive)
    except _BROKEN as error:
        raise VerificationError(f"the advisories at {archive} cannot be read: {error}") from error


def _members(archive: Path, work: Path) -> Iterator[Named]:
    if archive.is_dir():
        return _of_folder(archive)
    if archive.stat().st_size > MAX_ARCHIVE_BYTES:
        raise VerificationError(f"{archive} has more than {MAX_ARCHIVE_BYTES} bytes")
    if zipfile.is_zipfile(archive):
        return _of_zip(archive)
    return _of_tar(_unpacked(archive, work))


def _bounded(found: Iterator[Named], archive: Path) -> Iterator[Named]:
    total = 0
    for count, (name, data) in enumerate(found, 1):
        total += len(data)
        if count > osv.MAX_ADVISORIES:
            raise VerificationError(f"{archive} holds more than {osv.MAX_ADVISORIES} advisories")
        if total > MAX_TOTAL_BYTES:
            raise VerificationError(f"{archive} unpacks to more than {MAX_TOTAL_BYTES} bytes")
        if len(data) > osv.MAX_ADVISORY_BYTES:
            raise VerificationError(
                f"{name[:256]} in {archive} has more than {osv.MAX_ADVISORY_BYTES} bytes"
            )
        yield name, data


def _of_folder(folder: Path) -> Iterator[Named]:
    for root, directories, names in os.walk(folder, followlinks=False):
        for name in sorted([*directories, *names]):
            path = Path(root, name)
            if path.is_symlink():
                raise VerificationError(f"{path} is a link; an archive holds files alone")
            if path.suffix == ".json" and path.is_file():
                with path.open("rb") as stream:
                    yield str(path.relative_to(folder)), stream.read(osv.MAX_ADVISORY_BYTES + 1)


def _of_zip(path: Path) -> Iterator[Named]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            _refuse_escape(info.filename)
            if stat.S_ISLNK(info.external_attr >> 16):
                raise VerificationError(f"{info.filename[:256]} in {path} is a link")
            if info.filename.endswith(".json"):
                with archive.open(info) as stream:
                    yield info.filename, stream.read(osv.MAX_ADVISORY_BYTES + 1)


def _of_tar(path: Path) -> Iterator[Named]:
    with path.open("rb") as raw:
        small = cast(BinaryIO, _SmallReads(raw))
        with tarfile.open(fileobj=small, mode="r:") as archive:
            for count in itertools.count():
                member = archive.next()
                if member is None:
                    return
                if count > _MAX_MEMBERS:
                    raise VerificationError(f"it holds more than {_MAX_MEMBERS} members")
                archive.members = []  # type: ignore[attr-defined]  # else it keeps every header
                _refuse_escape(member.name)
                if member.isdir():
                    continue
                if not member.isreg():
                    raise VerificationError(f"{member.name[:256]} is a link or a device")
                stream = archive.extractfile(member) if member.name.endswith(".json") else None
                if stream is not None:
                    yield member.name, stream.read(osv.MAX_ADVISORY_BYTES + 1)


class _SmallReads:
    """A file whose single reads are bounded: tarfile reads a whole extended header at once."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.tell, self.seek = raw.tell, raw.seek

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= osv.MAX_ADVISORY_BYTES + tarfile.BLOCKSIZE:
            raise VerificationError(f"the archive asks to read {size} bytes at once")
        return self._raw.read(size)


def _unpacked(archive: Path, work: Path) -> Path:
    """The plain tar behind a gzip one."""
    with archive.open("rb") as stream:
        if stream.read(2) != b"\x1f\x8b":
            return archive
    plain, total = work / "archive.tar", 0
    with gzip.open(archive) as packed, plain.open("wb") as out:
        while chunk := packed.read(_CHUNK):
            total += len(chunk)
            if total > MAX_TOTAL_BYTES:
                raise VerificationError(f"{archive} unpacks to more than {MAX_TOTAL_BYTES} bytes")
            out.write(chunk)
    return plain


def _refuse_escape(name: str) -> None:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or "\0" in name or ":" in parts[0]:
        raise VerificationError(f"the archive holds a path that leads elsewhere: {name[:256]!r}")
