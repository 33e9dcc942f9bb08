"""Our tables in a database MLflow made, in the transactions of MLflow's own session maker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Conflict
from mlflow_governance.ledger.note import Ed25519Signer
from mlflow_governance.store.ledger import SqlLedger
from mlflow_governance.store.migrate import upgrade
from mlflow_governance.store.unit_of_work import SqlStore
from tests.unit.store.builders import event, version


@pytest.fixture(scope="module")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

    folder: Path = tmp_path_factory.mktemp("mlflow")
    store = SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db")
    yield store
    store.engine.dispose()


def test_stage_ledger_and_mlflow_commit_together_or_not_at_all(mlflow_store: Any) -> None:
    upgrade(mlflow_store.engine)

    def sessions(read_only: bool) -> AbstractContextManager[Session]:
        return mlflow_store.ManagedSessionMaker(read_only=read_only)  # type: ignore[no-any-return]

    signer = Ed25519Signer("registry.example.org/ledger", Ed25519PrivateKey.generate())
    store = SqlStore(sessions, ledger_signer=signer)
    mlflow_store.create_registered_model("churn")
    mlflow_store.create_model_version("churn", "s3://bucket/model")
    record = version(ref=VersionRef("churn", 1), stage=Stage.NONE)
    with store.begin() as uow:
        uow.add_version(record)

    def fail_late() -> None:
        with store.begin() as uow:
            uow.move_stage(record, record.with_(stage=Stage.CANDIDATE))
            uow.record(event())
            raise Conflict("mine")

    with pytest.raises(Conflict, match="mine"):
        fail_late()
    assert mlflow_store.get_model_version("churn", "1").current_stage == "None"

    with store.begin() as uow:
        uow.move_stage(record, record.with_(stage=Stage.CANDIDATE))
        uow.record(event())
    assert mlflow_store.get_model_version("churn", "1").current_stage == "Candidate"
    with store.read() as reading:
        moved = reading.version(record.ref)
        assert moved is not None
        assert moved.stage is Stage.CANDIDATE
    assert SqlLedger(sessions).verify(signer.key).size == 1


def test_mlflow_still_finds_its_schema_complete(mlflow_store: Any) -> None:
    from mlflow.store.db.utils import _all_tables_exist, _verify_schema

    upgrade(mlflow_store.engine)

    assert _all_tables_exist(mlflow_store.engine)
    _verify_schema(mlflow_store.engine)
