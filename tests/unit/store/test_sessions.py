"""What a failing database means to the caller, wherever it fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_governance.errors import ConfigurationError, Conflict, GovernanceError, Unavailable
from mlflow_governance.store.sessions import Sessions, session_factory_for, transaction
from tests.unit.store.builders import Database, event, open_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path}/registry.db")
    yield opened
    opened.sessions.dispose()


def fail_on_commit(sessions: Sessions, error: type[Exception]) -> None:
    def fail(_: Session) -> None:
        cause = sqlite3.OperationalError("disk I/O error")
        raise error("COMMIT", {}, cause)

    sa.event.listen(Session, "before_commit", fail, once=True)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (sa.exc.OperationalError, Unavailable),
        (sa.exc.InterfaceError, Unavailable),
        (sa.exc.IntegrityError, Conflict),
        (sa.exc.InternalError, GovernanceError),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_commit_that_fails_is_typed_and_nothing_is_written(
    database: Database, error: type[Exception], meaning: type[GovernanceError], wrapped: bool
) -> None:
    @contextmanager
    def wrapping(read_only: bool) -> Iterator[Session]:
        try:
            with database.sessions(read_only) as session:
                yield session
        except Exception as reason:
            raise RuntimeError("wrapped") from reason

    fail_on_commit(database.sessions, error)
    sessions: Any = wrapping if wrapped else database.sessions

    with pytest.raises(meaning) as caught, transaction(sessions, read_only=False) as session:
        session.execute(sa.text("DELETE FROM governance_ledger_head"))

    assert type(caught.value) is meaning
    assert database.count("governance_ledger_head") == 1


def test_a_database_locked_for_too_long_is_unavailable(database: Database, tmp_path: Path) -> None:
    def impatient(connection: Any, _: object) -> None:
        connection.execute("PRAGMA busy_timeout = 50")

    sa.event.listen(database.sessions.engine, "connect", impatient)
    database.sessions.dispose()
    holder = sqlite3.connect(tmp_path / "registry.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(Unavailable), database.store.begin():
        pass

    with database.store.read() as reading:
        assert reading.ledger_size() == 0
    holder.execute("ROLLBACK")
    holder.close()
    with database.store.begin() as uow:
        assert uow.record(event()) == 0


def test_the_governed_scheme_is_understood(tmp_path: Path) -> None:
    sessions = session_factory_for(f"governance+sqlite:///{tmp_path}/a.db")
    assert sessions.engine.dialect.name == "sqlite"
    sessions.dispose()


@pytest.mark.parametrize("url", ["", "x", "sqlite+no:///a", "governance+nothing://a"])
def test_a_url_that_cannot_be_used_does_not_show_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError):
        session_factory_for(url)
    with pytest.raises(ConfigurationError) as caught:
        session_factory_for("nothing://ann:secret@host/db")
    assert "secret" not in str(caught.value)


def test_reading_is_not_writing_on_a_snapshot(database: Database) -> None:
    with transaction(database.sessions, read_only=True) as session:
        first = session.execute(sa.text("SELECT size FROM governance_ledger_head")).scalar()
        with database.store.begin() as uow:
            uow.record(event())
        again = session.execute(sa.text("SELECT size FROM governance_ledger_head")).scalar()

    assert (first, again) == (0, 0)
