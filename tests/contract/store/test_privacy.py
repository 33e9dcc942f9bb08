"""A person is taken out of the rows, MLflow's among them, and out of the files behind them."""

from __future__ import annotations

import json
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mlflow_governance.core import canonical
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import of_bytes
from mlflow_governance.core.event import Act
from mlflow_governance.core.person import Person
from mlflow_governance.errors import NotFound, Unavailable
from mlflow_governance.store import mlflow_people, tables
from mlflow_governance.store.mlflow_tables import version_tags
from mlflow_governance.store.redactions import replaced
from mlflow_governance.store.scrub import scrub
from tests.unit.store.builders import AT, Database, approval, decision, event

NAME = "zorawiktor"
ZORA = Person.known_as(NAME)
_MLFLOW = sa.MetaData()
RUNS = sa.Table(
    "runs", _MLFLOW, sa.Column("run_uuid", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(250)), sa.Column("user_id", sa.String(256)),
    sa.Column("start_time", sa.BigInteger),
)  # fmt: skip
TAGS = sa.Table(
    "tags", _MLFLOW, sa.Column("key", sa.String(250), primary_key=True),
    sa.Column("value", sa.String(8000)), sa.Column("run_uuid", sa.String(32), primary_key=True),
)  # fmt: skip
SOURCES = sa.Table(
    "datasets", _MLFLOW, sa.Column("name", sa.String(500), primary_key=True),
    sa.Column("dataset_source", sa.Text),
)  # fmt: skip


def lived(database: Database) -> None:
    """She submitted, approved and decided; MLflow has her login as she typed it."""
    record = database.register(submitter=NAME)
    with database.store.begin() as uow:
        uow.record(event(act=Act.VERSION_REGISTERED, person=NAME, reason="Zorawiktor's own"))
        uow.add_approval(approval(record, person=NAME, reason="I looked"))
        uow.add_approval(approval(record, person="sam", role="product", reason="after ZoraWiktor"))
        dossier = canonical.encode({"actor": {"id": NAME}, "salt": "0" * 32})
        made, _ = decision(dossier_digest=of_bytes(dossier), error=f"{NAME} may not")
        uow.add_decision(made, dossier, record.uid)
    for table in (*_MLFLOW.tables.values(), version_tags):
        table.create(database.sessions.engine, checkfirst=True)
    with database.sessions.engine.begin() as connection:
        mine = {
            "run_uuid": "r1",
            "name": f"run of {NAME}",
            "user_id": "ZoraWiktor",
            "start_time": 1,
        }
        connection.execute(sa.insert(RUNS), [mine, {**mine, "run_uuid": "r2", "user_id": "sam"}])
        connection.execute(
            sa.insert(TAGS),
            [
                {"key": "mlflow.user", "value": "ZORAWIKTOR", "run_uuid": "r1"},
                {"key": "team", "value": "zorawiktor", "run_uuid": "r1"},
            ],
        )
        row = {"workspace": "default", "name": "churn", "version": 1}
        connection.execute(
            sa.insert(version_tags),
            {**row, "key": "governance.missing", "value": f"PRO-001 {NAME} may not"},
        )


def column(database: Database, which: sa.Column[Any]) -> list[Any]:
    with database.sessions.engine.connect() as connection:
        return list(connection.execute(sa.select(which).order_by(which)).scalars())


def test_a_pseudonym_takes_the_place_of_a_login_in_every_table(database: Database) -> None:
    lived(database)

    name = database.erase("ZoraWiktor")

    assert column(database, tables.versions.c.submitter) == [name]
    assert sorted(column(database, tables.approvals.c.person)) == sorted([name, "sam"])
    assert sorted(column(database, tables.approvals.c.reason)) == ["(erased)", f"after {name}"]
    assert sorted(column(database, RUNS.c.user_id)) == sorted([name, "sam"])
    assert sorted(column(database, TAGS.c.value)) == sorted([name, NAME])
    assert column(database, version_tags.c.value) == [f"PRO-001 {name} may not"]
    with database.store.read() as reading:
        left = {(t.table, t.column, t.text, t.at) for t in reading.traces(ZORA)}
    when = "1970-01-01T00:00:00.001000Z"
    assert left == {
        ("runs", "name", f"run of {NAME}", when),
        ("tags", "value", NAME, ""),
    }
    with pytest.raises(NotFound):
        database.erase(NAME)


def test_a_data_set_without_a_place_is_of_the_pseudonym_too(database: Database) -> None:
    lived(database)
    hers = {"tags": {"mlflow.user": "ZoraWiktor", "mlflow.source.name": "train.py"}}
    others = ['{"tags": {"mlflow.user": "sam"}}', '{"tags": []}', '{"uri": "s3://x"}', "[1]", "{"]
    with database.sessions.engine.begin() as connection:
        rows = [
            {"name": str(number), "dataset_source": text}
            for number, text in enumerate([json.dumps(hers), *others, None])
        ]
        connection.execute(sa.insert(SOURCES), rows)

    name = database.erase(NAME)

    hers["tags"]["mlflow.user"] = name
    kept = [json.dumps(hers), *others, None]
    with database.sessions.engine.connect() as connection:
        found = connection.execute(sa.select(SOURCES.c.dataset_source).order_by(SOURCES.c.name))
        assert list(found.scalars()) == kept


def test_what_replaced_what_is_proved_by_the_entry(database: Database) -> None:
    lived(database)
    (before,) = column(database, tables.decisions.c.dossier_digest)
    database.erase(NAME)

    with database.sessions.engine.connect() as connection:
        (instead,) = replaced(connection, [before]).values()
        assert replaced(connection, [instead, "sha256:nothing"]) == {}
        data = connection.execute(
            sa.select(tables.blobs.c.data).where(tables.blobs.c.digest == instead)
        ).scalar_one()
    assert of_bytes(data) == instead
    database.run("UPDATE governance_redactions SET replacement = 'x' WHERE digest = :d", d=before)
    with database.sessions.engine.connect() as connection:
        assert replaced(connection, [before]) == {}


def test_no_file_of_the_database_holds_the_name(
    database: Database, url: str, tmp_path: Path
) -> None:
    lived(database)
    database.run("DELETE FROM tags WHERE key = 'team'")
    database.run("UPDATE runs SET name = 'a run'")
    with database.sessions.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("ANALYZE")
    files = _files(database, tmp_path)
    database.erase(NAME)
    database.sessions.dispose()

    assert scrub(url) == []

    assert not [path.name for path in files() if NAME.encode() in path.read_bytes().lower()]
    assert scrub(url) == []  # repeatable


def test_files_are_not_called_clean_while_an_older_transaction_sees_the_name(
    database: Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database.sessions.engine.dialect.name == "sqlite":
        pytest.skip("SQLite rewrites its file without an older transaction, or not at all")
    lived(database)
    monkeypatch.setattr("mlflow_governance.store.scrub.BUSY_TIMEOUT_MS", 300)
    other = sa.create_engine(url, isolation_level="REPEATABLE READ")
    with other.connect() as old:
        old.exec_driver_sql("SELECT 1")  # a picture of the database, of no table of it
        database.erase(NAME)
        with pytest.raises(Unavailable):
            scrub(url)
    other.dispose()
    monkeypatch.undo()  # other tests have transactions, too

    assert scrub(url) == []


def test_files_are_clean_though_others_write_all_the_time(database: Database, url: str) -> None:
    if database.sessions.engine.dialect.name == "sqlite":
        pytest.skip("SQLite rewrites its file when it is its turn, as any writer")
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            database.fill(1)

    with ThreadPoolExecutor(4) as pool:
        busy = [pool.submit(write) for _ in range(4)]
        try:
            assert scrub(url) == []
        finally:
            over.set()
        for one in busy:
            one.result()


def test_two_clean_the_files_at_once(database: Database, url: str) -> None:
    if database.sessions.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one of them repeat the command")
    lived(database)
    database.sessions.dispose()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(scrub, [url] * 2)) == [[], []]


def test_what_only_an_administrator_can_clean_is_told(database: Database, url: str) -> None:
    if database.sessions.engine.dialect.name == "sqlite":
        pytest.skip("whoever can write to the file can rewrite it")
    role, schema = f"role_{uuid.uuid4().hex}", database.run("SELECT current_schema()")[0][0]
    tables_there = [name for (name,) in database.run(
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")]  # fmt: skip
    database.run(f"CREATE ROLE {role}")
    try:
        database.run(f"GRANT ALL ON SCHEMA {schema} TO {role}")
        for name in tables_there:
            database.run(f"ALTER TABLE {name} OWNER TO {role}")
        database.run("CREATE TABLE of_another (name text)")
        left = scrub(f"{url}%20-crole%3D{role}")
    finally:
        database.run(f"REASSIGN OWNED BY {role} TO CURRENT_USER")
        database.run(f"DROP OWNED BY {role}")
        database.run(f"DROP ROLE {role}")

    mend = [sentence.rpartition(": ")[2] for sentence in left]
    assert mend == ["VACUUM FULL of_another", "VACUUM FULL pg_catalog.pg_statistic", "CHECKPOINT"]


def _files(database: Database, tmp_path: Path) -> Any:
    if database.sessions.engine.dialect.name == "sqlite":
        assert any(NAME.encode() in path.read_bytes().lower() for path in tmp_path.iterdir())
        return lambda: [path for path in tmp_path.iterdir() if path.is_file()]
    ((root,),) = database.run("SHOW data_directory")
    ((oid,),) = database.run("SELECT oid FROM pg_database WHERE datname = current_database()")
    folder = Path(root) / "base" / str(oid)
    try:
        present = folder.is_dir() and bool(list(folder.iterdir()))
    except PermissionError:
        present = False
    if not present:
        pytest.skip("the files of the PostgreSQL server are not on this host")
    known = {path.name for path in folder.iterdir()}
    mine = {path.rpartition("/")[2] for path in _relations(database)}

    def files() -> list[Path]:
        # What was there of these tables, and whatever came since.
        now = {path.name: path for path in folder.iterdir()}
        stems = mine | (now.keys() - known)
        return [path for name, path in now.items() if re.split(r"[._]", name)[0] in stems]

    database.run("CHECKPOINT")
    assert any(NAME.encode() in path.read_bytes().lower() for path in files())
    return files


def _relations(database: Database) -> list[str]:
    query = """
        SELECT pg_relation_filepath(r) FROM (
            SELECT c.oid AS r FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'i')
            UNION SELECT c.reltoastrelid FROM pg_class c JOIN pg_namespace n
            ON n.oid = c.relnamespace
            WHERE n.nspname = current_schema() AND c.reltoastrelid <> 0
            UNION SELECT 'pg_catalog.pg_statistic'::regclass::oid
        ) AS relations
    """
    return [path for (path,) in database.run(query) if path]


def test_every_column_in_which_mlflow_keeps_a_login_is_known() -> None:
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.model_registry.dbmodels import models as _registry  # noqa: F401
    from mlflow.store.tracking.dbmodels import models as _tracking  # noqa: F401

    telling = re.compile(r"user|_by$|creator|owner|author|approver|reviewer|email|^source_id$")
    found = {
        (table.name, column.name)
        for table in Base.metadata.tables.values()
        for column in table.c
        if telling.search(column.name) and isinstance(column.type, sa.String)
    }
    known = {
        (table.name, column.name)
        for table in Base.metadata.tables.values()
        for column, _ in mlflow_people._places(table)
    }
    others = {("entity_associations", "source_id"), ("inputs", "source_id"),
              ("evaluation_dataset_records", "source_id")}  # fmt: skip
    assert found - known - others == set()
    assert {("runs", "user_id"), ("tags", "value"), ("model_versions", "user_id")} <= known


def test_an_operator_named_like_somebody_is_not_that_person(database: Database) -> None:
    with database.store.begin() as uow:
        uow.record(event(person="os:ann"))
        uow.record(event(person="ann@example.com", reason=""))
        uow.record(event(person="ann", reason=""))

    with database.store.read() as reading:
        acts = reading.acts_of(Person.known_as("Ann"))
        both = reading.acts_of(Person.known_as("ann", ["ann@example.com"]))
    assert [act.index for act in acts] == [2]
    assert [act.index for act in both] == [1, 2]
    assert acts[0].at == both[0].at == both[1].at
    assert Actor("Ann").person == "ann"
    assert AT.isoformat()[:19] in acts[0].at
