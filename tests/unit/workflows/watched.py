"""A registry in one process with all of MLflow's tables the validator compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.evidence.interface import EvidenceItem
from mlflow_governance.store import mlflow_tables as theirs
from mlflow_governance.store.books import SqlBooks
from mlflow_governance.store.task_queue import SqlTaskQueue
from mlflow_governance.workflows.alias import AliasMove, move_alias
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.attach import attach
from mlflow_governance.workflows.delete import delete_version
from mlflow_governance.workflows.mirror import mirror_now
from mlflow_governance.workflows.perform import perform
from mlflow_governance.workflows.ports import Request, VersionRecord
from mlflow_governance.workflows.promote import transition
from mlflow_governance.workflows.validation.books import Snapshot
from mlflow_governance.workflows.validation.findings import Finding
from mlflow_governance.workflows.validation.run import Scope, validate
from tests.unit.workflows.builders import (
    ALICE,
    PIA,
    SAM,
    FolderArtifacts,
    InProcessRegistry,
)


class FolderShelves(FolderArtifacts):
    """Folders as the validator reads them; MLflow's address is the folder's name."""

    def beside(self, location: str, folder: str) -> dict[str, Digest]:
        root = self._folder(location) / folder
        return {
            path.relative_to(root).as_posix(): of_bytes(path.read_bytes())
            for path in root.rglob("*")
            if path.is_file()
        }

    def locate(self, uri: str, workspace: str) -> str:
        return uri


class TagRows:
    """MLflow's tags in MLflow's table, written after the unit of work instead of inside it."""

    def __init__(self, registry: Watched) -> None:
        self._registry = registry
        self.pending: list[tuple[VersionRef, dict[str, str]]] = []

    def mirror(self, record: VersionRecord, tags: Mapping[str, str]) -> None:
        self.pending.append((record.ref, dict(tags)))

    def set_status(self, record: VersionRecord, status: str, message: str) -> None:
        pass

    def write(self) -> None:
        table = theirs.version_tags
        for ref, tags in self.pending:
            key = {"workspace": ref.workspace, "name": ref.name, "version": ref.version}
            for name, value in tags.items():
                mine = [table.c[k] == v for k, v in (key | {"key": name}).items()]
                self._registry.run(sa.delete(table).where(*mine))
                self._registry.run(sa.insert(table).values(**key, key=name, value=value))
        self.pending.clear()


class Watched(InProcessRegistry):
    """A registry, and its validation."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        for table in (theirs.version_tags, theirs.model_tags):
            table.create(self.sessions.engine, checkfirst=True)
        self.shelves = FolderShelves(self.artifacts.root)
        self.tags = TagRows(self)
        self.ports = replace(self.ports, catalogue=self.tags)

    def run(self, statement: sa.Executable) -> int:
        """Change the database behind the registry's back; returns how many rows."""
        with self.sessions.engine.begin() as connection:
            return connection.execute(statement).rowcount

    def register(self, name: str, version: int = 1, **options: Any) -> VersionRef:
        ref = super().register(name, version, **options)
        table = theirs.model_versions
        row = (table.c.name == name, table.c.version == version)
        place = self.record(ref).location
        self.run(sa.update(table).where(*row).values(source=place, storage_location=place))
        return ref

    def approved(self, name: str, version: int = 1, **options: Any) -> VersionRef:
        """A version at Approved with the alias ``champion``."""
        ref = self.approved_again(name, version, **options)
        self.alias(ref, "champion")
        return ref

    def approved_again(self, name: str, version: int, **options: Any) -> VersionRef:
        """A version at Approved, a canary attached late, an objection withdrawn."""
        ref = self.accepted(name, version, **options)
        transition(self.ports, Request(ALICE, ref), Stage.STAGING)
        item = EvidenceItem("attestations/canary.intoto.json", b'{"canary": true}')
        attach(self.ports, Request(ALICE, ref), item)
        approve(self.ports, Request(SAM, ref, "read it"), "security", "approve")
        approve(self.ports, Request(PIA, ref, "no"), "product", "reject")
        approve(self.ports, Request(PIA, ref, "well then"), "product", "approve")
        transition(self.ports, Request(PIA, ref), Stage.APPROVED)
        return ref

    def alias(self, ref: VersionRef, alias: str, before: int | None = None) -> None:
        """Point an alias at a version, MLflow's row after ours."""
        table = theirs.model_aliases
        key = {"workspace": ref.workspace, "name": ref.name, "alias": alias}
        move_alias(self.ports, Request(SAM, ref), AliasMove(alias, before), lambda: None)
        self.run(sa.delete(table).where(*(table.c[k] == v for k, v in key.items())))
        self.run(sa.insert(table).values(**key, version=ref.version))

    def delete(self, ref: VersionRef) -> None:
        """Delete a version, as MLflow marks it."""
        delete_version(self.ports, Request(ALICE, ref), lambda: None)
        table = theirs.model_versions
        row = (table.c.name == ref.name, table.c.version == ref.version)
        self.run(sa.update(table).where(*row).values(current_stage="Deleted_Internal"))

    def forget_catalogue(self, ref: VersionRef) -> None:
        """As MLflow when a registered model is deleted: the rows are gone."""
        table = theirs.model_versions
        self.run(sa.delete(table).where(table.c.name == ref.name))

    def settled(self) -> None:
        """The worker has done everything."""
        clock = self.ports.clock
        queue = SqlTaskQueue(self.sessions, lambda: clock().replace(year=2999))
        while tasks := queue.claim(8, 60):
            for task in tasks:
                perform(self.ports, task)
                queue.done(task)
        with self.ports.store.read() as reading:
            uids = [record.uid for record in reading.versions()]
        for uid in uids:
            mirror_now(self.ports, uid)
        self.tags.write()

    def books(self) -> SqlBooks:
        return SqlBooks(self.sessions, self.ledger_key)

    def look(self) -> Snapshot:
        return self.books().look()

    def findings(self, **scope: Any) -> list[Finding]:
        """What a validation finds."""
        report = validate(self.books(), self.shelves, Scope(**scope), pause=lambda _: None)
        return list(report.findings)
