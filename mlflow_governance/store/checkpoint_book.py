"""The book of checkpoints, as :class:`workflows.checkpoints.CheckpointBook` describes it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core import digest, moment
from mlflow_governance.errors import Conflict
from mlflow_governance.ledger import checkpoint
from mlflow_governance.store.outbox_queue import printable
from mlflow_governance.store.sessions import SessionFactory, transaction
from mlflow_governance.store.tables import checkpoint_places, ledger_checkpoints
from mlflow_governance.workflows.checkpoints import Kept, Place

_NEWEST = 20
"""Rows looked at for the newest checkpoint; somebody may have put others above it."""
_LONGEST = timedelta(days=1)
"""No lease or delay is as long: one that ends later was written under a clock that was ahead."""


class SqlCheckpointBook:
    """Checkpoints and places. Safe to share between threads and processes.

    Args:
        sessions: where sessions come from.
        clock: against which leases end.
    """

    def __init__(
        self, sessions: SessionFactory, clock: Callable[[], datetime] = moment.now
    ) -> None:
        self._sessions = sessions
        self._clock = clock

    def keep(self, note: str) -> None:
        """Keep a signed note; twice is once.

        Raises:
            LedgerError: it is not a checkpoint.
        """
        row = {
            "digest": digest.of_bytes(note.encode()),
            "size": checkpoint.parse(note).size,
            "note": note,
            "kept_at": self._clock(),
        }
        table = ledger_checkpoints
        present = sa.select(table.c.size).where(table.c.digest == row["digest"])
        # A Conflict means that somebody else kept the very same note at this moment.
        with suppress(Conflict), transaction(self._sessions, read_only=False) as session:
            if session.connection().execute(present).first() is None:
                session.connection().execute(sa.insert(table), row)

    def stamp(self, note: str, token: bytes) -> None:
        """Keep the time stamp over a note that is kept; the first one stays."""
        table = ledger_checkpoints
        same = table.c.digest == digest.of_bytes(note.encode())
        with transaction(self._sessions, read_only=False) as session:
            session.connection().execute(
                sa.update(table).where(same, table.c.stamp.is_(None)).values(stamp=token)
            )

    def newest(self, size: int | None = None) -> list[Kept]:
        """Notes kept last: of the largest ledgers, or of the ledger of one size."""
        table = ledger_checkpoints
        query = sa.select(table.c.note, table.c.stamp).order_by(
            table.c.size.desc(), table.c.kept_at.desc(), table.c.digest
        )
        if size is not None:
            query = query.where(table.c.size == size)
        return self._kept(query.limit(_NEWEST))

    def all(self) -> list[Kept]:
        """Every note, smallest ledger first."""
        table = ledger_checkpoints
        query = sa.select(table.c.note, table.c.stamp).order_by(table.c.size, table.c.digest)
        return self._kept(query)

    def hold(self, name: str, lease_seconds: float) -> Place | None:
        """Lease a place; None: another has it, or it is to be left alone for now."""
        now, token = self._clock(), secrets.token_hex(16)
        self._make(name)
        c = checkpoint_places.c
        free = c.lease_until.is_(None) | (c.lease_until <= now) | (c.lease_until > now + _LONGEST)
        due = c.next_at.is_(None) | (c.next_at <= now) | (c.next_at > now + _LONGEST)
        take = (
            sa.update(checkpoint_places)
            .where(c.name == name, free, due)
            .values(lease=token, lease_until=now + timedelta(seconds=lease_seconds))
        )
        with transaction(self._sessions, read_only=False) as session:
            if session.connection().execute(take).rowcount != 1:
                return None
        (place,) = self.places(name)
        return place if place.lease == token else None

    def took(self, place: Place, size: int, content: str) -> None:
        """The place has it; nothing is wrong with it."""
        self._settle(
            place, size=size, content=content, at=self._clock(), failures=0, next_at=None,
            last_error="", alarm="",
        )  # fmt: skip

    def failed(self, place: Place, error: str, retry_seconds: float, *, alarm: str = "") -> None:
        """The place did not take it; ``alarm``: what it holds contradicts the ledger."""
        self._settle(
            place, failures=place.failures + 1, last_error=printable(error),
            alarm=printable(alarm), next_at=self._clock() + timedelta(seconds=retry_seconds),
        )  # fmt: skip

    def release(self, place: Place) -> None:
        """Nothing was to be done."""
        self._settle(place)

    def places(self, name: str | None = None) -> list[Place]:
        """Every place, by name."""
        query = sa.select(checkpoint_places).order_by(checkpoint_places.c.name)
        if name is not None:
            query = query.where(checkpoint_places.c.name == name)
        with transaction(self._sessions, read_only=True) as session:
            return [
                Place(
                    row.name, row.size, row.content, row.at, row.failures, row.last_error,
                    row.alarm, row.lease,
                )
                for row in session.connection().execute(query)
            ]  # fmt: skip

    def _kept(self, query: sa.Select[Any]) -> list[Kept]:
        with transaction(self._sessions, read_only=True) as session:
            rows = session.connection().execute(query).all()
        # SQLite keeps whatever somebody wrote into a column.
        return [
            Kept(str(note), bytes(stamp) if isinstance(stamp, bytes | memoryview) else None)
            for note, stamp in rows
        ]

    def _make(self, name: str) -> None:
        if self.places(name):
            return
        row = {
            "name": name, "size": 0, "content": "", "failures": 0, "last_error": "", "alarm": "",
            "lease": "",
        }  # fmt: skip
        # A Conflict: another worker made it at the same moment.
        with suppress(Conflict), transaction(self._sessions, read_only=False) as session:
            session.connection().execute(sa.insert(checkpoint_places), row)

    def _settle(self, place: Place, **values: Any) -> None:
        statement = (
            sa.update(checkpoint_places)
            .where(checkpoint_places.c.name == place.name, checkpoint_places.c.lease == place.lease)
            .values(lease="", lease_until=None, **values)
        )
        with transaction(self._sessions, read_only=False) as session:
            session.connection().execute(statement)
