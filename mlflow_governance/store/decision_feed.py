"""Recorded decisions for the decision log (:class:`workflows.queue.DecisionFeed`).

Writers take turns, so decisions commit in the order of their ids: whatever lies beyond a place is
all a sink has not got.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core import canonical, digest, moment
from mlflow_governance.errors import Conflict, InvalidRequest
from mlflow_governance.store.decisions import SqlDecisions
from mlflow_governance.store.outbox_queue import printable
from mlflow_governance.store.sessions import SessionFactory, transaction
from mlflow_governance.store.tables import decisions, log_places
from mlflow_governance.workflows.queue import LogPlace, StoredDecision

_LONGEST = timedelta(days=1)
"""No lease is as long: one that ends later was written under a clock that was ahead."""


class SqlDecisionFeed:
    """Decisions in the order of their commits, and how far each sink is.

    Args:
        sessions: where sessions come from.
        clock: against which leases end.
    """

    def __init__(
        self, sessions: SessionFactory, clock: Callable[[], datetime] = moment.now
    ) -> None:
        self._sessions = sessions
        self._clock = clock

    def after(self, position: int, limit: int) -> list[StoredDecision]:
        """The decisions recorded after a position, in order."""
        rows = SqlDecisions(self._sessions).after(position, limit)
        return [
            StoredDecision(
                number,
                _read(row.document, row.document_now or row.digest),
                _read(row.dossier, row.dossier_now or row.dossier_digest),
            )
            for number, row in rows
        ]

    def waits(self, sink: str) -> bool:
        """Whether there are decisions the sink has not got."""
        last = sa.select(sa.func.coalesce(sa.func.max(decisions.c.id), 0))
        place = sa.select(log_places.c.position).where(log_places.c.sink == sink)
        with transaction(self._sessions, read_only=True) as session:
            connection = session.connection()
            has = connection.execute(place).scalar()
            return bool(connection.execute(last).scalar_one() > (has or 0))

    def hold(self, sink: str, lease_seconds: float) -> LogPlace | None:
        """Lease a sink's place, from the first decision on if it is new; None: another has it."""
        now, token = self._clock(), secrets.token_hex(16)
        ended = log_places.c.lease_until.is_(None) | (log_places.c.lease_until <= now)
        ended = ended | (log_places.c.lease_until > now + _LONGEST)
        take = (
            sa.update(log_places)
            .where(log_places.c.sink == sink, ended)
            .values(lease=token, lease_until=now + timedelta(seconds=lease_seconds))
        )
        self._make(sink)
        with transaction(self._sessions, read_only=False) as session:
            connection = session.connection()
            if connection.execute(take).rowcount != 1:
                return None
            where = sa.select(log_places.c.position).where(log_places.c.sink == sink)
            return LogPlace(sink, connection.execute(where).scalar_one(), token)

    def advance(self, place: LogPlace, position: int, dropped: int) -> bool:
        """The sink has everything up to there, but for ``dropped``; False: the lease is lost."""
        more = {"position": position, "dropped": log_places.c.dropped + dropped, "last_error": ""}
        return self._settle(place, more)

    def release(self, place: LogPlace, error: str) -> None:
        """Give the lease back, with the error that ended the turn."""
        self._settle(place, {"lease": "", "lease_until": None, "last_error": printable(error)})

    def lost(self, sink: str, number: int) -> None:
        """So many records never reached the sink and never will."""
        self._make(sink)
        count = sa.update(log_places).where(log_places.c.sink == sink)
        with transaction(self._sessions, read_only=False) as session:
            session.connection().execute(count.values(dropped=log_places.c.dropped + number))

    def places(self) -> list[LogPlace]:
        """Where every sink is, by name."""
        waiting = (
            sa.select(sa.func.count())
            .where(decisions.c.id > log_places.c.position)
            .scalar_subquery()
        )
        query = sa.select(log_places, waiting.label("waiting")).order_by(log_places.c.sink)
        with transaction(self._sessions, read_only=True) as session:
            return [
                LogPlace(
                    row.sink, row.position, row.lease, row.waiting, row.dropped, row.last_error
                )
                for row in session.connection().execute(query)
            ]

    def _make(self, sink: str) -> None:
        present = sa.select(log_places.c.sink).where(log_places.c.sink == sink)
        with transaction(self._sessions, read_only=True) as session:
            if session.connection().execute(present).first() is not None:
                return
        first = {"sink": sink, "position": 0, "dropped": 0, "last_error": "", "lease": ""}
        try:
            with transaction(self._sessions, read_only=False) as session:
                session.connection().execute(sa.insert(log_places), first)
        except Conflict:
            return  # another worker made it at the same moment

    def _settle(self, place: LogPlace, values: dict[str, Any]) -> bool:
        statement = (
            sa.update(log_places)
            .where(log_places.c.sink == place.sink, log_places.c.lease == place.lease)
            .values(values)
        )
        with transaction(self._sessions, read_only=False) as session:
            return session.connection().execute(statement).rowcount == 1


def _read(data: object, expected: str) -> dict[str, Any] | None:
    # SQLite keeps whatever somebody wrote into a column, text where bytes belong, too.
    if not isinstance(data, bytes | memoryview) or digest.of_bytes(bytes(data)) != expected:
        return None
    try:
        return canonical.decode_object(bytes(data))
    except InvalidRequest:
        return None
