"""Versions a VEX document lists: one by one, or as a ``vers:pypi/`` range (VERS specification).

Whether a version is in a list has three answers. A range of another scheme, or a version that is
not of PEP 440, cannot be told: then nothing is cleared, and an accusation stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from packaging.version import Version

_PREFIX = "vers:pypi/"
_CONSTRAINT = re.compile(r"(!=|<=|>=|<|>|=)?(.+)")
_MAX_CONSTRAINTS = 256


@dataclass(frozen=True)
class Range:
    """Constraints in ascending order, as ``(comparator, version)``; none is every version."""

    constraints: tuple[tuple[str, Version], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Range | None:
        """The range a text writes; None where it is malformed or of another scheme."""
        from packaging.version import InvalidVersion, Version

        if not text.startswith(_PREFIX):
            return None
        rest = text.removeprefix(_PREFIX).strip()
        if rest == "*":
            return cls()
        parts = [_CONSTRAINT.fullmatch(part.strip()) for part in rest.split("|")]
        try:
            found = [(m[1] or "=", Version(unquote(m[2].strip()))) for m in parts if m]
        except InvalidVersion:
            return None
        if len(found) != len(parts) or len({v for _, v in found}) != len(found):
            return None  # VERS, "Normalized, canonical representation": versions are unique
        if len(found) > _MAX_CONSTRAINTS:
            return None
        return cls(tuple(sorted(found, key=lambda constraint: constraint[1])))

    def has(self, version: Version) -> bool:
        """VERS, "Checking if a version is contained within a range"."""
        if not self.constraints:
            return True
        for sign, edge in self.constraints:
            if version == edge:
                return sign in ("=", "<=", ">=")
        between = [(s, edge) for s, edge in self.constraints if s not in ("=", "!=")]
        if not between:
            return all(sign == "!=" for sign, _ in self.constraints)
        first, last = between[0], between[-1]
        if first[0][0] == "<" and version < first[1]:
            return True
        if last[0][0] == ">" and version > last[1]:
            return True
        return any(
            low[0][0] == ">" and high[0][0] == "<" and low[1] < version < high[1]
            for low, high in pairwise(between)
        )


@dataclass(frozen=True)
class Listed:
    """One entry of ``affects[].versions``; ``range`` is None where it cannot be read."""

    range: Range | None
    unaffected: bool

    def has(self, version: Version | None) -> bool | None:
        """True, False, or None where it cannot be told."""
        if self.range is None or version is None:
            return None
        return self.range.has(version)


@dataclass(frozen=True)
class Versions:
    """The versions a statement speaks of; an empty list is all of them."""

    listed: tuple[Listed, ...] = ()

    @classmethod
    def read(cls, entries: Iterable[Mapping[str, Any]]) -> Versions:
        """What ``affects[].versions`` of CycloneDX says; the default of a status is affected."""
        return cls(tuple(Listed(_range(e), e.get("status") == "unaffected") for e in entries))

    @property
    def readable(self) -> bool:
        """True when every range in the list can be read."""
        return all(entry.range is not None for entry in self.listed)

    def cleared(self, version: str | None) -> bool:
        """True when a version is called unaffected, and surely nowhere anything else."""
        found = [(entry.unaffected, entry.has(_parsed(version))) for entry in self.listed]
        return not found or (
            any(unaffected and has is True for unaffected, has in found)
            and all(unaffected or has is False for unaffected, has in found)
        )

    def accused(self, version: str | None) -> bool:
        """True unless the list leaves a version out, or calls it unaffected."""
        found = [(entry.unaffected, entry.has(_parsed(version))) for entry in self.listed]
        accusing = [has for unaffected, has in found if not unaffected]
        if accusing:
            return any(has is not False for has in accusing)
        return not any(has is True for _, has in found)


def _range(entry: Mapping[str, Any]) -> Range | None:
    if "range" in entry:
        return Range.parse(entry["range"])
    version = _parsed(entry.get("version"))
    return Range((("=", version),)) if version else None


def _parsed(text: str | None) -> Version | None:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(text or "")
    except InvalidVersion:
        return None
