"""What stands beside a model: read from a download, kept in the cache as one file a version."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlflow_governance.core.manifest import refuse_unsafe_name
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence.interface import MAX_ITEM_BYTES, EvidenceItem
from mlflow_governance.serving.files import read_file

MAX_FILES = 10_000
MAX_BYTES = 256 * 1024 * 1024
"""Bounds of everything that stands beside one version."""

_PRODUCER = Path("evidence")
_LATER = ("attestations/", "signatures/")
_DECISIONS = "decisions/"
_SUMMARY = ".vsa.json"


@dataclass(frozen=True)
class Evidence:
    """``items`` are the producer's, later attestations among them; ``decisions`` the registry's."""

    items: tuple[EvidenceItem, ...] = ()
    decisions: tuple[EvidenceItem, ...] = ()


def read_folder(governance: Path, ref: VersionRef) -> Evidence:
    """Read the folder ``governance`` of a downloaded model directory; absent means no evidence.

    Raises:
        VerificationError: a symlink, a special file, or more than the bounds.
    """
    found = _Bounded()
    producer = list(found.walk(_plain(governance, _PRODUCER)))
    attached = list(found.walk(_plain(governance, Path(ref.folder).relative_to("governance"))))
    return Evidence(
        (*producer, *(item for item in attached if item.name.startswith(_LATER))),
        tuple(
            item
            for item in attached
            if item.name.startswith(_DECISIONS) and item.name.endswith(_SUMMARY)
        ),
    )


def pack(evidence: Evidence) -> bytes:
    """The evidence as one file, which ``unzip`` opens."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (folder, item) in enumerate(_filed(evidence)):
            # Two items may have one name: a verifier must see both, so that it can object.
            archive.writestr(f"{folder}/{number}/{item.name}", item.data)
    return buffer.getvalue()


def unpack(data: bytes) -> Evidence:
    """The evidence in a file :func:`pack` made.

    Raises:
        VerificationError: it is damaged or beyond the bounds.
    """
    filed: dict[str, list[EvidenceItem]] = {"items": [], "decisions": []}
    found = _Bounded()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                folder, _, name = entry.filename.split("/", 2)
                found.count(entry.file_size)
                filed[folder].append(EvidenceItem(name, archive.read(entry)))
    except (zipfile.BadZipFile, ValueError, KeyError, OSError, RuntimeError, EOFError) as error:
        raise VerificationError("the kept evidence is damaged") from error
    return Evidence(tuple(filed["items"]), tuple(filed["decisions"]))


def _filed(evidence: Evidence) -> Iterator[tuple[str, EvidenceItem]]:
    yield from (("items", item) for item in evidence.items)
    yield from (("decisions", item) for item in evidence.decisions)


def _plain(base: Path, below: Path) -> Path:
    """The folder ``below`` the base, reached through no symlink."""
    folder = base
    for part in ("", *below.parts):
        folder = folder / part
        if folder.is_symlink():
            raise VerificationError(f"a symlink among the evidence: {folder.name!r}")
    return folder


class _Bounded:
    """Reads files until a bound is met."""

    def __init__(self) -> None:
        self._files = 0
        self._bytes = 0

    def count(self, size: int) -> None:
        self._files += 1
        self._bytes += size
        if size > MAX_ITEM_BYTES or self._files > MAX_FILES or self._bytes > MAX_BYTES:
            raise VerificationError("there is more evidence beside the model than is read")

    def walk(self, folder: Path, prefix: str = "") -> Iterator[EvidenceItem]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise VerificationError(f"evidence cannot be read: {error.strerror}") from error
        for entry in entries:
            name = prefix + entry.name
            refuse_unsafe_name(name)
            status = os.lstat(entry.path)
            if stat.S_ISDIR(status.st_mode):
                yield from self.walk(Path(entry.path), name + "/")
                continue
            if not stat.S_ISREG(status.st_mode):
                raise VerificationError(f"a symlink or special file among the evidence: {name!r}")
            self.count(status.st_size)
            data = read_file(Path(entry.path), MAX_ITEM_BYTES)
            yield EvidenceItem(name, data or b"")
