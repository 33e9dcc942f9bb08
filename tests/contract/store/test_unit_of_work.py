"""One transaction: everything or nothing, one after the other, and typed failures."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import (
    ConfigurationError,
    Conflict,
    GovernanceError,
    InvalidRequest,
    Unavailable,
)
from mlflow_governance.evidence.interface import EvidenceItem
from mlflow_governance.ledger import checkpoint
from mlflow_governance.store.sessions import session_factory_for
from mlflow_governance.store.tables import metadata
from mlflow_governance.store.unit_of_work import SqlStore, SqlUnitOfWork
from mlflow_governance.workflows.ports import Attachment, VersionRecord
from tests.unit.ledger.builders import signer
from tests.unit.store.builders import (
    AT,
    MODEL,
    Database,
    approval,
    decision,
    event,
    version,
)

THREADS = 8


def everything(uow: SqlUnitOfWork, record: VersionRecord) -> Iterator[None]:
    """One act with all that belongs to it, step by step."""
    made, dossier = decision(Gate.PROMOTE)
    for step in (
        lambda: uow.move_stage(record, record.with_(stage=Stage.STAGING)),
        lambda: uow.add_decision(made, dossier, record.uid),
        lambda: uow.add_evidence(record.uid, [EvidenceItem("a", b"a")]),
        lambda: uow.add_attachments(record.uid, [Attachment("b", b"b")]),
        lambda: uow.add_approval(approval(record)),
        lambda: uow.block(MODEL, Stage.QUARANTINED, AT),
        lambda: uow.record(event()),
        lambda: uow.add_task("mirror", record.uid),
    ):
        step()
        yield


def contents(database: Database) -> dict[str, list[tuple[object, ...]]]:
    with database.sessions.engine.connect() as connection:
        found = {
            table.name: [tuple(row) for row in connection.execute(sa.select(table))]
            for table in metadata.sorted_tables
        }
        mlflow = connection.execute(sa.text("SELECT current_stage FROM model_versions"))
        return {**found, "model_versions": [tuple(row) for row in mlflow]}


@pytest.mark.parametrize("steps", range(1, 9))
def test_a_crash_between_two_statements_leaves_nothing_half_written(
    database: Database, steps: int
) -> None:
    database.fill(3)
    record = database.register()
    before = contents(database)

    def crash() -> None:
        with database.store.begin() as uow:
            doing = everything(uow, record)
            for _ in range(steps):
                next(doing)
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        crash()

    assert contents(database) == before
    with database.store.begin() as uow:
        for _ in everything(uow, record):
            pass
    assert database.ledger.verify(database.key).size == 4


def test_of_eight_who_move_one_version_exactly_one_wins(database: Database) -> None:
    record = database.register()
    start = threading.Barrier(THREADS)

    def attempt(number: int) -> bool:
        start.wait()
        try:
            with database.store.begin() as uow:
                uow.move_stage(record, record.with_(stage=Stage.STAGING))
                uow.record(event(reason=str(number)))
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(THREADS) as pool:
        won = list(pool.map(attempt, range(THREADS)))

    assert won.count(True) == 1
    assert database.ledger.verify(database.key).size == 1
    with database.store.read() as reading:
        (entry,) = reading.timeline("u1")
    assert entry["reason"] == str(won.index(True))


def test_writers_of_several_workers_take_turns(database: Database) -> None:
    each = 5
    workers = [SqlStore(database.sessions, ledger_signer=database.signer) for _ in range(4)]

    def work(store: SqlStore) -> list[int]:
        indexes = []
        for _ in range(each):
            with store.begin() as uow:
                indexes.append(uow.record(event()))
        return indexes

    with ThreadPoolExecutor(len(workers)) as pool:
        indexes = [index for own in pool.map(work, workers) for index in own]

    assert sorted(indexes) == list(range(each * len(workers)))
    assert database.ledger.verify(database.key).size == each * len(workers)


def test_a_reading_sees_one_state_while_others_write(database: Database) -> None:
    database.register()
    with database.store.read() as reading:
        before = reading.versions()
        with database.store.begin() as uow:
            uow.add_version(version(ref=VersionRef("churn", 2)))
            uow.record(event())
        assert reading.versions() == before
        assert reading.ledger_size() == 0

    with database.store.read() as reading:
        assert len(reading.versions()) == 2
        assert reading.ledger_size() == 1


def test_a_writer_sees_what_it_has_written(database: Database) -> None:
    record = version()
    with database.store.begin() as uow:
        uow.add_version(record)
        assert uow.version(record.ref) == record


def test_a_lost_head_row_stops_every_change(database: Database) -> None:
    database.run("DELETE FROM governance_ledger_head")
    with pytest.raises(ConfigurationError), database.store.begin():
        pass


def test_missing_tables_name_the_mend(url: str) -> None:
    sessions = session_factory_for(url)
    store = SqlStore(sessions, ledger_signer=signer())
    for enter in (store.begin, store.read):
        with pytest.raises(ConfigurationError) as caught, enter() as unit:
            unit.versions()
        assert "mlflow-governance" in caught.value.advice
    sessions.dispose()


def test_a_program_that_is_older_than_the_tables_changes_nothing_and_says_why(
    database: Database,
) -> None:
    database.fill(1)
    database.run("DROP TABLE governance_private")  # as if a later version had no use for it

    with pytest.raises(ConfigurationError, match="of another version"):
        database.fill(1)

    assert database.ledger.verify(database.key).size == 1


def too_long(uow: SqlUnitOfWork) -> None:
    uow.add_version(version(location="x" * 3000))


def with_nul(uow: SqlUnitOfWork) -> None:
    uow.add_version(version(submitter="a\0b"))


def with_a_lone_surrogate(uow: SqlUnitOfWork) -> None:
    uow.add_version(version(submitter="\ud800"))


@pytest.mark.parametrize("act", [too_long, with_nul, with_a_lone_surrogate])
def test_values_the_database_cannot_keep_are_typed_refusals(
    database: Database, act: Callable[[SqlUnitOfWork], None]
) -> None:
    # SQLite keeps the first two; whatever is refused is refused as the request's fault.
    try:
        with database.store.begin() as uow:
            act(uow)
    except InvalidRequest:
        assert database.count("governance_versions") == 0


def test_errors_of_the_body_pass_through_a_factory_that_wraps_them(database: Database) -> None:
    class Foreign(Exception):
        """What MLflow's session maker turns every other exception into."""

    @contextmanager
    def wrapping(read_only: bool) -> Iterator[Session]:
        try:
            with database.sessions(read_only) as session:
                yield session
        except Exception as error:
            raise Foreign(str(error)) from error

    store = SqlStore(wrapping, ledger_signer=database.signer)

    with pytest.raises(GovernanceError, match="mine") as caught, store.begin():
        raise Conflict("mine")
    assert type(caught.value) is Conflict
    with pytest.raises(KeyError), store.begin():
        raise KeyError("mine")
    record = database.register()
    with pytest.raises(Conflict, match="first"), store.begin() as uow:
        uow.add_version(record)


def test_a_database_that_is_away_is_unavailable() -> None:
    sessions = session_factory_for("postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=2")
    store = SqlStore(sessions, ledger_signer=signer())
    for enter in (store.begin, store.read):
        with pytest.raises(Unavailable), enter():
            pass


def test_the_head_is_the_first_thing_a_writer_touches(database: Database) -> None:
    statements: list[str] = []

    def note(_c: object, _k: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    sa.event.listen(database.sessions.engine, "before_cursor_execute", note)
    with database.store.begin() as uow:
        uow.versions()

    assert statements[0].startswith("UPDATE governance_ledger_head")


def test_a_writer_does_not_wait_for_ever_for_one_that_hangs(database: Database) -> None:
    if database.sessions.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has its busy timeout for it")
    with database.store.begin() as uow:
        shown = uow._connection.exec_driver_sql("SHOW lock_timeout").scalar_one()
    assert shown == "20s"
    assert database.run("SHOW lock_timeout")[0][0] == "0"  # of this transaction only


def test_a_rolled_back_append_does_not_count(database: Database) -> None:
    database.fill(2)
    before = database.ledger.head()

    def fail_late() -> None:
        with database.store.begin() as uow:
            uow.record(event())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_late()
    database.fill(1)

    assert checkpoint.parse(before).size == 2
    assert database.ledger.verify(database.key, [before]).size == 3


def test_a_stage_writer_of_the_plugin_takes_part_in_the_transaction(database: Database) -> None:
    record = database.register()
    calls = []

    def writer(session: Session, *rest: object) -> int:
        session.execute(sa.text("UPDATE model_versions SET current_stage = 'seen'"))
        calls.append(rest[:3])
        return 0

    store = SqlStore(database.sessions, ledger_signer=database.signer, mlflow_stage_writer=writer)
    with pytest.raises(Conflict), store.begin() as uow:
        uow.move_stage(record, record.with_(stage=Stage.STAGING))

    assert calls == [(record.ref, Stage.CANDIDATE, Stage.STAGING)]
    assert database.run("SELECT current_stage FROM model_versions")[0][0] == "Candidate"
    assert uuid.UUID(record.uid)
