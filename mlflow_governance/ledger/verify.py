"""Full verification of a ledger: one pass over stored rows, in parts that need not wait for others.

What must hold:

1. the head is a checkpoint signed by the ledger key, and so is every older checkpoint, kept inside
   or outside the database;
2. no checkpoint is larger than the head (else the ledger was rolled back);
3. entries are numbered 0, 1, 2 … without gap, and each names its own number;
4. each entry has the leaf hash stored beside it, and its columns say what its bytes say; one
   without bytes is named by an entry ``ledger.expired`` behind it;
5. at the size of each checkpoint the tree has the root it says (else the ledger forked, or an
   entry before it was changed);
6. the entries end where the head ends, with the root the head says;
7. the subtrees kept for proofs are those of the entries, no fewer and no more.

The ledger is cut into parts of :data:`~mlflow_governance.ledger.part.PART` entries.
:func:`~mlflow_governance.ledger.part.check_part` looks at one, wherever that is done;
:class:`Verification` puts the parts together in their order, so that what is named is
always the first thing that is wrong. Nothing here reads a database or a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger import checkpoint as checkpoints_
from mlflow_governance.ledger import nodes as nodes_
from mlflow_governance.ledger.checkpoint import Checkpoint
from mlflow_governance.ledger.gone import Deleted
from mlflow_governance.ledger.handover import KeyHistory
from mlflow_governance.ledger.merkle import CompactRange, fold, node_hash
from mlflow_governance.ledger.nodes import HEIGHT
from mlflow_governance.ledger.note import LedgerKey
from mlflow_governance.ledger.part import PART, PART_HEIGHT, Odd, Part, Task, find_odd

_ADVICE = "Keep the database as it is and compare it with a backup and the exported checkpoints."


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """A ledger that verified.

    ``root`` is in hexadecimal, ``checkpoints`` is how many it continues. Entries before
    ``read_from`` were not read this time: somebody trusts what they led to. ``deleted`` entries
    were deleted after their retention.
    """

    origin: str
    size: int
    root: str
    checkpoints: int
    read_from: int = 0
    deleted: int = 0

    def to_document(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "origin": self.origin,
            "size": self.size,
            "root": self.root,
            "checkpoints": self.checkpoints,
            "read_from": self.read_from,
            "deleted": self.deleted,
        }


@dataclass(frozen=True, slots=True)
class Claims:
    """What was signed: the head, and every checkpoint with it, the smallest first."""

    head: Checkpoint
    marks: tuple[Checkpoint, ...]

    @classmethod
    def read(cls, head_note: str, notes: Iterable[str], key: LedgerKey) -> Claims:
        """Verify the notes.

        Raises:
            LedgerError: one is not a checkpoint of this key, or is larger than the head.
        """
        head = _signed(head_note, key, "the head of the ledger")
        if isinstance(key, KeyHistory):  # a retired key says nothing any more
            try:
                key.open_head(head_note)
            except LedgerError as error:
                raise LedgerError(
                    f"the head of the ledger: {error.message}", advice=_ADVICE
                ) from error
        marks = [_signed(note, key, "a checkpoint") for note in notes]
        largest = max((mark.size for mark in marks), default=0)
        if largest > head.size:
            _fail(
                f"the ledger was truncated or rolled back: it ends at {head.size} entries, and "
                f"{largest} were signed before",
                head.size,
            )
        return cls(head, (*sorted(marks, key=lambda mark: mark.size), head))


@dataclass(frozen=True, slots=True)
class Outline:
    """What a database says of its ledger as a whole, all at one moment.

    Args:
        note: the signed head.
        size: in the head row.
        compact_range: in the head row.
        first: smallest position of an entry, None if there is none.
        last: the largest.
        checkpoints: signed notes kept inside.
        upper: nodes of level 2 and more, by level and position.
        levels: of each level among the nodes: how many, smallest and largest position.
        gone: entries that are not read, and whose columns say that they were deleted.
    """

    note: str
    size: Any
    compact_range: Any
    first: Any
    last: Any
    checkpoints: tuple[str, ...] = ()
    upper: Mapping[tuple[Any, Any], Any] = field(default_factory=dict)
    levels: Mapping[Any, tuple[int, Any, Any]] = field(default_factory=dict)
    gone: Sequence[range] = ()


_NOTHING = Deleted()
Untold = Callable[[Sequence[range]], "int | None"]
"""The first of these entries of which no entry of the ledger says that it was deleted."""


class Verification:
    """Puts parts together and holds them against what was signed.

    Args:
        claims: what was signed.
        outline: what the database says of itself.
        start: what is trusted to come before the first part; a whole number of parts.
        untold: asked about entries without bytes; by default nothing says that any was deleted.

    Raises:
        LedgerError: something is wrong that needs no reading.
    """

    def __init__(
        self,
        claims: Claims,
        outline: Outline,
        start: CompactRange | None = None,
        untold: Untold = _NOTHING.first_untold,
    ) -> None:
        self.tree = start or CompactRange()
        self._untold, self._deleted = untold, 0
        self._claims, self._outline = claims, outline
        self._from = self.tree.size
        self._proved = 0  # every entry before this index is covered by a checkpoint that matched
        self._odd: Odd | None = None
        self._pending = [mark for mark in reversed(claims.marks) if mark.size >= self._from]
        head = claims.head
        if self._from % PART or self._from > head.size:
            _fail(f"the ledger of {head.size} entries is not read from {self._from} on", head.size)
        for end in (outline.first, outline.last):
            if end is not None and type(end) is not int:
                _fail(f"an entry numbered {end!r:.40} was inserted", head.size)
        if outline.first is not None and outline.first < 0:
            _fail(f"an entry numbered {outline.first} was inserted before entry 0", 0)
        self._end = 0 if outline.last is None else min(outline.last + 1, head.size)
        self._compare(self._from, ())
        self._refuse_missing(outline.gone)

    def tasks(self) -> Iterator[Task]:
        """The parts, in the order :meth:`take` needs them."""
        sizes = [mark.size for mark in reversed(self._pending)]
        for start in range(self._from, self._end, PART):
            leaves = range(start, min(start + PART, self._end))
            yield Task(leaves, tuple(size for size in sizes if leaves.start < size < leaves.stop))

    def take(self, part: Part) -> None:
        """Go on by a part.

        Raises:
            LedgerError: something does not hold; ``details["index"]`` names the first entry that is
                edited, missing, moved or inserted, where it can be told.
        """
        self._odd = self._odd or part.odd
        for size, nodes in part.marks.items():
            self._compare(size, nodes)
        self._compare(part.start + part.size, part.nodes)
        self._refuse_missing(part.gone)
        if part.problem is not None:
            _fail(*part.problem)
        self._extend(part)

    def report(self) -> LedgerReport:
        """The result, once every part was taken.

        Raises:
            LedgerError: entries lack or are too many at the end, or head row or nodes are wrong.
        """
        head, outline = self._claims.head, self._outline
        if self.tree.size < head.size:
            ends = f"ends with entry {self.tree.size - 1}" if self.tree.size else "has no entries"
            _fail(
                f"the ledger was truncated: it {ends}, and the signed head counts {head.size}",
                self.tree.size,
            )
        if outline.last is not None and outline.last >= head.size:
            _fail(f"entry {head.size} was inserted: the signed head counts {head.size}", head.size)
        stored = outline.compact_range
        known = isinstance(stored, bytes | memoryview) and bytes(stored)
        if outline.size != head.size or known != b"".join(self.tree.nodes):
            _fail("the head of the ledger was edited: its row is not what its note signs", None)
        self._refuse_more_nodes()
        root = self.tree.root.hex()
        marks = len(self._claims.marks) - 1
        return LedgerReport(head.origin, head.size, root, marks, self._from, self._deleted)

    def _refuse_missing(self, gone: Sequence[range]) -> None:
        place = self._untold(gone) if gone else None
        if place is not None:
            _fail(
                f"entry {place} is missing: its bytes were deleted, and no entry of the ledger "
                "says so",
                place,
            )
        self._deleted += sum(map(len, gone))

    def _compare(self, size: int, nodes: tuple[bytes, ...]) -> None:
        while self._pending and self._pending[-1].size <= size:
            mark = self._pending.pop()
            if fold((*self.tree.nodes, *nodes)) != mark.root:
                self._fail_at(mark)
            self._proved = mark.size
            odd = self._odd
            if odd is not None and nodes_.covered(odd.level, odd.position).stop <= mark.size:
                what = "is missing" if odd.missing else "was edited"
                _fail(f"{odd} {what}; the entries themselves are as signed", None)

    def _fail_at(self, mark: Checkpoint) -> NoReturn:
        last, proved = mark.size - 1, self._proved
        where = f"between {proved} and {last}" if last > proved else str(proved)
        # Nobody signs the nodes, so they are a hint and no proof.
        hint = f"; {self._odd} differs" if self._odd is not None else ""
        _fail(
            f"the ledger is not the one signed at {mark.size} entries: an entry was edited, "
            f"replaced or moved ({where}), or the ledger forked{hint}",
            proved,
        )

    def _extend(self, part: Part) -> None:
        size = self.tree.size + part.size
        if part.size < PART:
            self.tree = CompactRange(size, (*self.tree.nodes, *part.nodes))
            return
        nodes, (root,) = list(self.tree.nodes), part.nodes
        height, place = PART_HEIGHT, part.start >> PART_HEIGHT
        while place & 1:
            root, height, place = node_hash(nodes.pop(), root), height + 1, place >> 1
            level, above = divmod(height, HEIGHT)
            if not above and self._odd is None:
                kept = {place: self._outline.upper.get((level, place))}
                self._odd = find_odd(level, place, [root], kept)
        self.tree = CompactRange(size, (*nodes, root))

    def _refuse_more_nodes(self) -> None:
        for level, (count, first, last) in self._outline.levels.items():
            regular = type(level) is int and level >= 1
            most = nodes_.count(level, self._claims.head.size) if regular else 0
            if (count, first, last) != (most, 0, most - 1):
                _fail(
                    f"the subtrees kept at level {level!r:.20} are not those of the ledger: there "
                    f"are {count}, from {first!r:.20} to {last!r:.20}, and {most} belong there; "
                    "the entries themselves are as signed",
                    None,
                )


def _signed(note: str, key: LedgerKey, what: str) -> Checkpoint:
    try:
        return checkpoints_.verify(note, key)
    except LedgerError as error:
        raise LedgerError(f"{what}: {error.message}", advice=_ADVICE) from error


def _fail(message: str, index: int | None) -> NoReturn:
    place = {} if index is None else {"index": index}
    raise LedgerError(message, advice=_ADVICE, **place)
