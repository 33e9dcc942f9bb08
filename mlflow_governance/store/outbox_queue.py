"""The queue of deliveries behind the outbox, as :class:`workflows.queue.Queue` describes it.

Events are queued with the change they tell of; who wants them is known only to the relay, so
deliveries are made from the outbox later. A lease is one UPDATE: two relays never get the same
row, on SQLite because writers take turns, on PostgreSQL because locked rows are skipped.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core import moment
from mlflow_governance.errors import Conflict, InvalidRequest
from mlflow_governance.store.sessions import SessionFactory, transaction
from mlflow_governance.store.tables import Moment, deliveries, outbox
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
    """

    def __init__(
        self, sessions: SessionFactory, clock: Callable[[], datetime] = moment.now
    ) -> None:
        self._sessions = sessions
        self._clock = clock

    def enqueue_missing(self, targets: Sequence[Recipient]) -> int:
        """Make a delivery of every event a target wants and has not got; returns how many.

        A new target gets every event that is kept, the oldest first.
        """
        return sum(self._enqueue(target) for target in targets)

    def forget(self, targets: Sequence[Recipient], before: datetime) -> int:
        """Delete old events that every target has, with their deliveries; returns how many.

        What is still to be delivered to one of them, or was given up, is kept.
        """
        self.enqueue_missing(targets)
        wanted = (
            sa.select(deliveries.c.id)
            .where(deliveries.c.event_id == outbox.c.id, deliveries.c.state != DELIVERED)
            .where(deliveries.c.target.in_([target.name for target in targets]))
        )
        query = sa.select(outbox.c.position).where(outbox.c.created_at < before, ~wanted.exists())
        count = 0
        while True:  # in small steps: others write meanwhile
            with transaction(self._sessions, read_only=False) as session:
                connection = session.connection()
                old = connection.execute(query.order_by(outbox.c.position).limit(_STEP)).scalars()
                positions = list(old)
                for table in (deliveries, outbox):
                    connection.execute(sa.delete(table).where(table.c.position.in_(positions)))
            count += len(positions)
            if len(positions) < _STEP:
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
            query = (
                sa.select(deliveries, outbox.c.body)
                .join(outbox, outbox.c.id == deliveries.c.event_id)
                .where(deliveries.c.lease == token)
                .order_by(deliveries.c.position)
            )
            return [
                Delivery(row.event_id, row.target, row.attempts, bytes(row.body))
                for row in connection.execute(query)
            ]

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
        # Events commit in the order of their index, so whatever lies beyond the last one queued
        # for this target is all that can be missing.
        last = (
            sa.select(sa.func.coalesce(sa.func.max(deliveries.c.position), -1))
            .where(deliveries.c.target == target.name)
            .scalar_subquery()
        )
        wanted = [outbox.c.act.in_(list(target.acts))] if target.acts else []
        missing = sa.select(
            outbox.c.id, sa.literal(target.name), outbox.c.position, sa.literal(PENDING),
            sa.literal(0), sa.literal(self._clock(), Moment), sa.literal(""), sa.literal(""),
        ).where(outbox.c.position > last, *wanted)  # fmt: skip
        columns = [
            "event_id", "target", "position", "state", "attempts", "next_at", "lease", "last_error",
        ]  # fmt: skip
        statement = sa.insert(deliveries).from_select(columns, missing)
        try:
            with transaction(self._sessions, read_only=False) as session:
                # Without the option SQLAlchemy does not keep the count of an INSERT.
                options = {"preserve_rowcount": True}
                made = session.connection().execute(statement, execution_options=options)
                return made.rowcount
        except Conflict:
            return 0  # another relay made them at the same moment

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
