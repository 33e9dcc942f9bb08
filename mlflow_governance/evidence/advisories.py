"""Known vulnerabilities, offline: what an installation knows, read by many processes.

A folder holds the index that ``mlflow-governance advisories update`` wrote and, beside it, an
operator's own OSV documents: ``*.json`` and ``*.zip`` archives of them. A path to one such archive
will do, too. Own documents are read once a process and again when they changed, so they should be
few; the index is only looked into.
"""

from __future__ import annotations

import os
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import osv
from mlflow_governance.evidence.advisory_index import FILE_NAME, IndexFile, Source
from mlflow_governance.evidence.osv import Advisory

_Stamp = tuple[tuple[str, int, int, int], ...]
_lock = threading.Lock()
_loaded: dict[Path, tuple[_Stamp, AdvisoryIndex]] = {}


@dataclass(frozen=True)
class AdvisoryIndex:
    """What is known: the index, if there is one, and own advisories by canonical package name."""

    index: IndexFile | None = None
    own: Mapping[str, tuple[Advisory, ...]] = field(default_factory=dict)
    own_source: Source = field(default_factory=Source)

    @property
    def count(self) -> int:
        """Documents that hold an advisory; withdrawn ones do not."""
        indexed = self.index.source("advisories").count if self.index else 0
        return indexed + self.own_source.count

    @property
    def newest(self) -> datetime | None:
        """When the newest document was modified."""
        indexed = self.index.source("advisories").newest if self.index else None
        return max((at for at in (indexed, self.own_source.newest) if at), default=None)

    def matching(self, package: str, version: str | None) -> Iterator[Advisory]:
        """Advisories that affect this version of a PyPI package (canonical name)."""
        indexed = self.index.about(package) if self.index else []
        return (a for a in (*indexed, *self.own.get(package, ())) if a.affects(version))

    def is_exploited(self, names: Iterable[str]) -> bool:
        """True when the KEV catalogue lists one of these names."""
        return self.index is not None and self.index.is_exploited(names)

    def likelihood(self, names: Iterable[str]) -> float | None:
        """The highest EPSS probability of these names, 0.0 to 1.0."""
        return self.index.likelihood(names) if self.index else None


def load(path: Path) -> AdvisoryIndex:
    """What is known at a path; read again when a file there was added, removed or changed.

    An absent or empty folder knows 0 advisories.

    Raises:
        VerificationError: a file cannot be read; the message names it.
    """
    try:
        stamp = _stamp(path)
        with _lock:
            known = _loaded.get(path)
            if known is None or known[0] != stamp:
                # Whoever still reads the index before this one keeps its file open.
                known = _loaded[path] = (stamp, _read(path))
            return known[1]
    except OSError as error:
        raise VerificationError(f"the advisories at {path} cannot be read: {error}") from error


def state(path: Path) -> object:
    """What changes when :func:`load` would read anew; None where nothing can be read."""
    try:
        return _stamp(path)
    except OSError:
        return None


def _stamp(path: Path) -> _Stamp:
    files = ((str(f), f.stat()) for f in _files(path))
    return tuple((name, stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in files)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found: list[Path] = []
    for root, folders, names in os.walk(path):
        # An update works in a hidden folder; what is unfinished is not read.
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, name) for name in names if name.endswith((".json", ".zip"))]
    return sorted(file for file in (*found, path / FILE_NAME) if file.is_file())


def _read(path: Path) -> AdvisoryIndex:
    own: dict[str, list[Advisory]] = {}
    count, newest, index = 0, None, None
    for file in _files(path):
        if file.name == FILE_NAME:
            index = IndexFile(file)
            continue
        for name, data in _documents(file):
            document = osv.read(name, data)
            for package, advisory in document.found:
                own.setdefault(package, []).append(advisory)
            if document.modified is not None:
                newest = max(newest or document.modified, document.modified)
            count += bool(document.found)
            if count > osv.MAX_ADVISORIES:
                raise VerificationError(f"{path} holds more than {osv.MAX_ADVISORIES} advisories")
    found = {name: tuple(advisories) for name, advisories in own.items()}
    return AdvisoryIndex(index, found, Source(count, newest))


def _documents(file: Path) -> Iterator[tuple[str, bytes]]:
    """Each document with the name to blame, at most one byte beyond the limit of its size."""
    if file.suffix == ".json":
        with file.open("rb") as stream:
            yield str(file), stream.read(osv.MAX_ADVISORY_BYTES + 1)
        return
    try:
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                if name.endswith(".json"):
                    with archive.open(name) as stream:
                        yield f"{file}:{name}", stream.read(osv.MAX_ADVISORY_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise VerificationError(f"the advisory archive {file} is malformed: {error}") from error
