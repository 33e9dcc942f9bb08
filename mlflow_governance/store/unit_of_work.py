"""The store the workflows stand on: one transaction a unit of work, taken one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from mlflow_governance.ledger.note import NoteSigner
from mlflow_governance.store.aliases import AliasReading, AliasWriting
from mlflow_governance.store.documents import DocumentReading
from mlflow_governance.store.erasure import ErasureWriting
from mlflow_governance.store.inspections import InspectionReading, InspectionWriting
from mlflow_governance.store.ledger_table import (
    Head,
    LedgerWriting,
    StoredHead,
    TimelineReading,
    take_turn,
)
from mlflow_governance.store.mlflow_tables import MlflowStageTable
from mlflow_governance.store.policies import PolicyReading, PolicyWriting
from mlflow_governance.store.scan import PersonReading
from mlflow_governance.store.sessions import SessionFactory, transaction
from mlflow_governance.store.versions import StageWriter, VersionReading


class SqlReading(
    PolicyReading,
    InspectionReading,
    DocumentReading,
    VersionReading,
    AliasReading,
    TimelineReading,
    PersonReading,
):
    """A consistent view of our tables (:class:`workflows.ports.Reading`)."""


class SqlUnitOfWork(
    ErasureWriting, PolicyWriting, InspectionWriting, AliasWriting, LedgerWriting, SqlReading
):
    """One writing transaction (:class:`workflows.ports.UnitOfWork`)."""

    def __init__(
        self, session: Session, head: Head, stored: StoredHead, write_stage: StageWriter
    ) -> None:
        super().__init__(session)
        self._head = head
        self._stored = stored
        self._write_stage = write_stage


class SqlStore:
    """Opens units of work (:class:`workflows.ports.Store`). Safe to share between threads.

    Args:
        session_factory: called with ``read_only``, gives a fresh session that commits at exit.
        ledger_signer: the ledger key.
        mlflow_stage_writer: compare-and-swaps MLflow's own stage in the same session.
    """

    def __init__(
        self,
        session_factory: SessionFactory,
        *,
        ledger_signer: NoteSigner,
        mlflow_stage_writer: StageWriter | None = None,
    ) -> None:
        self._sessions = session_factory
        self._head = Head(ledger_signer)
        self._write_stage = mlflow_stage_writer or MlflowStageTable()

    @contextmanager
    def begin(self) -> Iterator[SqlUnitOfWork]:
        """A writing transaction, serialised with every other one.

        Raises:
            Conflict: somebody else wrote the same thing first.
            Unavailable: the database does not answer, or was locked for too long.
            ConfigurationError: our tables are not there.
        """
        with transaction(self._sessions, read_only=False) as session:
            stored = take_turn(session)
            yield SqlUnitOfWork(session, self._head, stored, self._write_stage)

    @contextmanager
    def read(self) -> Iterator[SqlReading]:
        """A reading transaction: every query in it sees the same state.

        Raises:
            Unavailable: the database does not answer.
            ConfigurationError: our tables are not there.
        """
        with transaction(self._sessions, read_only=True) as session:
            yield SqlReading(session)
