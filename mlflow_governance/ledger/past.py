"""The state at an instant, out of a ledger whose root is made while it is read.

What had happened by an instant is a beginning of the ledger: every entry before the first one
that is of a later instant. Entries are appended in the order of commits and dated when they were
asked for, so one may be dated before its predecessor; it counts as of the later of the two, since
nothing can have been written before what precedes it. Where that matters it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mlflow_governance.core import canonical
from mlflow_governance.errors import InvalidRequest, LedgerError
from mlflow_governance.ledger.merkle import EMPTY_ROOT, Growing, leaf_hash
from mlflow_governance.ledger.replay import CHANGING, Replay

SHOWN = 20
"""Entries with an odd date that are named; all are counted."""

Entry = Mapping[str, Any]


class Backdated(NamedTuple):
    """An entry dated ``at``, although one before it is of the instant ``behind``."""

    place: int
    at: str
    behind: str


@dataclass
class Odd:
    """Dates that do not ascend: how many, and the first of them."""

    count: int = 0
    first: list[Backdated] = field(default_factory=list)

    def add(self, one: Backdated) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(one)


class Past:
    """Reads a ledger: its state at an instant, and the root of all of it to be proved by.

    Args:
        at: the instant, as entries write it.
        until: a later instant; what changed between the two is kept, too.
        concerns: whether a change is kept.

    What it leaves: ``told`` is the state at ``at``, ``root`` of its entries, ``tree`` all that were
    read; ``first`` and ``last`` the instants of the first entry and of the last that counts, empty
    without one; ``changes`` the index and document of each change after ``at``, up to ``until``;
    ``backdated`` the entries that count as of a later instant than their own, ``left_out`` those of
    them that would have counted; ``deleted`` how many were deleted after their retention.
    """

    def __init__(
        self, at: str, until: str = "", concerns: Callable[[Entry], bool] = lambda entry: True
    ) -> None:
        self.at, self.until = at, until
        self.told = Replay()
        self.first = self.last = ""
        self.changes: list[tuple[int, Entry]] = []
        self.backdated, self.left_out = Odd(), Odd()
        self._concerns = concerns
        self.root = EMPTY_ROOT
        self.tree = Growing()
        self.deleted = self._passed = 0
        self._now = ""

    @property
    def behind(self) -> bool:
        """True once an entry of a later instant was seen: none that follows can count."""
        return self._now > max(self.at, self.until)

    def take(self, index: int, data: bytes) -> None:
        """Take in the next entry, whatever it holds: that it is none, the root will show.

        Raises:
            LedgerError: it is not the next.
        """
        if index != self.tree.size:
            raise LedgerError(f"entry {self.tree.size} is missing from the ledger", index=index)
        self.tree.append(leaf_hash(data))
        try:
            self._read(index, data)
        except (InvalidRequest, KeyError, TypeError, AttributeError) as error:
            self._unreadable(index, error)
        if self.told.size == self.tree.size:
            self.root, self.deleted = self.tree.root, self._passed

    def pass_over(self, index: int, leaf: bytes) -> None:
        """Take in the next entry, which was deleted; it counts with the one that follows it.

        Raises:
            LedgerError: it is not the next.
        """
        if index != self.tree.size:
            raise LedgerError(f"entry {self.tree.size} is missing from the ledger", index=index)
        self.tree.append(leaf)
        self._passed += 1

    def _read(self, index: int, data: bytes) -> None:
        entry = canonical.decode_object(data)
        at, changing = str(entry["at"]), entry["allowed"] and entry["act"] in CHANGING
        dated = max(at, self._now)
        if dated <= self.at:
            self.told.take(index, lambda: entry)
            self.last = dated
        elif dated <= self.until and changing and self._concerns(entry):
            self.changes.append((index, entry))
        if at < dated:
            self._note(Backdated(index, at, dated))
        self.first, self._now = self.first or at, dated

    def _unreadable(self, index: int, error: Exception) -> None:
        # Nobody knows of when it is; where it stands it can only count with what precedes it.
        def fail() -> Entry:
            raise error

        if self._now <= self.at:
            self.told.take(index, fail)

    def _note(self, one: Backdated) -> None:
        self.backdated.add(one)
        if one.behind > self.at >= one.at or one.behind > self.until >= one.at:
            self.left_out.add(one)
