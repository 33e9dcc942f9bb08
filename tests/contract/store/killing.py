"""A registry whose process is killed (SIGKILL) at any statement, on any database.

A worker prepares a registry, and forks for each step a child that acts and kills itself there. The
worker goes on with the same database, as another replica would: it finishes what the dead one left
to the worker, and everything has to agree.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.store import mlflow_tables as theirs
from mlflow_governance.store.books import SqlBooks
from mlflow_governance.store.mlflow_tables import model_versions
from mlflow_governance.store.task_queue import SqlTaskQueue
from mlflow_governance.workflows.accept import register, settle
from mlflow_governance.workflows.perform import perform
from mlflow_governance.workflows.ports import Request, VersionRecord
from mlflow_governance.workflows.validation.run import Scope, validate
from tests.unit.workflows.builders import ALICE
from tests.unit.workflows.dying import ACTS, NEW, Mortal, in_child, tags
from tests.unit.workflows.watched import FolderShelves

_READ = ("SELECT", "BEGIN", "PRAGMA", "SET")
_MOST_STEPS = 1000


class Slain(Mortal):
    """A registry with all of MLflow's rows that the validator compares."""

    days = 0
    """How far its worker's clock is ahead."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder, url=url)
        tags.drop(self.sessions.engine)  # MLflow's table of that name instead
        for table in (theirs.version_tags, theirs.model_tags):
            table.create(self.sessions.engine, checkfirst=True)
        self.ports = replace(self.ports, catalogue=TagRows(self))

    def register(self, name: str, version: int = 1, **options: Any) -> VersionRef:
        ref = super().register(name, version, **options)
        place = self.record(ref).location
        table = model_versions
        with self.sessions.engine.begin() as connection:
            connection.execute(
                sa.update(table)
                .where(table.c.name == name, table.c.version == version)
                .values(source=place, storage_location=place)
            )
        return ref

    def work_off(self) -> None:
        """What the worker does once everything is due, also what a dead one held."""
        clock = self.ports.clock
        queue = SqlTaskQueue(self.joined, lambda: clock() + timedelta(days=self.days))
        while tasks := queue.claim(8, 60):
            for task in tasks:
                perform(self.ports, task)
                queue.done(task)

    def agrees(self) -> None:
        """The ledger verifies, and no check of the validator finds anything."""
        super().agrees()
        books = SqlBooks(self.sessions, self.ledger_key)
        shelves = FolderShelves(self.artifacts.root)
        report = validate(books, shelves, Scope(), pause=lambda _: None)
        assert list(report.findings) == [], report.findings


class TagRows:
    """MLflow's tags, in the transaction that is open, as the plugin's catalogue writes them."""

    def __init__(self, registry: Slain) -> None:
        self._registry = registry

    def mirror(self, record: VersionRecord, told: Mapping[str, str]) -> None:
        table, ref = theirs.version_tags, record.ref
        key = {"workspace": ref.workspace, "name": ref.name, "version": ref.version}
        for name, value in told.items():
            mine = [table.c[k] == v for k, v in (key | {"key": name}).items()]
            self._registry.write(sa.delete(table).where(*mine))
            self._registry.write(sa.insert(table).values(**key, key=name, value=value))

    def set_status(self, record: VersionRecord, status: str, message: str) -> None:
        pass


def _register(registry: Slain) -> None:
    registry.model("new", "new weights")

    def row() -> tuple[VersionRef, str]:
        values = {"workspace": NEW.workspace, "name": NEW.name, "version": NEW.version}
        registry.write(
            sa.insert(model_versions).values(
                **values, current_stage="None", source="new", storage_location="new"
            )
        )
        return NEW, "new"

    with registry.store.read() as reading:
        known = reading.version(NEW)
    if known is None:
        register(registry.ports, lambda ref: Request(ALICE, ref), row, later=False)
    if known is None or known.stage is Stage.NONE:
        settle(registry.ports, Request(ALICE, NEW))


def _count_downloads(registry: Slain) -> None:
    # Any act that is an entry and nothing else.
    with registry.store.begin() as uow:
        uow.record(Event(Act.LEDGER_EXPORTED, "os:ops", registry.ports.clock(), reason="audit"))


KILLED: dict[str, tuple[Callable[[Any], None], Callable[[Any], None]]] = {
    **ACTS,
    "register": (Mortal.started, _register),
    "accept": (Mortal.registered, Slain.work_off),
    "record and nothing else": (Mortal.started, _count_downloads),
}
"""Name → what comes before, and the act; an act may be repeated after its process was killed."""


def kill_everywhere(folder: Path, url: str, name: str, reads_too: bool) -> int:
    """Kill the act at every step, one after the other; returns at how many it died.

    Args:
        folder: for models and keys.
        url: the database.
        name: one of :data:`KILLED`.
        reads_too: also before each statement that only reads.
    """
    registry = Slain(folder, url)
    before, act = KILLED[name]
    before(registry)
    for step in range(1, _MOST_STEPS):
        registry.days += 1
        registry.sessions.dispose()
        code = in_child(partial(_act, registry, act, Countdown(step, reads_too)))
        registry.agrees()
        if act is not Slain.work_off:  # else the worker itself is killed again and again
            registry.work_off()
            registry.agrees()
        if code == 0:
            return step - 1
        assert code == -signal.SIGKILL, f"step {step} ended with {code}"
    raise AssertionError("the act never ended")


def _act(registry: Slain, act: Callable[[Any], None], countdown: Countdown) -> None:
    engine = registry.sessions.engine
    engine.dispose(close=False)  # the parent's connections are the parent's
    countdown.watch(engine)
    act(registry)


class Countdown:
    """Kills this process at its n-th step on a database.

    Steps are: before each statement, before and after each commit.
    """

    def __init__(self, step: int, reads_too: bool = True) -> None:
        self._left, self._reads_too, self._wrote = step, reads_too, False

    def watch(self, engine: sa.Engine | type[sa.Engine]) -> None:
        """Count what happens on an engine, or on all there will be."""
        pool = sa.Pool if isinstance(engine, type) else engine
        sa.event.listen(engine, "before_cursor_execute", self._statement)
        sa.event.listen(engine, "commit", lambda _: self._commit())
        sa.event.listen(pool, "checkin", lambda *_: self._committed())

    def pass_(self) -> None:
        """One step more."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def _statement(self, _: object, __: object, statement: str, *___: object) -> None:
        reads = statement.lstrip().upper().startswith(_READ)
        self._wrote = self._wrote or not reads
        if self._reads_too or not reads:
            self.pass_()

    def _commit(self) -> None:
        if self._reads_too or self._wrote:
            self.pass_()

    def _committed(self) -> None:
        if self._reads_too or self._wrote:
            self._wrote = False
            self.pass_()
