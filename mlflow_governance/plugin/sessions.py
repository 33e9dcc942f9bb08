"""One transaction for MLflow's rows and ours.

While a unit of work is open, every session MLflow's own store methods ask for on this thread
*is* that unit's session: their rows commit with ours or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from mlflow.exceptions import MlflowException
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from mlflow_governance.errors import GovernanceError
from mlflow_governance.plugin.compat import ManagedSessionMaker


class _Reading:
    """What our readings need of a session: a connection, and statements executed on it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.execute = connection.execute

    def connection(self) -> Connection:
        """The one connection of this reading."""
        return self._connection


class JoinableSessions:
    """Wraps MLflow's ``ManagedSessionMaker`` and gives ours the same database.

    Args:
        managed: MLflow's session factory for the primary and, where set, its read replica.
        engine: the primary.
    """

    def __init__(self, managed: ManagedSessionMaker, engine: Engine) -> None:
        self._managed = managed
        self._engine = engine
        self._joined: ContextVar[Session | None] = ContextVar("governance_session", default=None)

    @contextmanager
    def for_mlflow(self, read_only: bool = True) -> Iterator[Any]:
        """What MLflow's store methods use: the open unit's session, or one of their own."""
        session = self._joined.get()
        if session is not None:
            yield session
            session.flush()
            return
        with self._managed(read_only=read_only) as own:
            yield own

    @contextmanager
    def for_us(self, read_only: bool) -> Iterator[Session]:
        """What our store uses. Always the primary: a replica may not know of a revocation yet.

        What the database says comes out as SQLAlchemy raised it: ``store.sessions`` knows what it
        means.
        """
        if read_only:
            # Without MLflow's session maker and the three PRAGMAs it sends each time on SQLite,
            # and without the ORM: this is asked for every artifact that is handed out.
            with self._engine.connect() as connection:
                yield cast("Session", _Reading(connection))
            return
        try:
            with self._managed(read_only=False) as session:
                token = self._joined.set(session)
                try:
                    yield session
                finally:
                    self._joined.reset(token)
        except MlflowException as error:
            cause = error.__cause__
            if isinstance(cause, GovernanceError | SQLAlchemyError):
                raise cause from None
            raise
