"""The ledger for readers: entries, head, checkpoints, proofs, and full verification."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import sqlalchemy as sa

from mlflow_governance.core import digest
from mlflow_governance.core.event import Act
from mlflow_governance.errors import Conflict, LedgerError
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.consistency import ConsistencyProof
from mlflow_governance.ledger.entry import carries_columns, read_entry
from mlflow_governance.ledger.handover import KeyHistory, require_entries
from mlflow_governance.ledger.note import LedgerKey
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.ledger.recovery import Recovery, note_digest
from mlflow_governance.ledger.verify import LedgerReport, verify_ledger
from mlflow_governance.store.ledger_proofs import Prover
from mlflow_governance.store.ledger_table import resolve_private
from mlflow_governance.store.recoveries import recoveries
from mlflow_governance.store.sessions import SessionFactory, transaction
from mlflow_governance.store.tables import (
    as_bytes,
    ledger_checkpoints,
    ledger_entries,
    ledger_head,
    private,
)

_CHUNK = 5000
"""Rows a transaction: entries never change, so a long reading need not be one transaction."""


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

    @property
    def sessions(self) -> SessionFactory:
        """Where its sessions come from."""
        return self._sessions

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

    def stored(self, start: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Index, stored bytes and leaf hash of the entries in a range, ascending."""
        for row in self._rows(start, end):
            yield row.position, as_bytes(row.entry), as_bytes(row.leaf)

    def checkpoints(self) -> list[str]:
        """The signed notes kept in the database, smallest ledger first."""
        query = sa.select(ledger_checkpoints.c.note).order_by(
            ledger_checkpoints.c.size, ledger_checkpoints.c.digest
        )
        with transaction(self._sessions, read_only=True) as session:
            return list(session.connection().execute(query).scalars())

    def handovers(self) -> list[str]:
        """The notes kept in the database that may tell of another key."""
        query = sa.select(ledger_checkpoints.c.note).where(
            ledger_checkpoints.c.note.contains("ledger.rekeyed")
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

    def verify(self, key: LedgerKey, checkpoints: Iterable[str] = ()) -> LedgerReport:
        """Verify everything stored against the signed head and every checkpoint.

        Args:
            key: the ledger key, or all it had so far; later ones are told by the notes.
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
        told = [*self.checkpoints(), *checkpoints]
        key = key.following([*told, row.note])
        notes = self._standing(told, key)
        # From the smallest index there is, so that one inserted before 0 is seen too.
        rows = [] if row.last is None else self._rows(row.first, row.last + 1)
        stored = _Checked(rows)
        report = verify_ledger(stored, row.note, notes, key, leaves=stored.leaves())
        if isinstance(key, KeyHistory):
            require_entries(key, self._rekeyed())
        return report

    def _rekeyed(self) -> list[tuple[int, dict[str, Any]]]:
        """Index and facts of every entry that tells of another key."""
        e = ledger_entries.c
        query = sa.select(e.position, e.entry).where(e.act == Act.LEDGER_REKEYED.value)
        with transaction(self._sessions, read_only=True) as session:
            rows = session.connection().execute(query.order_by(e.position)).all()
        return [(row.position, read_entry(as_bytes(row.entry))["facts"]) for row in rows]

    def recoveries(self, key: LedgerKey) -> list[Recovery]:
        """The lost checkpoints that entries acknowledge, each proved to be in the ledger.

        Raises:
            LedgerError: an entry that claims to be a recovery is not of this ledger.
        """
        return recoveries(self._sessions, self, key)

    def leaves(self) -> Iterator[bytes]:
        """The leaf hash of every entry, from the first on."""
        for row in self._rows(0, self._last() + 1):
            yield bytes(row.leaf)

    def inclusion_proof(self, index: int, note: str | None = None) -> InclusionProof:
        """The proof that an entry is in the ledger.

        Args:
            index: of the entry.
            note: a checkpoint of this ledger; by default that of now.

        Raises:
            NotFound: there is no such entry.
            LedgerError: what is kept of the ledger does not lead to the root of the note.
        """
        return next(self.inclusion_proofs([index], note))

    def inclusion_proofs(
        self, indexes: Iterable[int], note: str | None = None
    ) -> Iterator[InclusionProof]:
        """As :meth:`inclusion_proof`, of many entries, all against one note; best ascending."""
        return Prover(self._sessions).inclusion(indexes, note)

    def prove_consistency(self, old: str, new: str | None = None) -> ConsistencyProof:
        """The proof that the ledger of one note (default: of now) continues that of another.

        Raises:
            LedgerError: it does not, or what is kept of the ledger does not show it.
        """
        return Prover(self._sessions).consistency(old, new)

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """The RFC 6962 proof that the ledger of ``new`` entries continues that of ``old``.

        Raises:
            LedgerError: there are no two such states, or the ledger is not as it was signed.
        """
        return Prover(self._sessions).between(old, new)

    def private(self, commitments: Iterable[str]) -> dict[str, str]:
        """The text behind each commitment; an erased one is not among them.

        Raises:
            LedgerError: a stored text is not the one that was committed to.
        """
        with transaction(self._sessions, read_only=True) as session:
            return resolve_private(session.connection(), commitments)

    def erase(self, person: str) -> int:
        """Erase a person's name and reasons from behind the ledger; returns how many texts.

        Every proof stays whole. Other tables (approvals, dossiers, submitters) are not touched.
        """
        with transaction(self._sessions, read_only=False) as session:
            gone = sa.delete(private).where(private.c.person == person)
            return session.connection().execute(gone).rowcount

    def _standing(self, notes: list[str], key: LedgerKey) -> list[str]:
        # Without those the ledger itself says are lost: they would contradict it for ever.
        lost = {one.note for one in self.recoveries(key)}
        return [note for note in notes if not lost or note_digest(note) not in lost]

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
