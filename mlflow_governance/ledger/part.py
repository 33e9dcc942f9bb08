"""A part of a ledger, looked at without the others: rows as a database keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mlflow_governance.ledger import nodes as nodes_
from mlflow_governance.ledger.entry import MAX_BYTES, carries_columns, carries_index, named_index
from mlflow_governance.ledger.gone import EXPIRED, ranges_of
from mlflow_governance.ledger.merkle import HASH_BYTES, leaf_hash, perfect_root
from mlflow_governance.ledger.nodes import WIDTH

PART_HEIGHT = 13
PART = 1 << PART_HEIGHT
"""Entries a part: 32 of the smallest subtrees that are kept."""


Row = Sequence[Any]
"""An entry as a database keeps it: position, bytes, leaf hash, act, uid of the version, moment.

Somebody may have written anything into any column. There are no bytes (None) where there are more
than any entry has, and empty ones where an entry was deleted after its retention.
"""


class Task(NamedTuple):
    """A part to check: its entries, and the sizes in it that were signed."""

    leaves: range
    marks: tuple[int, ...] = ()


class Problem(NamedTuple):
    """What is wrong, and at which entry."""

    message: str
    place: int


class Odd(NamedTuple):
    """A node that is not what its leaves lead to."""

    level: int
    position: int
    missing: bool

    def __str__(self) -> str:
        leaves = nodes_.covered(self.level, self.position)
        return (
            f"the subtree kept of entries {leaves.start} to {leaves.stop - 1} (level {self.level}, "
            f"position {self.position})"
        )


@dataclass(frozen=True, slots=True)
class Part:
    """What was found in a part: subtrees of as many entries as hold, and what ended them.

    ``marks`` has the subtrees at each size in it that was signed, ``gone`` the entries without
    bytes: whether they were deleted by right is not for a part to say.
    """

    start: int
    size: int
    nodes: tuple[bytes, ...]
    marks: Mapping[int, tuple[bytes, ...]]
    problem: Problem | None
    odd: Odd | None
    gone: tuple[range, ...] = ()


def check_part(task: Task, rows: Iterable[Row], kept: Mapping[Any, Any]) -> Part:
    """Check the rows of a part.

    Args:
        task: which part.
        rows: of the entries at these positions, ascending; read once, never held together.
        kept: nodes of level 1 by position.
    """
    start, stop = task.leaves.start, task.leaves.stop
    wanted = frozenset(task.marks)
    roots: list[bytes] = []
    leaves: list[bytes] = []
    gone: list[int] = []
    marks: dict[int, tuple[bytes, ...]] = {}
    expected, problem = start, None
    for row in rows:
        problem = _wrong(row, expected, gone)
        if problem is not None:
            break
        leaves.append(row[2])
        expected += 1
        if len(leaves) == WIDTH:
            roots.append(perfect_root(leaves))
            leaves = []
        if expected in wanted:
            marks[expected] = _subtrees(roots, leaves)
    if problem is None and expected < stop:
        problem = Problem(f"entry {expected} is missing: it was deleted", expected)
    odd = find_odd(1, start // WIDTH, roots, kept)
    nodes, blank = _subtrees(roots, leaves), tuple(ranges_of(gone))
    return Part(start, expected - start, nodes, marks, problem, odd, blank)


def find_odd(level: int, first: int, roots: Sequence[bytes], kept: Mapping[Any, Any]) -> Odd | None:
    """The first of neighbouring nodes that is not kept as what it must be."""
    for position, root in enumerate(roots, first):
        if kept.get(position) != root:
            return Odd(level, position, kept.get(position) is None)
    return None


def _wrong(row: Row, expected: int, gone: list[int]) -> Problem | None:
    index, data, leaf, act, uid, at = row
    if index != expected or type(index) is not int:
        return _misplaced(index, expected)
    if data is None:
        return Problem(f"entry {index} was edited: it has more than {MAX_BYTES} bytes", index)
    if type(data) is not bytes or type(leaf) is not bytes:
        return Problem(f"entry {index} was edited: it holds no bytes", index)
    if not carries_index(data, index):
        if not data:
            gone.append(index)
            return _deleted(index, leaf, act, uid)
        return _renamed(index, named_index(data))
    if leaf_hash(data) != leaf:
        return Problem(f"entry {index} was edited: its bytes do not have its leaf hash", index)
    if not carries_columns(data, act, at, uid):
        return Problem(
            f"entry {index} was edited: its columns do not say what its bytes say", index
        )
    return None


def _deleted(index: int, leaf: bytes, act: Any, uid: Any) -> Problem | None:
    if len(leaf) != HASH_BYTES or act != EXPIRED or uid != "":
        return Problem(f"entry {index} is missing: its bytes were deleted", index)
    return None


def _misplaced(index: Any, expected: int) -> Problem:
    if type(index) is int and index > expected:
        last = index - 1
        lost = f"entries {expected} to {last} are" if last > expected else f"entry {expected} is"
        return Problem(f"{lost} missing: deleted, or moved elsewhere", expected)
    return Problem(
        f"an entry numbered {index!r:.40} was inserted or moved before entry {expected}", expected
    )


def _renamed(index: int, named: int | None) -> Problem:
    if named is None:
        return Problem(f"entry {index} was edited: its bytes name no index", index)
    before = "inserted" if named < index else "deleted"
    return Problem(
        f"entry {index} was moved or edited, or one before it was {before}: its bytes name index "
        f"{named}",
        index,
    )


def _subtrees(roots: Sequence[bytes], leaves: Sequence[bytes]) -> tuple[bytes, ...]:
    # Subtrees of 256 leaves, and single leaves behind them: one compact range after the other.
    return (*_compact(roots), *_compact(leaves))


def _compact(hashes: Sequence[bytes]) -> Iterator[bytes]:
    start = 0
    for bit in range(len(hashes).bit_length() - 1, -1, -1):
        if len(hashes) >> bit & 1:
            yield perfect_root(hashes[start : start + (1 << bit)])
            start += 1 << bit
