"""The ledger for readers: entries, head, checkpoints, proofs, and full verification."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core import canonical, digest
from mlflow_governance.core.event import Act
from mlflow_governance.errors import Conflict, NotFound
from mlflow_governance.ledger import checkpoint, entry
from mlflow_governance.ledger.consistency import ConsistencyProof
from mlflow_governance.ledger.handover import KeyHistory, require_entries
from mlflow_governance.ledger.merkle import CompactRange
from mlflow_governance.ledger.note import LedgerKey
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.ledger.recovery import Recovery, note_digest
from mlflow_governance.ledger.verify import Claims, LedgerReport, Verification
from mlflow_governance.store.deleted import Telling, teller_of
from mlflow_governance.store.ledger_proofs import Prover
from mlflow_governance.store.ledger_scan import CHECKPOINTS, Reading, Scan
from mlflow_governance.store.ledger_table import resolve_private
from mlflow_governance.store.recoveries import recoveries
from mlflow_governance.store.sessions import SessionFactory, transaction
from mlflow_governance.store.tables import (
    as_bytes,
    as_text,
    decisions,
    deliveries,
    ledger_checkpoints,
    ledger_entries,
    ledger_head,
)

_CHUNK = 2000
"""Rows a transaction: entries never change, so a long reading need not be one transaction."""

_FROM, _END = (sa.bindparam(name, type_=sa.BigInteger) for name in ("from", "end"))
# Whatever somebody wrote comes out as bytes: it is for its reader to refuse.
_ANY = sa.type_coerce(sa.cast(ledger_entries.c.entry, sa.LargeBinary), ledger_entries.c.entry.type)
_ENTRIES = (
    sa.select(ledger_entries.c.position, _ANY.label("entry"), ledger_entries.c.leaf_hash)
    .where(ledger_entries.c.position >= _FROM, ledger_entries.c.position < _END)
    .order_by(ledger_entries.c.position)
)
_OF_EVENT = sa.select(ledger_entries.c.position, ledger_entries.c.entry).where(
    ledger_entries.c.position.in_(
        sa.select(deliveries.c.position).where(deliveries.c.event_id == sa.bindparam("id"))
    )
)
_OF_DECISION = (
    sa.select(ledger_entries.c.position, ledger_entries.c.entry)
    .where(
        ledger_entries.c.version_uid.in_(
            sa.select(decisions.c.version_uid).where(decisions.c.decision_id == sa.bindparam("id"))
        )
    )
    .order_by(ledger_entries.c.position)
)


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
            return as_text(session.connection().execute(sa.select(ledger_head.c.note)).scalar_one())

    def entries(self, start: int = 0, count: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Index and stored bytes from ``start`` on, ascending, of the next ``count`` entries.

        Those that were deleted after their retention are left out.
        """
        if count is None:
            count = self.size() - start
        for index, data, _ in self.stored(start, start + count):
            if data:
                yield index, data

    def entry(self, index: int) -> bytes:
        """The stored bytes of an entry.

        Raises:
            NotFound: there is no such entry, or it was deleted after its retention.
        """
        for _, data, _ in self.stored(index, index + 1):
            if data:
                return data
            teller = teller_of(self._sessions, index)
            raise NotFound(
                f"entry {index} was deleted after its retention; entry {teller} says so",
                advice="An export of the ledger that was made before may have it.",
            )
        raise NotFound(f"the ledger has no entry {index}")

    def stored(self, start: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Index, stored bytes and leaf hash of the entries in a range, ascending.

        There are no bytes of one that was deleted after its retention.
        """
        for first in range(start, end, _CHUNK):
            values = {"from": first, "end": min(first + _CHUNK, end)}
            with transaction(self._sessions, read_only=True) as session:
                rows = session.connection().execute(_ENTRIES, values).all()
            for row in rows:
                yield row.position, as_bytes(row.entry), as_bytes(row.leaf_hash)

    def checkpoints(self) -> list[str]:
        """The signed notes kept in the database, smallest ledger first."""
        with transaction(self._sessions, read_only=True) as session:
            return list(session.connection().execute(CHECKPOINTS).scalars())

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

    def verify(
        self, key: LedgerKey, checkpoints: Iterable[str] = (), reading: Reading | None = None
    ) -> LedgerReport:
        """Verify everything stored against the signed head and every checkpoint.

        Args:
            key: the ledger key, or all it had so far; later ones are told by the notes.
            checkpoints: notes kept outside the database, besides those inside.
            reading: from where, and who is told how far it is; by default all, and nobody.

        Raises:
            LedgerError: something does not hold; it names the first entry concerned.
        """
        how = reading or Reading()
        scan = Scan(self._sessions)
        outline = scan.outline()
        notes = [*outline.checkpoints, *checkpoints]
        key = key.following([*notes, outline.note])
        claims = Claims.read(outline.note, self._standing(notes, key), key)
        telling = Telling(self._sessions, self, key)
        if how.start is not None:  # rows that are not read again may have been emptied since
            outline = replace(outline, gone=telling.before(how.start.size))
        run = Verification(claims, outline, how.start, telling.first_untold)
        if how.start is not None:
            Prover(self._sessions).refuse_other_past(how.start, claims)
        left = claims.head.size - run.tree.size
        for part in scan.parts(run.tasks(), left, how.processes):
            run.take(part)
            how.watch(run.tree, claims.head.size)
        report = run.report()
        if isinstance(key, KeyHistory):
            require_entries(key, self._rekeyed())
        return report

    def first_untold(self, gone: Sequence[range], key: LedgerKey, size: int) -> int | None:
        """The first of these entries of which the first ``size`` do not say that it was deleted."""
        return Telling(self._sessions, self, key).look(size).first_untold(gone)

    def _rekeyed(self) -> list[tuple[int, dict[str, Any]]]:
        """Index and facts of every entry that tells of another key."""
        e = ledger_entries.c
        query = sa.select(e.position, e.entry).where(e.act == Act.LEDGER_REKEYED.value)
        with transaction(self._sessions, read_only=True) as session:
            rows = session.connection().execute(query.order_by(e.position)).all()
        return [(row.position, entry.read_entry(as_bytes(row.entry))["facts"]) for row in rows]

    def recoveries(self, key: LedgerKey) -> list[Recovery]:
        """The lost checkpoints that entries acknowledge, each proved to be in the ledger.

        Raises:
            LedgerError: an entry that claims to be a recovery is not of this ledger.
        """
        return recoveries(self._sessions, self, key)

    def leaves(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The leaf hash of each entry in a range, also of those that were deleted."""
        for _, _, leaf in self.stored(start, self.size() if end is None else end):
            yield leaf

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

    def continuation(self, old: int) -> tuple[list[bytes], str]:
        """The RFC 6962 proof that the signed head continues the first entries, and that head.

        Raises:
            LedgerError: the ledger never had that size, or is not as it was signed.
        """
        return Prover(self._sessions).onwards(old)

    def subtrees(self, size: int) -> CompactRange:
        """What is kept of the first entries, as it is kept; whom to believe is the caller's.

        Raises:
            LedgerError: something that is needed is not kept.
        """
        return Prover(self._sessions).compact(size)

    def find(self, member: str, value: str) -> int:
        """The index of the first entry with this ``event_id`` or ``decision_id``.

        Raises:
            NotFound: there is none.
        """
        needle = b'"%b":%b' % (member.encode(), canonical.encode(value))
        near = _OF_DECISION if member == "decision_id" else _OF_EVENT
        with transaction(self._sessions, read_only=True) as session:
            likely = session.connection().execute(near, {"id": value}).all()
        # Where it is not there, as what nobody was told of, the whole ledger is looked through.
        rows = ((int(row.position), as_bytes(row.entry)) for row in likely)
        for index, data in itertools.chain(rows, self.entries()):
            if needle in data and entry.read_entry(data).get(member) == value:
                return index
        raise NotFound(f"no entry of the ledger has the {member} {value[:80]!r}")

    def private(self, commitments: Iterable[str]) -> dict[str, str]:
        """The text behind each commitment; of people who were erased the pseudonym.

        Raises:
            LedgerError: a stored text is not the one that was committed to.
        """
        with transaction(self._sessions, read_only=True) as session:
            return resolve_private(session.connection(), commitments)

    def _standing(self, notes: list[str], key: LedgerKey) -> list[str]:
        # Without those the ledger itself says are lost: they would contradict it for ever. One that
        # hands the ledger over is never lost: who holds the key before it could disown it.
        lost = {one.note for one in self.recoveries(key)}
        if not lost:
            return notes
        kept = key.proves if isinstance(key, KeyHistory) else lambda note: False
        return [note for note in notes if kept(note) or note_digest(note) not in lost]

    def size(self) -> int:
        """How many entries are stored, with those that were deleted after their retention."""
        with transaction(self._sessions, read_only=True) as session:
            last = session.connection().execute(sa.select(sa.func.max(ledger_entries.c.position)))
            found = last.scalar()
        return 0 if found is None else int(found) + 1
