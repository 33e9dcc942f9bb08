"""Everything the registry can be asked for, and a store that dies in the middle of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import sqlalchemy as sa

from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Denied
from mlflow_governance.evidence.interface import EvidenceItem, Kind
from mlflow_governance.store.mlflow_tables import model_aliases, model_versions
from mlflow_governance.store.sessions import Sessions
from mlflow_governance.store.task_queue import SqlTaskQueue
from mlflow_governance.store.unit_of_work import SqlStore
from mlflow_governance.workflows.accept import register, settle
from mlflow_governance.workflows.alias import AliasMove, move_alias
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.attach import attach
from mlflow_governance.workflows.delete import delete_version
from mlflow_governance.workflows.perform import perform
from mlflow_governance.workflows.ports import Reading, Request, UnitOfWork, VersionRecord
from mlflow_governance.workflows.promote import rejudge, transition
from mlflow_governance.workflows.start import record_start
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.workflows.agreement import disagreements
from tests.unit.workflows.builders import ALICE, PIA, SAM, InProcessRegistry

tags = sa.Table(
    "model_version_tags",
    sa.MetaData(),
    sa.Column("ref", sa.String(256), primary_key=True),
    sa.Column("tags", sa.JSON),
)
REF = VersionRef("churn", 1)
NEW = VersionRef("churn", 7)
_CHAMPION = {"workspace": REF.workspace, "name": REF.name, "alias": "champion", "version": 1}


class Death(BaseException):
    """The process ends here; nothing that catches errors catches it."""


class Dying:
    """A store that dies at its ``step``-th step: before each call, before and after a commit."""

    def __init__(self, inner: SqlStore, step: int, die: Callable[[], NoReturn]) -> None:
        self._inner, self._left, self._die = inner, step, die
        self.steps: list[str] = []

    def read(self) -> AbstractContextManager[Reading]:
        return self._inner.read()

    def prove(
        self, entries: Iterable[tuple[int, bytes]], *, about: str = "", below: int = 0
    ) -> None:
        self._inner.prove(entries, about=about, below=below)

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        with self._inner.begin() as uow:
            yield _Watched(uow, self.pass_)
            self.pass_("commit")
        self.pass_("after the commit")

    def pass_(self, name: str) -> None:
        self.steps.append(name)
        self._left -= 1
        if self._left == 0:
            self._die()


class _Watched:
    def __init__(self, uow: Any, pass_: Callable[[str], None]) -> None:
        self._uow, self._pass = uow, pass_

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._uow, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            self._pass(name)
            return found(*args, **kwargs)

        return called


class JoinedSessions(Sessions):
    """Sessions that know which one is open, as the plugin's do: MLflow's rows go into it."""

    open: Any = None

    @contextmanager
    def __call__(self, read_only: bool) -> Iterator[Any]:
        with super().__call__(read_only) as session:
            if not read_only:
                self.open = session
            yield session


class Mortal(InProcessRegistry):
    """A registry whose acts may end anywhere."""

    def __init__(self, folder: Path, *, url: str = "") -> None:
        super().__init__(folder, url=url)
        self.joined = JoinedSessions(self.sessions.engine)
        self.store = SqlStore(self.joined, ledger_signer=self.signer)
        self.ports = replace(self.ports, store=self.store, catalogue=TagTable(self))
        tags.create(self.sessions.engine, checkfirst=True)

    def dying_at(self, step: int, die: Callable[[], NoReturn]) -> Dying:
        """From now on the store dies at that step."""
        store = Dying(self.store, step, die)
        self.ports = replace(self.ports, store=store)
        return store

    def immortal(self) -> None:
        """The store lives again."""
        self.ports = replace(self.ports, store=self.store)

    def write(self, statement: sa.Executable) -> None:
        """What MLflow's own store method does in the open unit of work."""
        self.joined.open.connection().execute(statement)

    def candidate(self) -> None:
        self.accepted(REF.name)

    def staging(self) -> None:
        self.candidate()
        transition(self.ports, Request(ALICE, REF), Stage.STAGING)

    def ready(self) -> None:
        self.staging()
        approve(self.ports, Request(SAM, REF, "fine"), "security", "approve")
        approve(self.ports, Request(PIA, REF, "fine"), "product", "approve")

    def approved(self) -> None:
        self.ready()
        transition(self.ports, Request(PIA, REF), Stage.APPROVED)

    def quarantined(self) -> None:
        self.approved()
        withdraw(self.ports, Request(SAM, REF, "odd"), Stage.QUARANTINED)

    def aliased(self) -> None:
        self.approved()
        ACTS["move an alias"][1](self)

    def registered(self) -> None:
        self.register(REF.name)

    def started(self) -> None:
        record_start(self.ports, {})

    def work_off(self) -> None:
        """What the worker does once everything is due."""
        clock = self.ports.clock
        queue = SqlTaskQueue(self.joined, lambda: clock() + timedelta(days=3650))
        while tasks := queue.claim(8, 60):
            for task in tasks:
                perform(self.ports, task)
                queue.done(task)

    def agrees(self) -> None:
        """State, ledger, decisions and events tell one story."""
        assert disagreements(self.sessions, self.ledger_key) == []

    def mirrored(self) -> None:
        """What follows a commit has followed: tags, attached files, and no task is left."""
        self.work_off()
        with self.sessions(True) as session:
            told = {row.ref: row.tags for row in session.connection().execute(sa.select(tags))}
        with self.store.read() as reading:
            for record in reading.versions():
                assert told[str(record.ref)]["governance.stage"] == record.stage.value
                assert reading.attachments(record.uid, pending_only=True) == []
                folder = self.artifacts.root / record.location / record.ref.folder
                for attachment in reading.attachments(record.uid):
                    assert (folder / attachment.path).read_bytes() == attachment.data


class TagTable:
    """MLflow's tags, in the transaction that is open, as the plugin's catalogue writes them."""

    def __init__(self, registry: Mortal) -> None:
        self._registry = registry

    def mirror(self, record: VersionRecord, told: Mapping[str, str]) -> None:
        row = {"ref": str(record.ref), "tags": dict(told)}
        self._registry.write(sa.delete(tags).where(tags.c.ref == row["ref"]))
        self._registry.write(sa.insert(tags).values(row))

    def set_status(self, record: VersionRecord, status: str, message: str) -> None:
        pass


def _register(registry: Mortal) -> None:
    registry.model("new", "new weights")

    def row() -> tuple[VersionRef, str]:
        registry.write(
            sa.insert(model_versions).values(
                workspace=NEW.workspace, name=NEW.name, version=NEW.version, current_stage="None"
            )
        )
        return NEW, "new"

    with registry.store.read() as reading:
        if reading.version(NEW) is None:
            register(registry.ports, lambda ref: Request(ALICE, ref), row, later=False)
    transition(registry.ports, Request(ALICE, NEW), Stage.CANDIDATE)


def _to(stage: Stage) -> Callable[[Mortal], None]:
    def act(registry: Mortal) -> None:
        transition(registry.ports, Request(SAM, REF, "because"), stage)

    return act


def _refused(registry: Mortal) -> None:
    try:
        transition(registry.ports, Request(SAM, REF), Stage.APPROVED)
    except Denied:
        return
    raise AssertionError("it was allowed")


def _approve(registry: Mortal) -> None:
    approve(registry.ports, Request(SAM, REF, "looked at it"), "security", "approve")


def _approve_own(registry: Mortal) -> None:
    try:
        approve(registry.ports, Request(ALICE, REF, "mine"), "security", "approve")
    except Denied:
        return
    raise AssertionError("it was allowed")


def _alias(registry: Mortal) -> None:
    def row() -> None:
        registry.write(sa.delete(model_aliases).where(model_aliases.c.alias == "champion"))
        registry.write(sa.insert(model_aliases).values(_CHAMPION))

    with registry.store.read() as reading:
        known = reading.aliases(REF.name, REF.workspace)
    before = known[0].version if known else None
    move_alias(registry.ports, Request(ALICE, REF), AliasMove("champion", before), row)


def _unalias(registry: Mortal) -> None:
    def row() -> None:
        registry.write(sa.delete(model_aliases).where(model_aliases.c.alias == "champion"))

    with registry.store.read() as reading:
        (known,) = reading.aliases(REF.name, REF.workspace)
    if known.version is not None:
        move_alias(registry.ports, Request(ALICE, REF), AliasMove("champion", 1, True), row)


def _attach(registry: Mortal) -> None:
    item = EvidenceItem("attestations/canary.intoto.json", b"{}")
    attach(registry.ports, Request(ALICE, REF), item)


def _judge_again(registry: Mortal) -> None:
    # Something was found out since: what stands already would not be written again.
    registry.outcomes.spoiled = {Kind.SBOM: Outcome.passed(components=4)}
    rejudge(registry.ports, Request(SAM, REF))


def _delete(registry: Mortal) -> None:
    def row() -> None:
        registry.write(
            sa.update(model_versions)
            .where(model_versions.c.version == REF.version)
            .values(current_stage="Deleted_Internal")
        )

    with registry.store.read() as reading:
        if reading.version(REF) is not None:
            delete_version(registry.ports, Request(ALICE, REF), row)


ACTS: dict[str, tuple[Callable[[Mortal], None], Callable[[Mortal], None]]] = {
    "register": (Mortal.started, _register),
    "accept": (Mortal.registered, _to(Stage.CANDIDATE)),
    "promote to staging": (Mortal.candidate, _to(Stage.STAGING)),
    "be refused": (Mortal.staging, _refused),
    "promote to approved": (Mortal.ready, _to(Stage.APPROVED)),
    "deprecate": (Mortal.approved, _to(Stage.DEPRECATED)),
    "judge again": (Mortal.approved, _judge_again),
    "approve": (Mortal.staging, _approve),
    "approve one's own": (Mortal.staging, _approve_own),
    "quarantine": (Mortal.approved, _to(Stage.QUARANTINED)),
    "restore": (Mortal.quarantined, _to(Stage.APPROVED)),
    "revoke": (Mortal.approved, _to(Stage.REVOKED)),
    "move an alias": (Mortal.approved, _alias),
    "delete an alias": (Mortal.aliased, _unalias),
    "attach evidence": (Mortal.staging, _attach),
    "delete": (Mortal.candidate, _delete),
}
"""Name → what comes before, and the act itself; an act may be repeated after it died."""


def raise_death() -> NoReturn:
    raise Death


def in_child(act: Callable[[], None]) -> int:
    """Fork, act, and how the child ended: its exit code, or the negative number of a signal."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_between_steps(folder: Path, name: str) -> int:
    """In a process that forks: end an act at each step in turn; returns at how many it ended."""
    start = folder / "start"
    prepared = Mortal(start)
    ACTS[name][0](prepared)
    prepared.sessions.dispose()

    for step in range(1, 100):
        site = folder / str(step)
        shutil.copytree(start, site)
        code = in_child(partial(_ended_at, site, name, step))

        registry = Mortal(site)
        registry.agrees()
        ACTS[name][1](registry)  # whoever asked asks again
        registry.mirrored()
        registry.agrees()
        registry.sessions.dispose()
        if code == 0:
            return step - 1
        assert code == 9, f"step {step} ended with {code}"
    raise AssertionError("the act never ended")


def _ended_at(folder: Path, name: str, step: int) -> None:
    registry = Mortal(folder)
    registry.dying_at(step, lambda: os._exit(9))
    ACTS[name][1](registry)


def work_until_killed(folder: Path, url: str, number: int) -> None:
    """Target of a process: act on and on, until somebody kills it."""
    registry = Mortal(folder, url=url)
    everything(registry, range(number * 1000, number * 1000 + 1000))


def everything(registry: Mortal, numbers: range) -> None:
    """The life of one version after another, with a refusal and a withdrawal in it."""
    for number in numbers:
        ref = VersionRef("busy", number + 1)
        place = f"busy-{number}"
        registry.model(place, f"weights {number}")

        def row(ref: VersionRef = ref, place: str = place) -> tuple[VersionRef, str]:
            registry.write(
                sa.insert(model_versions).values(
                    workspace=ref.workspace, name=ref.name, version=ref.version,
                    current_stage="None",
                )
            )  # fmt: skip
            return ref, place

        register(registry.ports, lambda r: Request(ALICE, r), row, later=False)
        settle(registry.ports, Request(ALICE, ref))
        transition(registry.ports, Request(ALICE, ref), Stage.STAGING)
        approve(registry.ports, Request(SAM, ref, "fine"), "security", "approve")
        approve(registry.ports, Request(PIA, ref, "fine"), "product", "approve")
        transition(registry.ports, Request(PIA, ref), Stage.APPROVED)
        withdraw(registry.ports, Request(SAM, ref, "an incident"), Stage.REVOKED)
