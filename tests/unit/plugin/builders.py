"""A governed store in this process: MLflow's real tables and ours, real folders, set outcomes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.evidence.interface import EvidenceItem
from mlflow_governance.plugin.registry_store import GovernedStore, build
from mlflow_governance.store.sessions import session_factory_for
from mlflow_governance.workflows.attach import attach
from mlflow_governance.workflows.ports import Request, VersionRecord
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.workflows.agreement import disagreements
from tests.unit.workflows.builders import ALICE, SAM, SetOutcomes

NAME = "churn"


class Governed:
    """One installation in a folder, and the person who speaks."""

    def __init__(self, folder: Path, template: Path | None = None) -> None:
        if template is not None:
            shutil.copytree(template, folder, dirs_exist_ok=True)
        self.folder = folder
        self.database = f"sqlite:///{folder / 'mlflow.db'}"
        self.store: GovernedStore = build(f"governance+{self.database}")
        self.outcomes = SetOutcomes()
        assembly = self.store.governance
        self.store.governance = replace(
            assembly, ports=replace(assembly.ports, examiner=self.outcomes)
        )
        self.actor: Actor = ALICE
        identity: Any = assembly.identity
        identity.current = lambda *, fresh=True: self.actor

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    def model(self, place: str = "1/models/m-1/artifacts", content: str = "weights") -> Path:
        """A model directory below the artifact destination."""
        folder = self.artifacts / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "MLmodel").write_text("flavors: {}\n")
        (folder / "model.bin").write_text(content)
        return folder

    def register(self, place: str = "1/models/m-1/artifacts", name: str = NAME) -> VersionRef:
        """Register what lies there, as a client's request does."""
        if not self.knows(name):
            self.store.create_registered_model(name)
        version = self.store.create_model_version(name, f"mlflow-artifacts:/{place}")
        return VersionRef(name, version.version)

    def knows(self, name: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            self.store.get_registered_model(name)
        except MlflowException:
            return False
        return True

    def at_none(self, place: str = "1/models/m-1/artifacts") -> VersionRef:
        """A version the accept gate refused."""
        from mlflow_governance.core.dossier import Outcome
        from mlflow_governance.evidence.interface import Kind

        self.model(place)
        self.outcomes.spoiled = {Kind.SIGNATURE: Outcome.missing("not signed")}
        ref = self.register(place)
        self.outcomes.spoiled = {}
        return ref

    def candidate(self, place: str = "1/models/m-1/artifacts") -> VersionRef:
        """A version at Candidate."""
        if not (self.artifacts / place).is_dir():
            self.model(place, f"weights of {place}")
        return self.register(place)

    def staging(self, place: str = "1/models/m-1/artifacts") -> VersionRef:
        """A version at Staging, whose bytes anybody may have."""
        ref = self.candidate(place)
        self.move(ref, "Staging")
        return ref

    def move(self, ref: VersionRef, stage: str) -> None:
        self.store.transition_model_version_stage(ref.name, ref.version, stage, False)

    def withdraw(self, ref: VersionRef, stage: Stage) -> None:
        withdraw(self.store.governance.ports, Request(SAM, ref, "an incident"), stage)

    def attach(self, ref: VersionRef) -> None:
        item = EvidenceItem("attestations/canary.intoto.json", b"{}")
        attach(self.store.governance.ports, Request(ALICE, ref), item)

    def record(self, ref: VersionRef) -> VersionRecord | None:
        with self.store.governance.ports.store.read() as reading:
            return reading.version(ref)

    def agrees(self) -> None:
        """State, ledger, decisions and events tell one story."""
        from mlflow_governance.bootstrap import ledger_key

        sessions = session_factory_for(self.database)
        key = ledger_key(self.store.governance.settings)
        assert disagreements(sessions, key) == []
        sessions.dispose()

    def count(self, table: str) -> int:
        with self.store.engine.connect() as connection:
            return int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())

    def impatient(self, milliseconds: int = 100) -> None:
        """Wait only so long for a lock; MLflow sets 20 s at the start of every session."""

        def shortened(
            connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any
        ) -> tuple[str, Any]:
            return statement.replace("= 20000", f"= {milliseconds}"), parameters

        sa.event.listen(self.store.engine, "before_cursor_execute", shortened, retval=True)

    @contextmanager
    def failing(self, owner: type, name: str, error: Callable[[], Exception]) -> Any:
        """Inside, a method does its work and then fails."""
        original = getattr(owner, name)

        def method(*args: Any, **kwargs: Any) -> Any:
            original(*args, **kwargs)
            raise error()

        setattr(owner, name, method)
        try:
            yield
        finally:
            setattr(owner, name, original)
