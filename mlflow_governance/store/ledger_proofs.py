"""Proofs from what a database keeps of the tree: a few tiles, however long the ledger is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice

import sqlalchemy as sa

from mlflow_governance.errors import LedgerError, NotFound
from mlflow_governance.ledger import checkpoint, consistency, merkle
from mlflow_governance.ledger.checkpoint import Checkpoint
from mlflow_governance.ledger.consistency import ConsistencyProof
from mlflow_governance.ledger.merkle import CompactRange
from mlflow_governance.ledger.nodes import Tiles, Tree
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.ledger.verify import Claims
from mlflow_governance.store.sessions import SessionFactory, transaction
from mlflow_governance.store.tables import (
    as_bytes,
    as_text,
    ledger_entries,
    ledger_head,
    ledger_nodes,
)

_BATCH = 500
"""Proofs a transaction."""
_ADVICE = "Nothing can be proved by it. Run: mlflow-governance ledger verify"

_KEEP = "Keep the database as it is, and run: mlflow-governance ledger verify"

_FROM, _END, _LEVEL = (sa.bindparam(name, type_=sa.BigInteger) for name in ("from", "end", "level"))
_HEAD = sa.select(ledger_head.c.note)
_LEAVES = (
    sa.select(ledger_entries.c.leaf_hash)
    .where(ledger_entries.c.position >= _FROM, ledger_entries.c.position < _END)
    .order_by(ledger_entries.c.position)
)
_NODES = (
    sa.select(ledger_nodes.c.hash)
    .where(
        ledger_nodes.c.level == _LEVEL,
        ledger_nodes.c.position >= _FROM,
        ledger_nodes.c.position < _END,
    )
    .order_by(ledger_nodes.c.position)
)


class Prover:
    """Makes proofs, and checks each before it leaves. For one thread, and one question.

    Leaf hashes and nodes are signed by nobody: whatever they lead to must be the root of a note.
    Whether the note is signed is for whoever has the key.

    Args:
        sessions: where sessions come from.
    """

    def __init__(self, sessions: SessionFactory) -> None:
        self._sessions = sessions
        self._connection: sa.Connection | None = None
        self._tiles = Tiles(self._read)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction the proofs made in it are read in."""
        with transaction(self._sessions, read_only=True) as session:
            self._connection = session.connection()
            try:
                yield self._connection
            finally:
                self._connection = None

    def inclusion(self, indexes: Iterable[int], note: str | None) -> Iterator[InclusionProof]:
        """A proof of each entry, in the order given; ascending reads every tile but once.

        Raises:
            NotFound: there is no such entry.
            LedgerError: what is kept does not lead to the root of the note.
        """
        wanted = iter(indexes)
        while batch := list(islice(wanted, _BATCH)):
            with self.reading() as connection:
                note = note or self._head(connection)
                found = [self._inclusion(index, note) for index in batch]
            yield from found

    def consistency(self, old: str, new: str | None) -> ConsistencyProof:
        """The proof that one signed checkpoint continues another (default: that the head does).

        Raises:
            LedgerError: it does not, or what is kept does not show it.
        """
        with self.reading() as connection:
            later = new or self._head(connection)
            path = self._path(checkpoint.parse(old), checkpoint.parse(later))
        return ConsistencyProof(path, old, later)

    def onwards(self, old: int) -> tuple[list[bytes], str]:
        """The RFC 6962 proof from a size to the signed head, and the head.

        Raises:
            LedgerError: the ledger never had that size, or what is kept is not what was signed.
        """
        with self.reading() as connection:
            note = self._head(connection)
            if not note:
                raise LedgerError("the ledger is empty")
            head = checkpoint.parse(note)
            tree = self._tree(head.size)
            path = tree.consistency(old)
            root = tree.compact(old).root
            merkle.verify_consistency((old, root), (head.size, head.root), path)
        return path, note

    def between(self, old: int, new: int) -> list[bytes]:
        """The RFC 6962 proof between two sizes, both of them states of the ledger of the head.

        Raises:
            LedgerError: there are no two such states, or what is kept is not what was signed.
        """
        with self.reading() as connection:
            note = self._head(connection)
            head = checkpoint.parse(note) if note else None
            if head is None or new > head.size:
                raise LedgerError(f"the ledger has no {new} entries")
            tree = self._tree(new)
            path = tree.consistency(old)
            root = tree.compact(new).root
            merkle.verify_consistency((old, tree.compact(old).root), (new, root), path)
            onwards = self._tree(head.size).consistency(new)
            merkle.verify_consistency((new, root), (head.size, head.root), onwards)
        return path

    def compact(self, size: int) -> CompactRange:
        """The subtrees of the first entries as they are kept; nothing here checks them.

        Raises:
            LedgerError: something that is needed is not kept.
        """
        with self.reading():
            return self._tree(size).compact(size)

    def refuse_other_past(self, start: CompactRange, claims: Claims) -> None:
        """Refuse a beginning that is not the one that was signed, or that is kept no longer.

        Raises:
            LedgerError: what is kept of it leads elsewhere, or a checkpoint of it is not continued.
        """
        with self.reading():
            if self._tree(start.size).compact(start.size) != start:
                raise LedgerError(
                    f"what is kept of the entries before {start.size} was changed since they were "
                    "read",
                    advice="Verify the whole ledger: mlflow-governance ledger verify",
                )
            for mark in claims.marks:
                if mark.size < start.size:
                    self._path(mark, claims.head)

    def _path(self, old: Checkpoint, new: Checkpoint) -> tuple[bytes, ...]:
        if old.size > new.size:
            raise LedgerError(
                f"the ledger was truncated or rolled back: it ends at {new.size} entries, and "
                f"{old.size} were signed before",
                advice=_KEEP,
            )
        path = tuple(self._tree(new.size).consistency(old.size)) if old.size else ()
        try:
            consistency.check(old, new, path)
        except LedgerError as error:
            raise LedgerError(
                f"{error.message}: it forked, or was changed", advice=_KEEP
            ) from error
        return path

    def _inclusion(self, index: int, note: str) -> InclusionProof:
        size = checkpoint.parse(note).size if note else 0
        if not 0 <= index < size:
            raise NotFound(f"the ledger of {size} entries has no entry {index}")
        tree = self._tree(size)
        proof = InclusionProof(index, tuple(tree.inclusion(index)), note)
        try:
            proof.check(tree.leaf(index))
        except LedgerError as error:
            raise LedgerError(
                f"entry {index} cannot be proved: what is kept of the ledger is not what was "
                "signed",
                advice=_ADVICE,
                index=index,
            ) from error
        return proof

    def _tree(self, size: int) -> Tree:
        return Tree(self._tiles, size)

    def _head(self, connection: sa.Connection) -> str:
        return as_text(connection.execute(_HEAD).scalar_one())

    def _read(self, level: int, first: int, end: int) -> Sequence[bytes]:
        if self._connection is None:
            raise LedgerError("the tree is read in a transaction only")
        return _read(self._connection, level, first, end)


def tree_of(connection: sa.Connection, size: int) -> Tree:
    """The tree of the first ``size`` entries as it is kept; whoever asks it checks what it says."""
    return Tree(Tiles(partial(_read, connection)), size)


def _read(connection: sa.Connection, level: int, first: int, end: int) -> Sequence[bytes]:
    values = {"from": first, "end": end}
    if level:
        found = connection.execute(_NODES, {"level": level, **values})
    else:
        found = connection.execute(_LEAVES, values)
    return [as_bytes(value) for value in found.scalars()]
