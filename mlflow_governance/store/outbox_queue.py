"""The queue of deliveries of events, as :class:`workflows.queue.Queue` describes it.

Each entry of the ledger is an event, committed with the change it tells of; who wants it is known
only to the relay, so deliveries are made from the entries later. A lease is one UPDATE: two relays
never get the same row, on SQLite because writers take turns, on PostgreSQL because locked rows are
skipped.
"""

from __future__ import annotations

import bisect
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core import moment
from mlflow_governance.errors import Conflict, GovernanceError, InvalidRequest
from mlflow_governance.store.events import event_body, event_id
from mlflow_governance.store.sessions import SessionFactory, transaction
from mlflow_governance.store.tables import (
    as_bytes,
    as_text,
    deliveries,
    event_places,
    ledger_entries,
    ledger_head,
)
from mlflow_governance.workflows.queue import Delivery, Recipient

PENDING, DELIVERED, DEAD = "pending", "delivered", "dead"
MAX_ERROR = 2000
"""Characters of an error that are kept."""

_STEP = 500
_LONGEST = timedelta(days=3)
"""No delay or lease is as long."""


class OutboxQueue:
    """Deliveries to make. Safe to share between threads and processes.

    Args:
        sessions: where sessions come from.
        clock: when a new or replayed delivery is due.
        kept: how long a delivery can be made again, and how far back a new target is told.
    """

    def __init__(
        self,
        sessions: SessionFactory,
        clock: Callable[[], datetime] = moment.now,
        kept: timedelta = timedelta(days=30),
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._kept = kept

    def enqueue_missing(self, targets: Sequence[Recipient]) -> int:
        """Make a delivery of every event a target wants and has not got; returns how many.

        A new target gets every event of the time that is kept, the oldest first; one that wants
        more acts than before gets them from now on.
        """
        return sum(self._enqueue(target) for target in targets)

    def forget(self, targets: Sequence[Recipient]) -> int:
        """Delete deliveries of events older than what is kept; returns how many.

        What is still to be delivered to one of these targets, or was given up, is kept. Any other
        target that was told of nothing since is a new one when it comes back.
        """
        count, names = 0, [target.name for target in targets]
        over = (deliveries.c.state == DELIVERED) | deliveries.c.target.not_in(names)
        left = sa.delete(event_places).where(event_places.c.target.not_in(names))
        while True:  # in small steps: others write meanwhile
            with transaction(self._sessions, read_only=False) as session:
                connection = session.connection()
                first = self._first_kept(connection)
                connection.execute(left.where(event_places.c.position < first))
                old = deliveries.c.position < first
                query = sa.select(deliveries.c.id).where(old, over).limit(_STEP)
                ids = list(connection.execute(query).scalars())
                connection.execute(sa.delete(deliveries).where(deliveries.c.id.in_(ids)))
            count += len(ids)
            if len(ids) < _STEP:
                return count

    def claim(
        self, target_names: Sequence[str], limit: int, lease_seconds: float, now: datetime
    ) -> list[Delivery]:
        """Lease due deliveries to these targets, in the order of the ledger."""
        due = sa.select(deliveries.c.id).where(
            deliveries.c.target.in_(list(target_names)), *is_due(deliveries, now)
        )
        with transaction(self._sessions, read_only=False) as session:
            connection = session.connection()
            token = lease(
                connection, deliveries, due.order_by(deliveries.c.position).limit(limit),
                now + timedelta(seconds=lease_seconds),
            )  # fmt: skip
            mine = sa.select(deliveries).where(deliveries.c.lease == token)
            rows = connection.execute(mine.order_by(deliveries.c.position)).all()
        if not rows:
            return []
        with transaction(self._sessions, read_only=True) as session:  # nobody waits for this one
            return [_delivery(session.connection(), row) for row in rows]

    def delivered(self, delivery: Delivery, status: int) -> None:
        """The target took it, with this HTTP status. True whoever holds the lease by now."""
        self._settle(delivery, state=DELIVERED, last_status=status, last_error="")

    def failed(
        self, delivery: Delivery, error: str, retry_at: datetime | None, status: int | None = None
    ) -> None:
        """The target did not take it; ``retry_at`` None gives it up (dead letter).

        Says nothing when another relay has tried since: its word is the newer one.
        """
        values: dict[str, Any] = {"last_error": printable(error), "last_status": status}
        if retry_at is None:
            values["state"] = DEAD
        else:
            values["next_at"] = retry_at
        self._settle(
            delivery,
            deliveries.c.attempts == delivery.attempts,
            deliveries.c.state == PENDING,
            **values,
        )

    def replay(self, *, event_id: str | None = None, target: str | None = None) -> int:
        """Make deliveries of an event, to a target, or both, due again; returns how many.

        Raises:
            InvalidRequest: neither was named.
        """
        if event_id is None and target is None:
            raise InvalidRequest("name the event or the target to replay")
        conditions = []
        if event_id is not None:
            conditions.append(deliveries.c.event_id == event_id)
        if target is not None:
            conditions.append(deliveries.c.target == target)
        again = (
            sa.update(deliveries)
            .where(*conditions)
            .values(state=PENDING, attempts=0, next_at=self._clock(), lease="", lease_until=None)
        )
        with transaction(self._sessions, read_only=False) as session:
            return session.connection().execute(again).rowcount

    def pending_counts(self) -> Mapping[str, Mapping[str, int]]:
        """By target and state (``pending``, ``dead``), what is not delivered."""
        query = (
            sa.select(deliveries.c.target, deliveries.c.state, sa.func.count())
            .where(deliveries.c.state != DELIVERED)
            .group_by(deliveries.c.target, deliveries.c.state)
        )
        counts: dict[str, dict[str, int]] = defaultdict(lambda: {PENDING: 0, DEAD: 0})
        with transaction(self._sessions, read_only=True) as session:
            for target, state, count in session.connection().execute(query):
                counts[target][state] = count
        return dict(counts)

    def _enqueue(self, target: Recipient) -> int:
        made = 0
        while (place := self._place(target)) is not None:
            with transaction(self._sessions, read_only=False) as session:
                found = self._step(session.connection(), target, place)
            if found is None:
                break  # another relay made them at the same moment
            made += found
        return made

    def _place(self, target: Recipient) -> int | None:
        """The first entry that was not looked at for a target; None when all were."""
        where = sa.select(event_places.c.position).where(event_places.c.target == target.name)
        with transaction(self._sessions, read_only=True) as session:
            connection = session.connection()
            place, size = connection.execute(where).scalar(), _size(connection)
            first = self._first_kept(connection) if place is None else place
        if place is None:
            row = {"target": target.name, "position": first}
            # A Conflict means that another relay met the target at this moment.
            with suppress(Conflict), transaction(self._sessions, read_only=False) as session:
                session.connection().execute(sa.insert(event_places), row)
        if first > size:
            # The ledger was rolled back without this table: what is recorded next would be missed.
            with transaction(self._sessions, read_only=False) as session:
                session.connection().execute(_move(target, first, size))
        return first if first < size else None

    def _step(self, connection: sa.Connection, target: Recipient, place: int) -> int | None:
        """Make the next deliveries; None when another relay did so since the place was read."""
        entries, size = ledger_entries.c, _size(connection)
        wanted = [entries.act.in_(list(target.acts))] if target.acts else []
        query = (
            sa.select(entries.position, entries.entry, entries.leaf_hash)
            .where(entries.position >= place, entries.position < size, *wanted)
            .order_by(entries.position)
            .limit(_STEP)
        )
        rows = connection.execute(query).all()
        end = rows[-1].position + 1 if len(rows) == _STEP else size
        if connection.execute(_move(target, place, end)).rowcount != 1:
            return None
        # Of an entry that was deleted after its retention there is nothing to tell.
        told = [(row, data) for row in rows if (data := as_bytes(row.entry))]
        places = {
            event_id(row.position, data, as_bytes(row.leaf_hash)): row.position
            for row, data in reversed(told)
        }
        mine = sa.select(deliveries.c.event_id).where(deliveries.c.target == target.name)
        again = mine.where(deliveries.c.event_id.in_(places))  # what has one id is told once
        for one in connection.execute(again).scalars():
            del places[one]
        new = {
            "target": target.name, "state": PENDING, "attempts": 0, "next_at": self._clock(),
            "lease": "", "last_error": "",
        }  # fmt: skip
        queued = [{**new, "event_id": one, "position": place} for one, place in places.items()]
        if queued:
            connection.execute(sa.insert(deliveries), queued)
        return len(queued)

    def _first_kept(self, connection: sa.Connection) -> int:
        """The first entry that is younger than what is kept.

        Entries are in the order of time, but for some that were written under a wrong clock: the
        newest of many neighbours tells how old they are.
        """
        place, at = ledger_entries.c.position, sa.type_coerce(ledger_entries.c.at, sa.String)

        def newest(part: int) -> str:
            found = sa.select(sa.func.max(at)).where(place >= part * _STEP)
            found = found.where(place < (part + 1) * _STEP)
            return as_text(connection.execute(found).scalar() or oldest)

        size, oldest = _size(connection), moment.to_text(self._clock() - self._kept)
        part = bisect.bisect_left(range(size // _STEP + 1), oldest, key=newest)
        young = sa.select(place).where(place >= part * _STEP, at >= oldest)
        found = connection.execute(young.order_by(place).limit(1)).scalar()
        return size if found is None else int(found)

    def _settle(
        self, delivery: Delivery, *conditions: sa.ColumnElement[bool], **values: Any
    ) -> None:
        statement = (
            sa.update(deliveries)
            .where(
                deliveries.c.event_id == delivery.event_id,
                deliveries.c.target == delivery.target,
                *conditions,
            )
            .values(lease="", lease_until=None, **values)
        )
        with transaction(self._sessions, read_only=False) as session:
            session.connection().execute(statement)


def _move(target: Recipient, place: int, end: int) -> sa.Update:
    here = event_places.c.target == target.name, event_places.c.position == place
    return sa.update(event_places).where(*here).values(position=end)


def _size(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(ledger_head.c.size)).scalar_one())


def _delivery(connection: sa.Connection, row: sa.Row[Any]) -> Delivery:
    try:
        body, problem = event_body(connection, row.position), ""
    except GovernanceError as error:
        body, problem = b"", error.message
    return Delivery(row.event_id, row.target, row.attempts, body, problem)


def is_due(table: sa.Table, now: datetime) -> list[sa.ColumnElement[bool]]:
    """Conditions on a queue's row: pending, due, and leased by nobody alive.

    A moment nothing is ever put off to was written under a clock that was far ahead.
    """
    never = now + _LONGEST
    due = (table.c.next_at <= now) | (table.c.next_at > never)
    ended = (table.c.lease_until <= now) | (table.c.lease_until > never)
    return [table.c.state == PENDING, due, table.c.lease_until.is_(None) | ended]


def lease(
    connection: sa.Connection, table: sa.Table, due: sa.Select[tuple[int]], until: datetime
) -> str:
    """Lease the rows a query names; returns the token they now carry."""
    token = secrets.token_hex(16)
    # A CTE, because PostgreSQL may run a plain subquery, and so its LIMIT, more than once.
    chosen = due.with_for_update(skip_locked=True).cte("chosen")
    connection.execute(
        sa.update(table)
        .where(table.c.id.in_(sa.select(chosen.c.id)))
        .values(lease=token, lease_until=until, attempts=table.c.attempts + 1)
    )
    return token


def printable(error: str) -> str:
    """An error in a form and length every database keeps."""
    kept = error.encode("utf-8", "replace").decode().replace("\0", " ")
    return kept[:MAX_ERROR]
