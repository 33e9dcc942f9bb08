"""One transaction for MLflow's rows and ours.

While a unit of work is open, every session MLflow's own store methods ask for on this thread
*is* that unit's session: their rows commit with ours or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from mlflow.exceptions import MlflowException
from sqlalchemy.orm import Session

from mlflow_governance.errors import GovernanceError, Unavailable
from mlflow_governance.plugin.compat import ManagedSessionMaker

_UNAVAILABLE = "TEMPORARILY_UNAVAILABLE"


class JoinableSessions:
    """Wraps MLflow's ``ManagedSessionMaker`` and gives ours the same database.

    Args:
        managed: MLflow's session factory for the primary and, where set, its read replica.
    """

    def __init__(self, managed: ManagedSessionMaker) -> None:
        self._managed = managed
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

        Raises:
            Unavailable: the database does not answer.
        """
        try:
            with self._managed(read_only=False) as session:
                token = None if read_only else self._joined.set(session)
                try:
                    yield session
                finally:
                    if token is not None:
                        self._joined.reset(token)
        except MlflowException as error:
            cause = error.__cause__
            if isinstance(cause, GovernanceError):
                raise cause from None
            if error.error_code == _UNAVAILABLE:
                raise Unavailable(
                    "the registry's database does not answer; nothing was changed",
                    advice="Repeat the request; tell the platform engineer if it goes on.",
                ) from error
            raise
