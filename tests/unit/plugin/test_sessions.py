"""MLflow's rows and ours: one transaction, or none."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Conflict, Unavailable
from mlflow_governance.plugin.refusals import Refusal
from mlflow_governance.store.unit_of_work import SqlUnitOfWork
from tests.unit.plugin.builders import NAME, Governed
from tests.unit.workflows.builders import ALICE


def _power_cut() -> Exception:
    return RuntimeError("the power failed")


def test_a_version_is_not_registered_when_its_record_cannot_be_written(governed: Governed) -> None:
    governed.model()
    governed.store.create_registered_model(NAME)

    with (
        governed.failing(SqlUnitOfWork, "record", _power_cut),
        pytest.raises(Refusal, match="nothing was changed") as refusal,
    ):
        governed.register()

    assert refusal.value.get_http_status_code() == 409
    assert governed.count("model_versions") == 0
    assert governed.count("governance_versions") == 0
    assert governed.register().version == 1
    governed.agrees()


def test_nothing_is_recorded_when_mlflow_cannot_write_its_version(governed: Governed) -> None:
    governed.model()
    governed.store.create_registered_model(NAME)
    before = governed.count("governance_ledger_entries")

    with (
        governed.failing(SqlAlchemyStore, "create_model_version", _power_cut),
        pytest.raises(Refusal),
    ):
        governed.register()

    assert governed.count("model_versions") == 0
    assert governed.count("governance_ledger_entries") == before


def test_an_alias_stays_where_it_was_when_its_move_cannot_be_recorded(governed: Governed) -> None:
    governed.candidate()
    governed.candidate("1/models/m-2/artifacts")
    governed.store.set_registered_model_alias(NAME, "try", "1")

    with governed.failing(SqlUnitOfWork, "record", _power_cut), pytest.raises(Refusal):
        governed.store.set_registered_model_alias(NAME, "try", "2")

    assert governed.store.get_model_version_by_alias(NAME, "try").version == 1
    governed.agrees()


def test_a_stage_stays_when_its_record_cannot_be_written(governed: Governed) -> None:
    ref = governed.candidate()

    with governed.failing(SqlUnitOfWork, "record", _power_cut), pytest.raises(Refusal):
        governed.move(ref, "Staging")

    assert governed.store.get_model_version(NAME, 1).current_stage == "Candidate"
    governed.agrees()


def test_a_deletion_mlflow_cannot_make_leaves_the_version_governed(governed: Governed) -> None:
    ref = governed.candidate()

    with (
        governed.failing(SqlAlchemyStore, "delete_model_version", _power_cut),
        pytest.raises(Refusal),
    ):
        governed.store.delete_model_version(NAME, 1)

    assert governed.record(ref) is not None
    assert governed.store.get_model_version(NAME, 1).current_stage == "Candidate"
    governed.agrees()


def test_what_mlflow_raises_inside_comes_out_as_it_was(governed: Governed) -> None:
    ref = governed.candidate()
    ports = governed.store.governance.ports

    with pytest.raises(MlflowException, match="not found"), ports.store.begin():
        SqlAlchemyStore.get_model_version(governed.store, "nobody", 1)
    with pytest.raises(Conflict, match="mine"), ports.store.begin():
        raise Conflict("mine")

    assert governed.record(ref) is not None


def test_a_session_of_another_thread_is_not_joined(governed: Governed) -> None:
    governed.candidate()
    seen: list[bool] = []

    def look() -> None:
        with governed.store.sessions.for_mlflow() as session:
            seen.append(session is mine)

    with governed.store.sessions.for_us(False) as mine:
        with governed.store.sessions.for_mlflow() as joined:
            assert joined is mine
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    with governed.store.sessions.for_mlflow() as own:
        assert own is not mine

    assert seen == [False]


def test_a_reading_of_ours_is_not_joined_by_what_mlflow_writes(governed: Governed) -> None:
    sessions = governed.store.sessions
    with sessions.for_us(True) as reading, sessions.for_mlflow(read_only=False) as writing:
        assert writing is not reading


def test_a_locked_database_is_a_clear_503_and_works_again_afterwards(governed: Governed) -> None:
    ref = governed.candidate()
    governed.impatient()
    path = governed.database.removeprefix("sqlite:///")

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Refusal, match="does not answer") as refusal:
            governed.move(ref, "Staging")
        with pytest.raises(MlflowException) as tag:
            governed.store.set_model_version_tag(NAME, 1, ModelVersionTag("a", "b"))
        other.execute("ROLLBACK")

    assert refusal.value.get_http_status_code() == 503
    assert tag.value.get_http_status_code() == 503
    assert governed.store.get_model_version(NAME, 1).current_stage == "Candidate"
    governed.agrees()
    governed.move(ref, "Staging")
    governed.agrees()


def test_a_full_database_is_a_clear_503_and_works_again_afterwards(governed: Governed) -> None:
    ref = governed.candidate()
    with governed.store.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    def full(raw: Any, *_: object) -> None:
        raw.execute(f"PRAGMA max_page_count = {pages}")

    sa.event.listen(governed.store.engine, "checkout", full)
    for number in range(500):  # refusals are recorded until the last free page is used up
        governed.actor = replace(ALICE, id=f"alice-{number}")  # what repeats is only counted
        with pytest.raises(Refusal) as refusal:
            governed.move(ref, "Approved")
        if refusal.value.get_http_status_code() != 403:
            break
    governed.actor = ALICE
    sa.event.remove(governed.store.engine, "checkout", full)
    governed.store.engine.dispose()

    assert "no room left; nothing was changed" in refusal.value.message
    assert refusal.value.get_http_status_code() == 503
    governed.agrees()
    governed.move(governed.candidate("1/models/m-2/artifacts"), "Staging")
    governed.agrees()


def test_our_store_says_unavailable_and_not_something_of_mlflows(governed: Governed) -> None:
    governed.candidate()
    governed.impatient()
    path = governed.database.removeprefix("sqlite:///")

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with (
            pytest.raises(Unavailable, match="does not answer"),
            governed.store.governance.ports.store.begin(),
        ):
            pass


def test_a_mirror_that_fails_leaves_the_transition_standing(governed: Governed) -> None:
    from mlflow_governance.plugin.catalogue import MlflowCatalogue

    ref = governed.candidate()

    with governed.failing(MlflowCatalogue, "mirror", _power_cut):
        governed.move(ref, "Staging")

    version = governed.store.get_model_version(NAME, 1)
    assert version.current_stage == "Staging"
    assert version.tags["governance.stage"] == Stage.CANDIDATE.value
    assert governed.count("governance_tasks") > 0
    governed.agrees()
