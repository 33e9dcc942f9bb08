"""Appending to the ledger inside the transaction of the change it records.

The single head row is the turnstile of every writer: its UPDATE is the first statement of a unit
of work, so SQLite takes its write lock and PostgreSQL the row lock before anything is read, and
the order of entries is the order of commits.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_governance.core import moment
from mlflow_governance.core.event import PEOPLE, Event
from mlflow_governance.errors import ConfigurationError, InvalidRequest, LedgerError
from mlflow_governance.ledger import checkpoint, entry, handover
from mlflow_governance.ledger.merkle import CompactRange, leaf_hash
from mlflow_governance.ledger.nodes import completed
from mlflow_governance.ledger.note import NoteSigner
from mlflow_governance.ledger.replay import CHANGING
from mlflow_governance.store import appending, tables
from mlflow_governance.store.redactions import replaced
from mlflow_governance.store.versions import Rows

_ADVICE = (
    "Nothing can be changed until this is mended. Run: mlflow-governance ledger verify. If the "
    "ledger was handed over to another key, name that one as ledger_key in config.yaml."
)

# Built once: building a statement costs more than running it.
_STORED = sa.select(
    tables.ledger_head.c.size, tables.ledger_head.c.compact_range, tables.ledger_head.c.note
).where(tables.ledger_head.c.id == 1)
_TURN = (
    sa.update(tables.ledger_head)
    .where(tables.ledger_head.c.id == 1)
    .values(size=tables.ledger_head.c.size)
)
_TURN_RETURNING = _TURN.returning(*_STORED.selected_columns)
_INSERT_TASK = sa.insert(tables.tasks)


class StoredHead(NamedTuple):
    """The head row: size, nodes of the compact range, signed note."""

    size: int
    nodes: bytes
    note: str

    def row(self) -> dict[str, Any]:
        """The columns as they are stored."""
        return {"size": self.size, "compact_range": self.nodes, "note": self.note}


_NEVER_USED = StoredHead(0, b"", "")


# A client that hangs with the head row in its hand must not stop every other for ever. It is set
# where the turn is taken: a statement of its own would cost each transition a round trip.
_patience = sa.select(sa.func.set_config("lock_timeout", "20s", True)).scalar_subquery()
_PATIENT_TURN = _TURN_RETURNING.where(_patience.is_not(None))


def take_turn(session: Session) -> StoredHead:
    """Wait until no other unit of work is writing; the head as it stands then.

    Raises:
        ConfigurationError: the head row is not there.
    """
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        row = connection.execute(_PATIENT_TURN).one_or_none()
    elif connection.dialect.update_returning:
        row = connection.execute(_TURN_RETURNING).one_or_none()
    else:
        connection.execute(_TURN)
        row = connection.execute(_STORED).one_or_none()
    if row is None:
        raise ConfigurationError(
            "the ledger has no head row", advice="Restore the database from a backup."
        )
    return StoredHead(row[0], tables.as_bytes(row[1]), tables.as_text(row[2]))


class Head:
    """Keeps the key from signing a ledger it has not signed before.

    Whoever can write to the database could change entries and the head row with them; the next
    append would then sign the change. So the stored head has to verify before it is built upon.
    Shared by all units of work of a store.

    Args:
        signer: the ledger key.
        renew: asked for the key that goes on from a note that ``signer`` cannot go on from, since
            another process may have handed the ledger over; None has none.
    """

    def __init__(
        self, signer: NoteSigner, renew: Callable[[str], NoteSigner | None] | None = None
    ) -> None:
        self.signer = signer
        self._renew = renew
        self._known = _NEVER_USED
        self._committed = _NEVER_USED

    def open(self, stored: StoredHead) -> CompactRange:
        """The stored compact range.

        Raises:
            LedgerError: it is not the one our key signed last, or it is older than what this
                process has seen in the database before.
        """
        if stored.size < self._committed.size or (
            stored.size == self._committed.size and stored.nodes != self._committed.nodes
        ):
            raise LedgerError(
                f"the ledger was rolled back: it ends at {stored.size} entries, and "
                f"{self._committed.size} were there before",
                advice=_ADVICE,
            )
        tree = CompactRange.from_bytes(stored.size, stored.nodes)
        if stored in (self._known, _NEVER_USED):
            return tree
        try:
            signed = self.signed(stored.note)
        except LedgerError as error:
            raise LedgerError(
                f"the head of the ledger: {error.message}", advice=error.advice or _ADVICE
            ) from error
        if (signed.size, signed.root) != (tree.size, tree.root):
            raise LedgerError(
                "the head of the ledger is not the one that was signed", advice=_ADVICE
            )
        return tree

    def signed(self, note: str) -> checkpoint.Checkpoint:
        """What a note says that our key signed, or the key that ours handed the ledger over to.

        Raises:
            LedgerError: neither did.
        """
        try:
            return handover.succeeded(note, self.signer.key)
        except LedgerError:
            heir = self._renew(note) if self._renew is not None else None
            if heir is None:
                raise
        signed = handover.succeeded(note, heir.key)
        self.signer = heir
        return signed

    def committed(self, stored: StoredHead) -> None:
        """That head was in the database, after a commit: from now on nothing goes back behind it.

        Heads that were signed for a change that was then undone do not count.
        """
        if stored.size > self._committed.size:
            self._committed = stored

    def sign(self, grown: CompactRange) -> StoredHead:
        """The head row after an append."""
        note = checkpoint.make(grown.size, grown.root, self.signer)
        self._known = StoredHead(grown.size, grown.to_bytes(), note)
        return self._known


class TimelineReading(Rows):
    """Reads what the ledger says about a version."""

    def ledger_size(self) -> int:
        """Entries in the ledger."""
        return int(self._connection.execute(_STORED).one().size)

    def timeline(self, version_uid: str) -> list[dict[str, Any]]:
        """Ledger entries about a version, oldest first, with people and reasons resolved.

        They begin with those of deleted versions of the same name and number: deleting and
        registering again starts no new history.

        Raises:
            LedgerError: an entry or what it commits to was changed.
        """
        entries, now, gone = tables.ledger_entries, tables.versions.c, tables.former.c
        earlier = sa.select(gone.uid).where(
            now.uid == version_uid,
            now.workspace == gone.workspace,
            now.name == gone.name,
            now.version == gone.version,
        )
        query = (
            sa.select(entries.c.entry)
            .where(sa.or_(entries.c.version_uid == version_uid, entries.c.version_uid.in_(earlier)))
            .order_by(entries.c.position)
        )
        found = [
            entry.read_entry(tables.as_bytes(e)) for e in self._connection.execute(query).scalars()
        ]
        commitments = [d[key] for d in found for key in ("actor", "reason") if d[key]]
        clear = resolve_private(self._connection, commitments)
        return [entry.resolve(document, clear) for document in found]


class LedgerWriting(Rows):
    """Appends entries and queues what follows from them."""

    _head: Head
    _stored: StoredHead
    _range: CompactRange | None = None
    _written: StoredHead | None = None

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._places: dict[str, list[int]] = {}

    def record(self, event: Event) -> int:
        """Append the ledger entry, from which receivers of events are told; returns its index.

        Raises:
            LedgerError: the stored head is not the one that was signed last.
            InvalidRequest: the event holds something JSON cannot say, or more than an entry may.
        """
        before = self._range or self._head.open(self._stored)
        sealed, others = _seal(event), _seal_others(event)
        if others:
            commitments = {name: one.commitment for name, one in others.items()}
            event = replace(event, facts={**event.facts, **commitments})
        data = entry.encode_entry(entry.build_entry(event, before.size, sealed))
        leaf = leaf_hash(data)
        grown = before.append(leaf)
        self._written = self._head.sign(grown)
        private = [_private_row(one, one) for one in (sealed.actor, *others.values())]
        if sealed.reason is not None:
            private.append(_private_row(sealed.reason, sealed.actor))
        row = _entry_row(event, before.size, data, leaf)
        nodes = completed(before, leaf)
        appending.write(self._connection, row, private, self._written.row(), nodes)
        self._range = grown
        if event.act in CHANGING and (uid := event.subject.get("uid")):
            self._places.setdefault(uid, []).append(before.size)
        return before.size

    def add_task(self, kind: str, version_uid: str, *, delay_seconds: float = 0) -> None:
        """Queue work for the worker."""
        row = {
            "uid": secrets.token_hex(16),
            "kind": kind,
            "version_uid": version_uid,
            "state": "pending",
            "attempts": 0,
            "next_at": moment.now() + timedelta(seconds=delay_seconds),
            "lease": "",
            "last_error": "",
        }
        self._connection.execute(_INSERT_TASK, row)


def resolve_private(connection: sa.Connection, commitments: Iterable[str]) -> dict[str, str]:
    """The texts behind commitments; of people who were erased the pseudonym, of words nothing.

    Raises:
        LedgerError: a stored text is not the one that was committed to.
    """
    wanted = sorted(set(commitments))
    clear: dict[str, str] = {}
    for start in range(0, len(wanted), 500):
        query = sa.select(tables.private).where(
            tables.private.c.commitment.in_(wanted[start : start + 500])
        )
        for row in connection.execute(query):
            if not entry.opens(row.commitment, tables.as_bytes(row.salt), str(row.text)):
                raise LedgerError("a name or reason was changed: it does not open its commitment")
            clear[row.commitment] = row.text
    # An erasure left a pseudonym in the place of a name, and nothing in that of a person's words.
    gone = replaced(connection, [one for one in wanted if one not in clear])
    return clear | {one: pseudonym for one, pseudonym in gone.items() if pseudonym}


def _seal(event: Event) -> entry.Commitments:
    actor = entry.seal(event.person, secrets.token_bytes(entry.SALT_BYTES))
    if not event.reason:
        return entry.Commitments(actor)
    return entry.Commitments(actor, entry.seal(event.reason, secrets.token_bytes(entry.SALT_BYTES)))


def _seal_others(event: Event) -> dict[str, entry.Sealed]:
    if not event.people.keys() <= set(PEOPLE):
        raise InvalidRequest(f"an event names people as {' and '.join(PEOPLE)} only")
    return {
        key: entry.seal(name, secrets.token_bytes(entry.SALT_BYTES))
        for key, name in event.people.items()
    }


def _entry_row(event: Event, index: int, data: bytes, leaf: bytes) -> dict[str, Any]:
    return {
        "position": index,
        "entry": data,
        "leaf_hash": leaf,
        "act": event.act.value,
        "version_uid": event.subject.get("uid") or "",
        "at": event.at,
    }


def _private_row(part: entry.Sealed, actor: entry.Sealed) -> dict[str, Any]:
    return {
        "commitment": part.commitment,
        "salt": part.salt,
        "text": part.text,
        "person": actor.text,
    }
