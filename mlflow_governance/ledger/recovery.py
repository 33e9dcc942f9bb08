"""Ledgers that lost entries: what a checkpoint contradicts, and what the record says about it.

Whoever restores an older backup loses entries that were signed and told of. That cannot be undone,
but it can be said: an entry ``ledger.recovered`` names one checkpoint that no longer holds, and
where the ledger went on. Nobody writes such an entry without the ledger's key, and every auditor
reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow_governance.core import digest
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.event import Act
from mlflow_governance.errors import InvalidRequest, LedgerError
from mlflow_governance.ledger import checkpoint as checkpoints
from mlflow_governance.ledger import handover, merkle
from mlflow_governance.ledger import note as notes
from mlflow_governance.ledger.checkpoint import Checkpoint
from mlflow_governance.ledger.entry import read_entry

Prove = Callable[[int, int], Sequence[bytes]]
"""Gives the consistency proof (RFC 6962, 2.1.2) from the first size to the second."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What an entry ``ledger.recovered`` acknowledges: one checkpoint that no longer holds.

    ``note`` is :func:`note_digest` of it, ``went_on`` the size at which the ledger continued,
    ``index`` the place of the entry.
    """

    index: int
    at: str
    size: int
    root: str
    note: Digest
    went_on: int

    def to_document(self) -> dict[str, Any]:
        """The recovery as JSON."""
        return {
            "index": self.index,
            "at": self.at,
            "lost": {"size": self.size, "root": self.root, "note": self.note},
            "continues": self.went_on,
        }


def note_digest(note: str) -> Digest:
    """Names a checkpoint by its text: the same one, however many have cosigned it.

    Raises:
        LedgerError: it is not a signed note.
    """
    text, _ = notes.split(note)
    return digest.of_bytes(text.encode())


def contradiction(head: Checkpoint | None, seen: Checkpoint, prove: Prove) -> str:
    """Why a ledger with this head is none that continues a checkpoint; empty: it continues it.

    Args:
        head: of the ledger; None: nothing was ever recorded.
        seen: signed before, by the same key.
        prove: the ledger's consistency proofs.
    """
    size, root = (head.size, head.root) if head is not None else (0, merkle.EMPTY_ROOT)
    if seen.size > size:
        return f"it ends at {size} entries, and {seen.size} were signed before"
    if seen.size == 0:
        return ""
    try:
        merkle.verify_consistency((seen.size, seen.root), (size, root), prove(seen.size, size))
    except LedgerError:
        return f"it is not the one that was signed at {seen.size} entries"
    return ""


def lost_among(
    seen: Iterable[Checkpoint], head: Checkpoint | None, leaves: Iterable[bytes]
) -> list[Checkpoint]:
    """The checkpoints a ledger does not continue, in one pass over its leaf hashes.

    Args:
        seen: checkpoints in any order.
        head: of the ledger, or None.
        leaves: its leaf hashes, from the first on.

    Raises:
        LedgerError: there are fewer entries than the head counts.
    """
    size = head.size if head is not None else 0
    marks = sorted(set(seen), key=lambda mark: (mark.size, mark.root))
    lost = [mark for mark in marks if mark.size > size]
    pending = [mark for mark in marks if mark.size <= size][::-1]
    tree, iterator = merkle.Growing(), iter(leaves)
    while pending:
        while tree.size < pending[-1].size:
            leaf = next(iterator, None)
            if leaf is None:
                raise LedgerError(f"entry {tree.size} is missing", index=tree.size)
            tree.append(leaf)
        mark = pending.pop()
        if tree.root != mark.root:
            lost.append(mark)
    return lost


def facts_of(note: str, head: Checkpoint | None) -> dict[str, Any]:
    """The facts of the entry that acknowledges a lost checkpoint.

    Args:
        note: the lost checkpoint.
        head: where the ledger goes on.

    Raises:
        LedgerError: the note is not a checkpoint, or hands the ledger over to another key.
    """
    if handover.tells(note):
        raise LedgerError(
            "a checkpoint that hands the ledger over to another key is never lost",
            advice="Restore a backup that was made after the ledger got its newest key.",
        )
    lost = checkpoints.parse(note)
    size, root = (head.size, head.root) if head is not None else (0, merkle.EMPTY_ROOT)
    return {
        "lost": {"size": lost.size, "root": lost.root.hex(), "note": note_digest(note)},
        "continues": {"size": size, "root": root.hex()},
    }


def read_recovery(index: int, data: bytes) -> Recovery:
    """What an entry acknowledges. That the entry is in the ledger is for the caller to prove.

    Raises:
        LedgerError: it is no such entry.
    """
    document = read_entry(data)
    try:
        lost, went_on = document["facts"]["lost"], document["facts"]["continues"]["size"]
        said = Recovery(
            index, str(document["at"]), lost["size"], str(lost["root"]),
            digest.parse(lost["note"]), went_on,
        )  # fmt: skip
        sound = type(lost["size"]) is int and type(went_on) is int and went_on <= index
    except (KeyError, TypeError, InvalidRequest) as error:
        raise LedgerError(f"entry {index} does not say what was recovered") from error
    if not sound or document["act"] != Act.LEDGER_RECOVERED or document.get("index") != index:
        raise LedgerError(f"entry {index} is no recovery")
    return said
