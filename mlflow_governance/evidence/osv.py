"""One OSV document (schema 1.7): which versions of which PyPI packages it calls vulnerable.

Only the ecosystem PyPI is read. What cannot be compared counts as affected: a missing or
malformed version is no proof of safety.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlflow_governance.core import canonical, moment
from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence import severity
from mlflow_governance.evidence.severity import Severity

MAX_ADVISORY_BYTES = 8 * 1024 * 1024
MAX_ADVISORIES = 500_000

_ECOSYSTEM = "PyPI"
_RANGE_TYPES = frozenset({"ECOSYSTEM", "SEMVER"})
_MAX_NAME = 256


@dataclass(frozen=True, slots=True)
class Advisory:
    """One advisory about one package."""

    id: str
    aliases: tuple[str, ...]
    package: Mapping[str, Any]
    """``versions`` and ``ranges`` of the entry of ``affected`` that names the package."""
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

    def to_document(self) -> list[Any]:
        """The advisory as the index keeps it."""
        return [self.id, self.aliases, self.package, self.ratings, self.stated]

    @classmethod
    def from_document(cls, document: list[Any]) -> Advisory:
        """Read back what :meth:`to_document` wrote."""
        identity, aliases, package, ratings, stated = document
        return cls(identity, tuple(aliases), package, tuple(ratings), stated)


@dataclass(frozen=True, slots=True)
class Document:
    """What one file of a database says; ``found`` pairs canonical package names with advisories.

    A withdrawn document has no advisory. ``modified`` is None where the file does not say it.
    """

    id: str
    modified: datetime | None
    withdrawn: bool
    found: tuple[tuple[str, Advisory], ...]


def read(name: str, data: bytes) -> Document:
    """One document.

    Args:
        name: the file, to name it in a refusal.
        data: its bytes.

    Raises:
        VerificationError: it is no OSV document, or beyond the bounds.
    """
    try:
        document = canonical.decode_object(data, max_bytes=MAX_ADVISORY_BYTES)
        return _document(document)
    except (InvalidRequest, KeyError, TypeError, ValueError, AttributeError) as error:
        problem = error.message if isinstance(error, InvalidRequest) else repr(error)
        raise VerificationError(
            f"the advisory file {name[:_MAX_NAME]} is malformed: {problem[:400]}",
            advice="Replace it with the one the database publishes, or remove it.",
        ) from error


def _document(document: Mapping[str, Any]) -> Document:
    identity = _text(document["id"])
    at = document.get("modified")
    modified = None if at is None else moment.parse(_text(at))
    if document.get("withdrawn"):
        return Document(identity, modified, True, ())
    return Document(identity, modified, False, tuple(_advisories(identity, document)))


def _advisories(identity: str, document: Mapping[str, Any]) -> Iterator[tuple[str, Advisory]]:
    from packaging.utils import canonicalize_name

    aliases = tuple(_text(alias) for alias in document.get("aliases") or [])
    common = _ratings(document)
    stated = (document.get("database_specific") or {}).get("severity")
    word = stated if isinstance(stated, str) else None
    for entry in document.get("affected") or []:
        package = entry.get("package") or {}
        # An ecosystem may carry a suffix after a colon (schema 1.7, affected[].package).
        if _text(package.get("ecosystem", "")).partition(":")[0] != _ECOSYSTEM:
            continue
        kept = {"versions": _versions(entry), "ranges": _ranges(entry)}
        name = canonicalize_name(_text(package["name"]))
        yield name, Advisory(identity, aliases, kept, _ratings(entry) or common, word)


def _ratings(entry: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    return tuple({"score": dict(rating).get("score")} for rating in entry.get("severity") or [])


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
