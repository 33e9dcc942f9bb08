"""Migrations: complete, repeatable, at once, and beside MLflow's."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from mlflow_governance.errors import ConfigurationError, Unavailable
from mlflow_governance.store import migrate
from mlflow_governance.store.migrate import VERSION_TABLE, is_current, upgrade
from mlflow_governance.store.sessions import engine_for
from mlflow_governance.store.tables import deliveries, event_places, ledger_head, metadata, private
from tests.unit.store.builders import AT

NAMED = {"salt": b"s" * 32, "text": "ann", "person": "ann"}
DELIVERED = {"state": "delivered", "attempts": 1, "next_at": AT, "lease": "", "last_error": ""}
OUTBOX = sa.text(
    "INSERT INTO governance_outbox (id, position, act, body, created_at)"
    " VALUES ('e' || :position, :position, '', :body, '')"
)


def to_0010(connection: sa.Connection) -> None:
    """The tables with the outbox, before events were told from entries."""
    config = migrate._config()
    config.attributes["connection"] = connection
    command.upgrade(config, "0010")


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    opened = engine_for(url)
    yield opened
    opened.dispose()


def test_the_migrated_tables_are_those_the_code_uses(engine: sa.Engine) -> None:
    upgrade(engine)

    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, _: kind != "table" or name in metadata.tables,
            },
        )
        assert compare_metadata(context, metadata) == []


def test_upgrading_again_changes_nothing(engine: sa.Engine, url: str) -> None:
    assert not is_current(engine)
    upgrade(url)
    upgrade(engine)

    assert is_current(engine)
    with engine.connect() as connection:
        heads = connection.execute(sa.text("SELECT id, size FROM governance_ledger_head")).all()
    assert [tuple(row) for row in heads] == [(1, 0)]


def test_several_processes_may_upgrade_at_once(url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upgrade, [url] * 4))

    engine = engine_for(url)
    assert is_current(engine)
    engine.dispose()


def test_mlflows_tables_are_left_alone(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('mlflows')"))
        connection.execute(sa.text("CREATE TABLE experiments (id INTEGER)"))

    upgrade(engine)

    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT * FROM alembic_version")).all() == [("mlflows",)]
    ours = set(sa.inspect(engine).get_table_names()) - {"alembic_version", "experiments"}
    assert ours == {*metadata.tables, VERSION_TABLE}
    assert all(name.startswith("governance_") for name in metadata.tables)


def test_a_newer_database_is_refused(engine: sa.Engine) -> None:
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))

    with pytest.raises(ConfigurationError, match="9999") as caught:
        upgrade(engine)

    assert "pip install" in caught.value.advice


def test_names_and_what_was_told_come_through_when_events_are_told_from_entries(
    engine: sa.Engine,
) -> None:
    with engine.connect() as connection:
        to_0010(connection)
        connection.execute(sa.insert(private), {**NAMED, "commitment": "sha256:1"})
        for position, target in ((4, "siem"), (7, "siem"), (2, "cache"), (9, "all")):
            row = {"event_id": f"e{position}", "target": target, "position": position}
            connection.execute(sa.insert(deliveries), {**DELIVERED, **row})
        connection.execute(sa.update(ledger_head).values(size=10))
        for position in (2, 4, 7, 9):  # the others were forgotten
            connection.execute(OUTBOX, {"position": position, "body": b"{}"})
        connection.commit()

    upgrade(engine)

    with engine.connect() as connection:
        assert connection.execute(sa.select(private)).one().text == "ann"
        places = connection.execute(sa.select(event_places).order_by("target")).all()
        assert [tuple(place) for place in places] == [("all", 10), ("cache", 4), ("siem", 9)]
        assert connection.execute(sa.select(sa.func.count()).select_from(deliveries)).scalar() == 4
        with pytest.raises(sa.exc.IntegrityError):
            connection.execute(sa.insert(private), {**NAMED, "commitment": "sha256:1"})


def test_no_name_stays_in_the_file_where_a_table_was(engine: sa.Engine, tmp_path: Path) -> None:
    if engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL removes the file of a table")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA secure_delete = OFF")  # as many builds have it
        to_0010(connection)
        for position in range(100):
            body = b'{"actor": "zorawiktor"}' * 10
            connection.execute(OUTBOX, {"position": position, "body": body})
            row = {**NAMED, "text": "zorawiktor", "commitment": f"sha256:{position}"}
            connection.execute(sa.insert(private), row)
        connection.commit()

    upgrade(engine)
    with engine.begin() as connection:  # as retention does
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
        connection.execute(sa.delete(private))
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    assert not [file for file in tmp_path.iterdir() if b"zorawiktor" in file.read_bytes()]


def test_a_commit_of_sqlite_is_durable_and_readers_do_not_wait(url: str) -> None:
    if not url.startswith("sqlite"):
        pytest.skip("PostgreSQL does both by itself")
    upgrade(url)
    engine = engine_for(url)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    engine.dispose()


@pytest.mark.parametrize("url_text", ["", "nonsense", "sqlite+nonsense:///x", "foo://x"])
def test_a_url_that_cannot_be_used_is_a_mistake_of_the_operator(url_text: str) -> None:
    with pytest.raises(ConfigurationError):
        upgrade(url_text)


def test_a_server_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        upgrade("postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=2")
