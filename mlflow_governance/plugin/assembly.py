"""Puts the governance of one MLflow store together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlflow_governance import config
from mlflow_governance.audit.desk import Desk
from mlflow_governance.bootstrap import (
    Publications,
    build_ports,
    evidence_exporter,
    ledger_key,
    ledger_signer,
    prepare_home,
    watched,
)
from mlflow_governance.config import Settings
from mlflow_governance.custody.ledger import settle, successor
from mlflow_governance.ledger.note import LedgerKey
from mlflow_governance.ledger.verify import LedgerReport
from mlflow_governance.outbox.anchoring import Anchoring
from mlflow_governance.outbox.sightings import require_current
from mlflow_governance.plugin.anchors import anchoring_of
from mlflow_governance.plugin.artifacts import ServerArtifacts
from mlflow_governance.plugin.catalogue import MlflowCatalogue
from mlflow_governance.plugin.decision_log import logging_downloads
from mlflow_governance.plugin.download_count import counting_downloads
from mlflow_governance.plugin.identity import Identity
from mlflow_governance.plugin.sessions import JoinableSessions
from mlflow_governance.store.checkpoint_book import SqlCheckpointBook
from mlflow_governance.store.decision_feed import SqlDecisionFeed
from mlflow_governance.store.decisions import SqlDecisions
from mlflow_governance.store.differences import SqlDifferences
from mlflow_governance.store.ledger import SqlLedger
from mlflow_governance.store.ledger_scan import Reading
from mlflow_governance.store.migrate import upgrade
from mlflow_governance.store.unit_of_work import SqlStore
from mlflow_governance.web.lookback import Lookback
from mlflow_governance.workflows.chronicle import Witnessed
from mlflow_governance.workflows.ports import Ports

if TYPE_CHECKING:
    from sqlalchemy import Engine


@dataclass(frozen=True)
class Assembly:
    """Everything one governed store carries with it."""

    settings: Settings
    ports: Ports
    artifacts: ServerArtifacts
    identity: Identity
    ledger: SqlLedger
    past: Lookback
    publications: Publications
    anchoring: Anchoring
    evidence: Desk

    @classmethod
    def build(cls, engine: Engine, sessions: JoinableSessions) -> Assembly:
        """Migrate our tables beside MLflow's, and connect every port.

        Raises:
            ConfigurationError: the home folder, a key or the policy bundle is not usable.
            LedgerError: the database is older than, or another than, what was signed.
        """
        settings = config.load(config.home_folder())
        prepare_home(settings)
        upgrade(engine)
        ledger = SqlLedger(sessions.for_us)
        settle(settings, ledger.handovers())
        anchoring = anchoring_of(settings, ledger, SqlCheckpointBook(sessions.for_us))
        # Before anything is recorded on top of it.
        require_current([anchoring.home, *anchoring.destinations], ledger, anchoring.key)
        artifacts = ServerArtifacts()
        store = SqlStore(
            sessions.for_us,
            ledger_signer=ledger_signer(settings),
            renew_signer=successor(settings),
        )
        ports = build_ports(settings, store, artifacts, MlflowCatalogue(sessions))
        ports = logging_downloads(settings, ports, SqlDecisionFeed(sessions.for_us))
        ports = counting_downloads(settings, ports)
        ports = watched(settings, ports, SqlDifferences(sessions.for_us))
        return cls(
            settings=settings,
            ports=ports,
            artifacts=artifacts,
            identity=Identity(settings.auth),
            ledger=ledger,
            past=_lookback(settings, sessions),
            publications=Publications(settings, ports),
            anchoring=anchoring,
            evidence=Desk(
                lambda: evidence_exporter(settings, store), settings.home / "evidence.lock"
            ),
        )

    def verify(self, reading: Reading) -> LedgerReport:
        """Verify the ledger, and that it continues every checkpoint exported to the home folder.

        Raises:
            LedgerError: something does not hold.
        """
        # Each time anew: the ledger's key may have changed since.
        key, exported = ledger_key(self.settings), _exported(self.settings)
        return self.ledger.verify(key, exported, reading)


class _ReadHere(SqlLedger):
    """Verified by this process alone: a request starts no others beside its server."""

    def verify(
        self, key: LedgerKey, checkpoints: Iterable[str] = (), reading: Reading | None = None
    ) -> LedgerReport:
        """See :meth:`SqlLedger.verify`."""
        return super().verify(key, checkpoints, reading or Reading(processes=1))


def _lookback(settings: Settings, sessions: JoinableSessions) -> Lookback:
    ledger = _ReadHere(sessions.for_us)

    def witnessed() -> Witnessed:  # each time anew: the ledger's key may have changed since
        exported = _exported(settings)
        return Witnessed(ledger, ledger_key(settings), lambda: exported)

    return Lookback(witnessed, SqlDecisions(sessions.for_us).one)


def _exported(settings: Settings) -> list[str]:
    files = sorted(settings.checkpoint_folder.glob("*.checkpoint"))
    return [path.read_text("utf-8") for path in files]
