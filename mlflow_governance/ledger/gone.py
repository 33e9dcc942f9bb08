"""Entries whose bytes were deleted after their retention: which they are, and who said so.

A deleted entry keeps its leaf hash, so every proof of the others stays whole. That it is gone by
right, and not by an attacker's hand, is told by a later entry, ``ledger.expired``, which names the
positions. Positions are written as ranges: ``0-119,130``.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from mlflow_governance.core import moment
from mlflow_governance.core.event import Act
from mlflow_governance.errors import InvalidRequest, LedgerError

EXPIRED = "expired"
"""What stands in the place of the act of an entry that was deleted."""
LASTING = frozenset({
    Act.LEDGER_EXPIRED, Act.LEDGER_REKEYED, Act.LEDGER_RECOVERED, Act.PERSON_ERASED,
})  # fmt: skip
"""Acts that are never deleted: the ledger is not verified without them."""
MOST_RANGES = 2000
"""Ranges in one entry: 2,000 of nine-digit positions have 40 kB, and an entry has less than 64."""

_LEAST_DAYS = 365.25
_RANGE = re.compile(r"(0|[1-9][0-9]{0,17})(?:-([1-9][0-9]{0,17}))?")


def ranges_of(positions: Iterable[int]) -> list[range]:
    """Ascending positions as the fewest ranges."""
    found: list[range] = []
    for position in positions:
        if found and position == found[-1].stop:
            found[-1] = range(found[-1].start, position + 1)
        else:
            found.append(range(position, position + 1))
    return found


def write(ranges: Sequence[range]) -> str:
    """``0-119,130``."""
    return ",".join(
        str(part.start) if len(part) == 1 else f"{part.start}-{part.stop - 1}" for part in ranges
    )


def read(text: str) -> list[range]:
    """Read what :func:`write` wrote.

    Raises:
        LedgerError: it is not that: ranges ascend and do not touch.
    """
    found: list[range] = []
    for word in text.split(","):
        match = _RANGE.fullmatch(word)
        start = int(match[1]) if match else -1
        last = int(match[2]) if match and match[2] else start
        if match is None or last < start or (match[2] and last == start):
            raise LedgerError(f"not ranges of entries: {text[:60]!r}")
        if found and start <= found[-1].stop:
            raise LedgerError(f"ranges of entries do not ascend: {text[:60]!r}")
        found.append(range(start, last + 1))
    return found


def told(index: int, entry: Mapping[str, Any]) -> list[range]:
    """The entries that an entry says were deleted; none of another act.

    Args:
        index: its own.
        entry: the document.

    Raises:
        LedgerError: what it says cannot be read, is about itself or later ones, or about entries
            that were not as old as their retention.
    """
    if entry["act"] != Act.LEDGER_EXPIRED or not entry["allowed"]:
        return []
    facts = entry["facts"]
    said, years = facts.get("entries"), facts.get("years")
    if not isinstance(said, str) or type(years) not in (int, float):
        raise LedgerError(f"entry {index} does not say which entries were deleted", index=index)
    try:
        old = moment.parse(entry["at"]) - timedelta(days=years * _LEAST_DAYS)
        timely = years >= 1 and moment.parse(facts.get("before")) <= old
    except (InvalidRequest, OverflowError, ValueError):
        timely = False
    if not timely:
        raise LedgerError(f"entry {index} lets entries go before their time", index=index)
    ranges = read(said)
    if ranges[-1].stop > index:
        raise LedgerError(f"entry {index} says that later ones were deleted", index=index)
    return ranges


class Teller(NamedTuple):
    """An entry that says which were deleted."""

    place: int
    ranges: Sequence[range]


class Deleted:
    """Everything a ledger says was deleted.

    Args:
        tellers: its entries ``ledger.expired``, each proved to be in it.
    """

    def __init__(self, tellers: Sequence[Teller] = ()) -> None:
        self._tellers = tellers
        merged: list[range] = []
        for part in sorted((p for t in tellers for p in t.ranges), key=lambda part: part.start):
            if merged and part.start <= merged[-1].stop:
                merged[-1] = range(merged[-1].start, max(merged[-1].stop, part.stop))
            else:
                merged.append(part)
        self._merged, self._starts = merged, [part.start for part in merged]

    def told_by(self, position: int) -> int | None:
        """The entry that says that this one was deleted; None when nothing does."""
        for teller in self._tellers:
            if any(position in part for part in teller.ranges):
                return teller.place
        return None

    def first_untold(self, gone: Iterable[range]) -> int | None:
        """The first position of which nothing says that it was deleted; None when there is none.

        Args:
            gone: ascending ranges of entries without bytes.
        """
        for part in gone:
            at = bisect_right(self._starts, part.start) - 1
            known = self._merged[at] if at >= 0 else range(0)
            if part.start not in known:
                return part.start
            if part.stop > known.stop:
                return known.stop
        return None
