"""The worker's queue, as :class:`workflows.queue.TaskQueue` describes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core import moment
from mlflow_governance.store.outbox_queue import DEAD, PENDING, is_due, lease, printable
from mlflow_governance.store.sessions import SessionFactory, transaction
from mlflow_governance.store.tables import tasks
from mlflow_governance.workflows.ports import Task


class SqlTaskQueue:
    """Tasks to do. Safe to share between threads and processes.

    Args:
        sessions: where sessions come from.
        clock: against which tasks fall due and leases end.
    """

    def __init__(
        self, sessions: SessionFactory, clock: Callable[[], datetime] = moment.now
    ) -> None:
        self._sessions = sessions
        self._clock = clock

    def claim(self, limit: int, lease_seconds: float) -> list[Task]:
        """Lease due tasks, oldest first; ``attempts`` counts this attempt, from 1."""
        now = self._clock()
        due = sa.select(tasks.c.id).where(*is_due(tasks, now))
        due = due.order_by(tasks.c.next_at, tasks.c.id).limit(limit)
        with transaction(self._sessions, read_only=False) as session:
            connection = session.connection()
            token = lease(connection, tasks, due, now + timedelta(seconds=lease_seconds))
            query = sa.select(tasks).where(tasks.c.lease == token).order_by(tasks.c.id)
            return [
                Task(row.uid, row.kind, row.version_uid, row.attempts)
                for row in connection.execute(query)
            ]

    def renew(self, task: Task, lease_seconds: float) -> None:
        """The work goes on: the lease ends that long from now, if it is still this worker's."""
        self._change(task, lease_until=self._clock() + timedelta(seconds=lease_seconds))

    def done(self, task: Task) -> None:
        """The work is done; nobody needs to know of it any more."""
        with transaction(self._sessions, read_only=False) as session:
            session.connection().execute(sa.delete(tasks).where(tasks.c.uid == task.id))

    def retry(self, task: Task, error: str, at: datetime) -> None:
        """The work failed and is due again at that moment."""
        self._settle(task, next_at=at, last_error=printable(error))

    def give_up(self, task: Task, error: str) -> None:
        """The work failed for good; it stays visible with its error."""
        self._settle(task, state=DEAD, last_error=printable(error))

    def pending_counts(self) -> Mapping[str, int]:
        """By state (``pending``, ``dead``), what is not done."""
        query = sa.select(tasks.c.state, sa.func.count()).group_by(tasks.c.state)
        with transaction(self._sessions, read_only=True) as session:
            found = {row[0]: row[1] for row in session.connection().execute(query)}
        return {PENDING: 0, DEAD: 0, **found}

    def _settle(self, task: Task, **values: Any) -> None:
        self._change(task, lease="", lease_until=None, **values)

    def _change(self, task: Task, **values: Any) -> None:
        # A worker whose lease ended has no say: another one holds the task.
        statement = (
            sa.update(tasks)
            .where(tasks.c.uid == task.id, tasks.c.attempts == task.attempts)
            .values(values)
        )
        with transaction(self._sessions, read_only=False) as session:
            session.connection().execute(statement)


def waiting_versions(connection: sa.Connection, kind: str) -> int:
    """How many versions have work of a kind that is not done."""
    table = tasks.c
    query = sa.select(sa.func.count(table.version_uid.distinct())).where(table.kind == kind)
    return connection.execute(query).scalar_one()
