"""The store the workflows stand on: one transaction a unit of work, taken one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_governance.ledger.note import NoteSigner
from mlflow_governance.store.aliases import AliasReading, AliasWriting
from mlflow_governance.store.chronicle import ChronicleReading
from mlflow_governance.store.documents import DocumentReading
from mlflow_governance.store.erasure import ErasureWriting
from mlflow_governance.store.evidence import EvidenceRows
from mlflow_governance.store.handover import HandoverWriting
from mlflow_governance.store.inspections import InspectionReading, InspectionWriting
from mlflow_governance.store.ledger import SqlLedger
from mlflow_governance.store.ledger_table import (
    Head,
    StoredHead,
    TimelineReading,
    take_turn,
)
from mlflow_governance.store.mlflow_tables import MlflowStageTable
from mlflow_governance.store.policies import PolicyReading, PolicyWriting
from mlflow_governance.store.proven import EntryReading, Prover
from mlflow_governance.store.repeats import RepeatReading, RepeatWriting
from mlflow_governance.store.retention import RetentionWriting
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
    EntryReading,
    RepeatReading,
    ChronicleReading,
    EvidenceRows,
    PersonReading,
):
    """A consistent view of our tables (:class:`workflows.ports.Reading`)."""


class SqlUnitOfWork(
    ErasureWriting,
    RetentionWriting,
    PolicyWriting,
    InspectionWriting,
    AliasWriting,
    RepeatWriting,
    HandoverWriting,
    SqlReading,
):
    """One writing transaction (:class:`workflows.ports.UnitOfWork`)."""

    def __init__(
        self,
        session: Session,
        head: Head,
        stored: StoredHead,
        write_stage: StageWriter,
        wrote: Callable[[str, Iterable[int]], None],
    ) -> None:
        super().__init__(session)
        self._head = head
        self._stored = stored
        self._write_stage = write_stage
        self._wrote = wrote

    def committed(self, _: object = None) -> None:
        """What was read, or written, stands in the database."""
        self._head.committed(self._written or self._stored)
        for about, places in self._places.items():
            self._wrote(about, places)


class SqlStore:
    """Opens units of work (:class:`workflows.ports.Store`). Safe to share between threads.

    Args:
        session_factory: called with ``read_only``, gives a fresh session that commits at exit.
        ledger_signer: the ledger key.
        renew_signer: see :class:`~mlflow_governance.store.ledger_table.Head`.
        mlflow_stage_writer: compare-and-swaps MLflow's own stage in the same session.
    """

    def __init__(
        self,
        session_factory: SessionFactory,
        *,
        ledger_signer: NoteSigner,
        renew_signer: Callable[[str], NoteSigner | None] | None = None,
        mlflow_stage_writer: StageWriter | None = None,
    ) -> None:
        self._sessions = session_factory
        self._head = Head(ledger_signer, renew_signer)
        self._prover = Prover(SqlLedger(session_factory).inclusion_proofs, self._head.signed)
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
            unit = SqlUnitOfWork(
                session, self._head, stored, self._write_stage, self._prover.wrote
            )
            # The session of MLflow's own change commits later than this block ends.
            sa.event.listen(session, "after_commit", unit.committed, once=True)
            yield unit

    @contextmanager
    def read(self) -> Iterator[SqlReading]:
        """A reading transaction: every query in it sees the same state.

        Raises:
            Unavailable: the database does not answer.
            ConfigurationError: our tables are not there.
        """
        with transaction(self._sessions, read_only=True) as session:
            yield SqlReading(session)

    def prove(
        self, entries: Iterable[tuple[int, bytes]], *, about: str = "", below: int = 0
    ) -> None:
        """See :class:`workflows.ports.Store`."""
        self._prover.prove(entries, about=about, below=below)
