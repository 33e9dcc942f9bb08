"""Full verification of a ledger: one pass over the stored bytes, no parsing, no other input.

What must hold, in this order:

1. the head is a checkpoint signed by the ledger key;
2. so is every older checkpoint, kept inside or outside the database;
3. no checkpoint is larger than the head (else the ledger was truncated or rolled back);
4. entries are numbered 0, 1, 2 … without gap, and each names its own number;
5. each entry has the leaf hash stored beside it, where one is given;
6. at the size of each checkpoint the tree has the root it says (else the ledger forked, or an
   entry before it was changed);
7. the entries end where the head ends, with the root the head says.

Nothing here reads a database or a file; :mod:`mlflow_governance.store.ledger` does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger import checkpoint as checkpoints_
from mlflow_governance.ledger.checkpoint import Checkpoint
from mlflow_governance.ledger.entry import carries_index
from mlflow_governance.ledger.merkle import Growing, leaf_hash
from mlflow_governance.ledger.note import LedgerKey

_ADVICE = "Keep the database as it is and compare it with a backup and the exported checkpoints."


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """A ledger that verified: ``root`` in hexadecimal, and how many checkpoints it continues."""

    origin: str
    size: int
    root: str
    checkpoints: int

    def to_document(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "origin": self.origin,
            "size": self.size,
            "root": self.root,
            "checkpoints": self.checkpoints,
        }


def verify_ledger(
    entries: Iterable[tuple[int, bytes]],
    head_note: str,
    checkpoints: Iterable[str],
    key: LedgerKey,
    leaves: Iterable[bytes | None] | None = None,
) -> LedgerReport:
    """Verify every entry against the signed head and the checkpoints kept before.

    Args:
        entries: index and stored bytes, ascending; read once, never held together.
        head_note: the signed note of the head row.
        checkpoints: notes signed earlier, in any order.
        key: the ledger key.
        leaves: the leaf hashes stored beside the entries; they let an edit be named exactly.

    Raises:
        LedgerError: something does not hold; ``details["index"]`` names the first entry that is
            edited, missing, reordered or inserted, where it can be told.
    """
    head = _head(head_note, key)
    marks = _marks(checkpoints, head, key)
    tree = Growing()
    proved = 0  # every entry before this index is covered by a checkpoint that matched
    pending = list(reversed(marks))
    beside = itertools.repeat(None) if leaves is None else leaves
    for (index, data), stored in zip(entries, beside):  # noqa: B905  (repeat never ends)
        while pending and pending[-1].size == tree.size:
            proved = _compare(tree, pending.pop(), proved)
        _check_place(index, data, tree.size, head.size)
        leaf = leaf_hash(data)
        if stored is not None and stored != leaf:
            _fail(f"entry {index} was edited: its bytes do not have its leaf hash", index)
        tree.append(leaf)
    if tree.size < head.size:
        _fail(f"entry {tree.size} is missing: the signed head counts {head.size}", tree.size)
    while pending:
        proved = _compare(tree, pending.pop(), proved)
    return LedgerReport(head.origin, head.size, head.root.hex(), len(marks) - 1)


def _head(note: str, key: LedgerKey) -> Checkpoint:
    try:
        return checkpoints_.verify(note, key)
    except LedgerError as error:
        raise LedgerError(f"the head of the ledger: {error.message}", advice=_ADVICE) from error


def _marks(notes: Iterable[str], head: Checkpoint, key: LedgerKey) -> Sequence[Checkpoint]:
    marks = []
    for note in notes:
        try:
            mark = checkpoints_.verify(note, key)
        except LedgerError as error:
            raise LedgerError(f"a checkpoint: {error.message}", advice=_ADVICE) from error
        if mark.size > head.size:
            _fail(
                f"the ledger was truncated or rolled back: it ends at {head.size} entries, and "
                f"{mark.size} were signed before",
                head.size,
            )
        marks.append(mark)
    return [*sorted(marks, key=lambda mark: mark.size), head]


def _check_place(index: int, data: bytes, expected: int, size: int) -> None:
    if index > expected:
        _fail(f"entry {expected} is missing: {index} follows {expected - 1}", expected)
    if index < expected:
        _fail(f"an entry numbered {index} was inserted or moved before entry {expected}", expected)
    if not carries_index(data, index):
        _fail(f"entry {index} was moved or edited: its bytes name another index", index)
    if index >= size:
        _fail(f"entry {index} was inserted: the signed head counts {size}", index)


def _compare(tree: Growing, mark: Checkpoint, proved: int) -> int:
    if tree.root != mark.root:
        last = mark.size - 1
        where = f"between {proved} and {last}" if last > proved else str(proved)
        _fail(
            f"the ledger is not the one signed at {mark.size} entries: an entry was edited, "
            f"replaced or moved ({where}), or the ledger forked",
            proved,
        )
    return tree.size


def _fail(message: str, index: int) -> NoReturn:
    raise LedgerError(message, advice=_ADVICE, index=index)
