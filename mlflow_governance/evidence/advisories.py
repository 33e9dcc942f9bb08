"""Known vulnerabilities, offline: an OSV dump (schema 1.x) read once a process.

A dump is a directory of ``*.json`` advisories and ``*.zip`` archives of them, or one such
archive, for example the ``all.zip`` osv.dev publishes for PyPI. Only the ecosystem PyPI is
read. What cannot be compared counts as affected: a missing or malformed version is no proof of
safety.
"""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence import severity
from mlflow_governance.evidence.severity import Severity

MAX_ADVISORY_BYTES = 8 * 1024 * 1024
MAX_ADVISORIES = 500_000

_ECOSYSTEM = "PyPI"
_RANGE_TYPES = frozenset({"ECOSYSTEM", "SEMVER"})

_Stamp = tuple[tuple[str, int, int], ...]
_lock = threading.Lock()
_loaded: dict[Path, tuple[_Stamp, AdvisoryIndex]] = {}


@dataclass(frozen=True, slots=True)
class Advisory:
    """One advisory about one package."""

    id: str
    aliases: tuple[str, ...]
    package: Mapping[str, Any]
    """The entry of ``affected`` that names the package."""
    ratings: tuple[Mapping[str, Any], ...]
    stated: object
    """``database_specific.severity``, a word, where there are no CVSS vectors."""

    @property
    def severity(self) -> Severity:
        """The worst CVSS rating, else the word the database states."""
        worst = severity.UNKNOWN
        for rating in self.ratings:
            worst = worst.worst(severity.of_vector(rating.get("score")))
        return worst if worst.score is not None else severity.of_word(self.stated)

    def affects(self, version: str | None) -> bool:
        """The OSV evaluation algorithm (schema 1.7, "Evaluation") for one version.

        A version that is absent or not of PEP 440 is affected by every advisory.
        """
        from packaging.utils import canonicalize_version
        from packaging.version import InvalidVersion, Version

        try:
            parsed = Version(version or "")
        except InvalidVersion:
            return True
        listed = {canonicalize_version(v) for v in self.package.get("versions", [])}
        if canonicalize_version(parsed) in listed:
            return True
        try:
            return any(_in_range(parsed, r["events"]) for r in self.package.get("ranges", []))
        except InvalidVersion:
            return True


@dataclass(frozen=True)
class AdvisoryIndex:
    """Advisories by canonical package name. ``count`` counts documents, withdrawn ones not."""

    count: int = 0
    by_package: Mapping[str, tuple[Advisory, ...]] = field(default_factory=dict)

    def matching(self, package: str, version: str | None) -> Iterator[Advisory]:
        """Advisories that affect this version of a PyPI package (canonical name)."""
        return (a for a in self.by_package.get(package, ()) if a.affects(version))


def load(path: Path) -> AdvisoryIndex:
    """The index of a dump; read again when a file in it was added, removed or changed.

    An absent or empty dump is an index of 0 advisories.

    Raises:
        VerificationError: a file cannot be read as an advisory; the message names it.
    """
    try:
        stamp = _stamp(path)
        with _lock:
            known = _loaded.get(path)
            if known is None or known[0] != stamp:
                known = _loaded[path] = (stamp, _read(path))
            return known[1]
    except OSError as error:
        raise VerificationError(f"the advisories at {path} cannot be read: {error}") from error


def _stamp(path: Path) -> _Stamp:
    files = ((str(f), f.stat()) for f in _files(path))
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in files)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = (Path(root, name) for root, _, names in os.walk(path) for name in names)
    return sorted(f for f in found if f.suffix in (".json", ".zip") and f.is_file())


def _read(path: Path) -> AdvisoryIndex:
    index: dict[str, list[Advisory]] = {}
    count = 0
    for name, data in _documents(path):
        count += _add(index, name, data)
        if count > MAX_ADVISORIES:
            raise VerificationError(f"{path} holds more than {MAX_ADVISORIES} advisories")
    return AdvisoryIndex(count, {name: tuple(found) for name, found in index.items()})


def _documents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Each advisory with the name to blame, at most one byte beyond the limit of its size."""
    for file in _files(path):
        if file.suffix == ".json":
            with file.open("rb") as stream:
                yield str(file), stream.read(MAX_ADVISORY_BYTES + 1)
            continue
        try:
            with zipfile.ZipFile(file) as archive:
                for name in archive.namelist():
                    if name.endswith(".json"):
                        with archive.open(name) as stream:
                            yield f"{file}:{name}", stream.read(MAX_ADVISORY_BYTES + 1)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            raise VerificationError(f"the advisory archive {file} is malformed: {error}") from error


def _add(index: dict[str, list[Advisory]], name: str, data: bytes) -> bool:
    """Index one document; False for a withdrawn one or one without a PyPI package."""
    try:
        document = canonical.decode_object(data, max_bytes=MAX_ADVISORY_BYTES)
        if document.get("withdrawn"):
            return False
        found = list(_advisories(document))
    except (InvalidRequest, KeyError, TypeError, ValueError, AttributeError) as error:
        problem = error.message if isinstance(error, InvalidRequest) else repr(error)
        raise VerificationError(
            f"the advisory file {name} is malformed: {problem}",
            advice="Replace it with the one the database publishes, or remove it.",
        ) from error
    for package, advisory in found:
        index.setdefault(package, []).append(advisory)
    return bool(found)


def _advisories(document: Mapping[str, Any]) -> Iterator[tuple[str, Advisory]]:
    from packaging.utils import canonicalize_name

    identity = _text(document["id"])
    aliases = tuple(_text(alias) for alias in document.get("aliases") or [])
    common = tuple(dict(rating) for rating in document.get("severity") or [])
    stated = (document.get("database_specific") or {}).get("severity")
    for entry in document.get("affected") or []:
        package = entry.get("package") or {}
        # An ecosystem may carry a suffix after a colon (schema 1.7, affected[].package).
        if _text(package.get("ecosystem", "")).partition(":")[0] != _ECOSYSTEM:
            continue
        own = tuple(dict(rating) for rating in entry.get("severity") or [])
        kept = {"versions": _versions(entry), "ranges": _ranges(entry)}
        name = canonicalize_name(_text(package["name"]))
        yield name, Advisory(identity, aliases, kept, own or common, stated)


def _versions(entry: Mapping[str, Any]) -> list[str]:
    return [_text(version) for version in entry.get("versions") or []]


def _ranges(entry: Mapping[str, Any]) -> list[dict[str, list[tuple[str, str]]]]:
    """Version ranges as ``{"events": [(kind, version)]}``; git ranges name no versions."""
    return [
        {"events": [(kind, _text(v)) for event in found["events"] for kind, v in event.items()]}
        for found in entry.get("ranges") or []
        if found["type"] in _RANGE_TYPES
    ]


def _in_range(version: Any, events: list[tuple[str, str]]) -> bool:
    from packaging.version import Version

    limits = [text for kind, text in events if kind == "limit"]
    if limits and not any(text == "*" or version < Version(text) for text in limits):
        return False
    # "0" sorts before every version, pre-releases of 0 included.
    ordered = sorted(
        (text != "0", Version(text), kind != "introduced", kind)
        for kind, text in events
        if kind in ("introduced", "fixed", "last_affected")
    )
    affected = False
    for real, edge, _, kind in ordered:
        if kind == "introduced":
            affected = affected or not real or version >= edge
        elif kind == "fixed":
            affected = affected and version < edge
        else:
            affected = affected and version <= edge
    return affected


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.60} is not a text")
    return value
