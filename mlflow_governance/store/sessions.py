"""Sessions: where they come from, and what their failures mean to a caller.

Inside the server the MLflow plugin hands in MLflow's own session maker; the worker, the relay
and the commands use :func:`session_factory_for`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_governance.errors import (
    ConfigurationError,
    Conflict,
    GovernanceError,
    InvalidRequest,
    Unavailable,
)

SessionFactory = Callable[[bool], AbstractContextManager[Session]]
"""Called with ``read_only``; gives a fresh session, commits at exit, rolls back on exception."""

BUSY_TIMEOUT_MS = 20_000
"""How long a SQLite statement waits for the write lock, in milliseconds; MLflow waits as long."""

_NO_TABLES = (
    "Name the server's database. Stop what runs of an older version, then start it: "
    "mlflow-governance server"
)
_UNDEFINED_TABLE, _DISK_FULL = "42P01", "53100"  # PostgreSQL, appendix A
_DAMAGED = ("XX001", "XX002", sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PRIMARY = 0xFF
"""Of a result code of SQLite; the bits above it say more."""


class Sessions:
    """A session factory with an engine of its own."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    @contextmanager
    def __call__(self, read_only: bool) -> Iterator[Session]:
        """A fresh session; ``read_only`` is a promise of the caller."""
        with Session(self.engine) as session, session.begin():
            yield session

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def session_factory_for(url: str) -> Sessions:
    """Sessions on a database of their own engine.

    Args:
        url: an SQLAlchemy URL; ``governance+`` before the scheme is passed over.

    Raises:
        ConfigurationError: the URL or its driver cannot be used.
    """
    return Sessions(engine_for(url))


def engine_for(url: str) -> sa.Engine:
    """An engine whose commits are durable when they return.

    Raises:
        ConfigurationError: the URL or its driver cannot be used.
    """
    try:
        engine = sa.create_engine(url.removeprefix("governance+"), pool_pre_ping=True)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as error:
        raise ConfigurationError(
            f"the database URL cannot be used: {type(error).__name__}",
            advice="Write sqlite:///FILE or postgresql://USER@HOST/NAME and install its driver.",
        ) from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_up_sqlite)
    return engine


@contextmanager
def transaction(sessions: SessionFactory, *, read_only: bool) -> Iterator[Session]:
    """A session whose failures are errors of ours.

    What is raised inside leaves as it was raised, also through a factory that wraps it
    (MLflow's turns every foreign exception into its own).

    Raises:
        Conflict: somebody else wrote the same thing first.
        InvalidRequest: a value the database cannot keep.
        Unavailable: the database does not answer, was locked for too long, or is full.
        ConfigurationError: our tables are not there, or the database is damaged.
    """
    inside: Exception | None = None
    try:
        with sessions(read_only) as session:
            try:
                if read_only:
                    _fix_snapshot(session.connection())
                yield session
            except Exception as error:
                inside = error
                raise
    except Exception as error:
        original = inside or error
        if inside is None and isinstance(error.__cause__, sa.exc.SQLAlchemyError):
            original = error.__cause__
        meaning = _meaning(original)
        if meaning is not None:
            raise meaning from original
        if original is error:
            raise
        raise original from original.__cause__


def _meaning(error: Exception) -> GovernanceError | None:
    if isinstance(error, sa.exc.IntegrityError):
        return Conflict("somebody else wrote this first", advice="Look again and repeat.")
    if isinstance(error, (sa.exc.DataError, UnicodeError)):
        return InvalidRequest("a value is too long or holds characters the database cannot keep")
    if isinstance(error, (sa.exc.OperationalError, sa.exc.ProgrammingError)) and _lacks_table(
        error
    ):
        return ConfigurationError(
            "the governance tables are not there, or are those of another version",
            advice=_NO_TABLES,
        )
    if isinstance(error, sa.exc.DBAPIError) and (damaged := damage(error)) is not None:
        return damaged
    if isinstance(error, sa.exc.DBAPIError) and _is_full(error):
        return Unavailable(
            "the database has no room left; nothing was changed",
            advice="Make room on its disk, then ask again.",
        )
    if isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)):
        return Unavailable("the database does not answer", advice="Ask again in a moment.")
    if isinstance(error, sa.exc.SQLAlchemyError):
        return GovernanceError(f"the database refused a statement: {type(error).__name__}")
    return None


def _lacks_table(error: sa.exc.DBAPIError) -> bool:
    return _state(error) == _UNDEFINED_TABLE or "no such table" in str(error.orig)


def damage(error: sa.exc.DBAPIError) -> ConfigurationError | None:
    """What to say of an error that means: the files of the database are not what they should be."""
    code = getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY
    if code not in _DAMAGED and _state(error) not in _DAMAGED:
        return None
    return ConfigurationError(
        f"the database is damaged: {error.orig}",
        advice="Stop the server, keep the database as it is, and restore a backup.",
    )


def _is_full(error: sa.exc.DBAPIError) -> bool:
    return _state(error) == _DISK_FULL or "disk is full" in str(error.orig)


def _state(error: sa.exc.DBAPIError) -> object:
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


def _fix_snapshot(connection: sa.Connection) -> None:
    # Several SELECTs of one reading must see one state. Both databases default to one per
    # statement: SQLite's driver opens no transaction for SELECT, PostgreSQL reads committed.
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    elif connection.dialect.name == "sqlite":
        raw: Any = connection.connection.dbapi_connection
        if not raw.in_transaction:
            connection.exec_driver_sql("BEGIN")


def _set_up_sqlite(connection: Any, record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA synchronous = FULL")  # a commit that returned survives a power cut
    cursor.close()
