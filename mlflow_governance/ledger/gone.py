"""Entries whose bytes were deleted after their retention: which they are, and who said so.

A deleted entry keeps its leaf hash, so every proof of the others stays whole. That it is gone by
right, and not by an attacker's hand, is told by a later entry, ``ledger.expired``, which names the
positions. Positions are written as ranges: ``0-119,130``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mlflow_governance.core.event import Act
from mlflow_governance.errors import LedgerError

MOST_RANGES = 2000
"""Ranges in one entry: 2,000 of nine-digit positions have 40 kB, and an entry has less than 64."""

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


def batches(positions: Iterable[int]) -> Iterator[list[range]]:
    """The ranges of ascending positions, as many at once as one entry may name."""
    ranges = ranges_of(positions)
    for start in range(0, len(ranges), MOST_RANGES):
        yield ranges[start : start + MOST_RANGES]


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
        LedgerError: what it says cannot be read, or is about itself or later ones.
    """
    if entry["act"] != Act.LEDGER_EXPIRED or not entry["allowed"]:
        return []
    said = entry["facts"].get("entries")
    if not isinstance(said, str):
        raise LedgerError(f"entry {index} does not say which entries were deleted", index=index)
    ranges = read(said)
    if ranges[-1].stop > index:
        raise LedgerError(f"entry {index} says that later ones were deleted", index=index)
    return ranges


def unexplained(gone: Iterable[range], said: Iterable[range]) -> int | None:
    """The first position that is gone and of which nothing says so; None when there is none.

    Args:
        gone: ascending ranges of entries without bytes.
        said: ranges that were told to be deleted, in any order.
    """
    merged: list[range] = []
    for part in sorted(said, key=lambda part: part.start):
        if merged and part.start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(merged[-1].stop, part.stop))
        else:
            merged.append(part)
    known = iter(merged)
    now = next(known, range(0))
    for part in gone:
        while now and now.stop <= part.start:
            now = next(known, range(0))
        if not now or part.start < now.start:
            return part.start
        if part.stop > now.stop:
            return now.stop
    return None
