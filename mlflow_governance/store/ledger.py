"""The ledger for readers: entries, head, checkpoints, proofs, and full verification."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import sqlalchemy as sa

from mlflow_governance.core import digest
from mlflow_governance.errors import Conflict, LedgerError, NotFound
from mlflow_governance.ledger import checkpoint, merkle
from mlflow_governance.ledger.entry import carries_columns
from mlflow_governance.ledger.note import NoteKey
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.ledger.verify import LedgerReport, verify_ledger
from mlflow_governance.store.ledger_table import resolve_private
from mlflow_governance.store.sessions import SessionFactory, transaction
from mlflow_governance.store.tables import ledger_checkpoints, ledger_entries, ledger_head

_CHUNK = 5000
"""Rows a transaction: entries never change, so a long reading need not be one transaction."""


def as_bytes(value: object) -> bytes:
    """The bytes of a binary column; SQLite gives back whatever type somebody wrote."""
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()


class _Row(NamedTuple):
    position: int
    entry: bytes
    leaf: bytes
    act: str
    uid: str
    at: str


class SqlLedger:
    """Reads the ledger of a database. Safe to share between threads.

    Args:
        sessions: where sessions come from.
    """

    def __init__(self, sessions: SessionFactory) -> None:
        self._sessions = sessions

    def head(self) -> str:
        """The signed note of the head; empty when nothing was ever recorded."""
        with transaction(self._sessions, read_only=True) as session:
            return str(session.connection().execute(sa.select(ledger_head.c.note)).scalar_one())

    def entries(self, start: int = 0, count: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Index and stored bytes from ``start`` on, ascending, at most ``count``."""
        if count is None:
            count = self._last() + 1 - start
        for row in self._rows(start, start + count):
            # An entry somebody wrote as another type is for its reader to refuse.
            yield row.position, as_bytes(row.entry)

    def checkpoints(self) -> list[str]:
        """The signed notes kept in the database, smallest ledger first."""
        query = sa.select(ledger_checkpoints.c.note).order_by(
            ledger_checkpoints.c.size, ledger_checkpoints.c.digest
        )
        with transaction(self._sessions, read_only=True) as session:
            return list(session.connection().execute(query).scalars())

    def add_checkpoint(self, note: str) -> None:
        """Keep a signed note; keeping it twice is keeping it once.

        Raises:
            LedgerError: it is not a checkpoint.
        """
        size = checkpoint.parse(note).size
        key = digest.of_bytes(note.encode())
        table = ledger_checkpoints
        present = sa.select(table.c.size).where(table.c.digest == key)
        row = {"digest": key, "size": size, "note": note}
        # A Conflict means that somebody else kept the very same note at this moment.
        with suppress(Conflict), transaction(self._sessions, read_only=False) as session:
            if session.connection().execute(present).first() is None:
                session.connection().execute(sa.insert(table), row)

    def verify(self, key: NoteKey, checkpoints: Iterable[str] = ()) -> LedgerReport:
        """Verify everything stored against the signed head and every checkpoint.

        Args:
            key: the ledger key.
            checkpoints: notes kept outside the database, besides those inside.

        Raises:
            LedgerError: something does not hold; it names the first entry concerned.
        """
        limits = sa.select(
            ledger_head.c.note,
            sa.select(sa.func.min(ledger_entries.c.position)).scalar_subquery().label("first"),
            sa.select(sa.func.max(ledger_entries.c.position)).scalar_subquery().label("last"),
        )
        with transaction(self._sessions, read_only=True) as session:
            row = session.connection().execute(limits).one_or_none()
        if row is None:
            raise LedgerError("the ledger has no head row")
        notes = [*self.checkpoints(), *checkpoints]
        # From the smallest index there is, so that one inserted before 0 is seen too.
        rows = [] if row.last is None else self._rows(row.first, row.last + 1)
        stored = _Checked(rows)
        return verify_ledger(stored, row.note, notes, key, leaves=stored.leaves())

    def inclusion_proof(self, index: int) -> InclusionProof:
        """The proof that an entry is in the ledger as signed now. Reads every leaf hash once.

        Raises:
            NotFound: there is no such entry.
            LedgerError: the head is not a checkpoint.
        """
        note = self.head()
        size = checkpoint.parse(note).size if note else 0
        if not 0 <= index < size:
            raise NotFound(f"the ledger of {size} entries has no entry {index}")
        path = self._roots(merkle.inclusion_ranges(index, size))
        return InclusionProof(index, tuple(path), note)

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """The RFC 6962 proof that the ledger of ``new`` entries continues that of ``old``.

        Raises:
            LedgerError: there are no two such states.
        """
        if new > self._last() + 1:
            raise LedgerError(f"the ledger has no {new} entries")
        return self._roots(merkle.consistency_ranges(old, new))

    def private(self, commitments: Iterable[str]) -> dict[str, str]:
        """The text behind each commitment; of people who were erased the pseudonym.

        Raises:
            LedgerError: a stored text is not the one that was committed to.
        """
        with transaction(self._sessions, read_only=True) as session:
            return resolve_private(session.connection(), commitments)

    def _last(self) -> int:
        with transaction(self._sessions, read_only=True) as session:
            last = session.connection().execute(sa.select(sa.func.max(ledger_entries.c.position)))
            found = last.scalar()
        return -1 if found is None else int(found)

    def _rows(self, start: int, end: int) -> Iterator[_Row]:
        e = ledger_entries.c
        query = sa.select(
            e.position, e.entry, e.leaf_hash, e.act, e.version_uid, sa.type_coerce(e.at, sa.String)
        )
        query = query.where(e.position < end).order_by(e.position).limit(_CHUNK)
        while True:
            with transaction(self._sessions, read_only=True) as session:
                rows = session.connection().execute(query.where(e.position >= start)).all()
            yield from map(_Row._make, rows)
            if len(rows) < _CHUNK:
                return
            start = rows[-1].position + 1

    def _roots(self, ranges: Sequence[range]) -> list[bytes]:
        return [
            merkle.range_root(bytes(row.leaf) for row in self._rows(part.start, part.stop))
            for part in ranges
        ]


class _Checked:
    """Rows as :func:`verify_ledger` reads them: entries, and beside them their leaf hashes.

    Also checks the columns an entry is found by: one that is searched under another version
    would be hidden without a byte of the ledger being changed.
    """

    def __init__(self, rows: Iterable[_Row]) -> None:
        self._rows = rows
        self._leaf: bytes | None = None

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        for index, entry, leaf, act, uid, at in self._rows:
            if not isinstance(entry, bytes | memoryview) or not isinstance(
                leaf, bytes | memoryview
            ):
                raise LedgerError(f"entry {index} was edited: it holds no bytes", index=index)
            data = bytes(entry)
            self._leaf = bytes(leaf)
            yield index, data
            # Resumed once the bytes themselves have passed.
            if not carries_columns(data, act, at, uid):
                raise LedgerError(
                    f"entry {index} was edited: its columns do not say what its bytes say",
                    index=index,
                )

    def leaves(self) -> Iterator[bytes | None]:
        """The leaf hash of the row that was read last."""
        while True:
            yield self._leaf
