"""A registry that is eight years old: everything retention has to tell apart happened in it."""

from __future__ import annotations

import contextlib
import shutil
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.event import Act
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Denied
from mlflow_governance.ledger.entry import read_entry
from mlflow_governance.store import mlflow_tables as theirs
from mlflow_governance.workflows.admit import admit
from mlflow_governance.workflows.delete import delete_version
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import transition
from mlflow_governance.workflows.refuse import Refused, refuse
from mlflow_governance.workflows.repeats import sum_up
from mlflow_governance.workflows.retention import Review, expire
from mlflow_governance.workflows.retention_options import Retention
from mlflow_governance.workflows.start import record_start
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.workflows.builders import ALICE, SAM, Clock
from tests.unit.workflows.watched import Watched

BEGAN = datetime(2026, 11, 21, 3, tzinfo=UTC)
ENDED = datetime(2034, 12, 1, tzinfo=UTC)
QUENTIN = Actor("quentin.orsay", authenticated=True)
WANDA = Actor("wanda.orsay", authenticated=True)
WHY = "was for the quarterly forecast"
OPS = Actor("os:ops", authenticated=True)
MONTH = timedelta(days=30)


class Aged(Watched):
    """A registry whose clock is turned by hand."""

    @property
    def clock(self) -> Clock:
        clock = self.ports.clock
        assert isinstance(clock, Clock)
        return clock

    def start(self, settings: str = "as ever") -> None:
        """A server starts; what waited to be summed up is."""
        sum_up(self.ports)
        record_start(self.ports, {}, {"settings": settings})

    def live_until(self, end: datetime) -> None:
        """A start a month, and nothing else."""
        while self.clock.now + MONTH < end:
            self.clock.now += MONTH
            self.start()
        self.clock.now = end

    def delete(self, ref: VersionRef, request: Request | None = None) -> None:
        delete_version(self.ports, request or Request(ALICE, ref), lambda: None)
        table = theirs.model_versions
        row = (table.c.name == ref.name, table.c.version == ref.version)
        self.run(sa.update(table).where(*row).values(current_stage="Deleted_Internal"))

    def deleted(self, name: str, by: Actor = QUENTIN, *, location: str = "") -> VersionRef:
        """A version that was submitted by somebody and deleted, which was refused at first."""
        ref = self.register(name, location=location, actor=by)
        with contextlib.suppress(Denied):
            admit(self.ports, Request(by, ref), "artifact")
        self.settle(ref, by)
        self.delete(ref, Request(by, ref, f"{name} {WHY}"))
        return ref

    def review(self, now: datetime | None = None, **terms: object) -> Review:
        """What may go."""
        with self.ports.store.read() as reading:
            blocked = reading.blocked_digests()
        retention = Retention(**terms)  # type: ignore[arg-type]
        return Review(retention, now or self.clock.now, blocked).read(self.ledger.entries())

    def expire(self, now: datetime | None = None, **terms: object) -> int:
        """Let go of everything that may go."""
        review = self.review(now, **terms)
        groups = review.groups(self.ledger.entries())
        return expire(self.ports.store, review, groups, OPS, "retention review")

    def going(self, now: datetime | None = None, **terms: object) -> dict[int, str]:
        """Index and act of what may go."""
        groups = self.review(now, **terms).groups(self.ledger.entries())
        return {one.position: one.act for group in groups for one in group}

    def told_of(self, name: str) -> list[str]:
        """The acts of the entries about a model that are still there."""
        entries = [read_entry(data) for _, data in self.ledger.entries()]
        return [one["act"] for one in entries if one["subject"]["name"] == name]

    def index_of(self, act: Act, name: str | None = None) -> int:
        """The first entry of an act about a model."""
        for index, data in self.ledger.entries():
            entry = read_entry(data)
            if entry["act"] == act and entry["subject"]["name"] == name:
                return index
        raise LookupError(act)


def live(folder: Path) -> Path:
    """Live eight years; returns where."""
    registry = Aged(folder)
    registry.clock.now = BEGAN
    registry.start("at first")
    registry.approved("churn")
    for _ in range(2):
        with contextlib.suppress(Denied):
            refuse(registry.ports, QUENTIN, Refused("delete a model"), "no", "ask")
    with contextlib.suppress(Denied):
        transition(registry.ports, Request(QUENTIN, VersionRef("churn", 1)), Stage.DEPRECATED)
    registry.deleted("spam", WANDA)
    registry.deleted("kept")  # a legal hold names it
    registry.deleted("again")
    registry.forget_catalogue(VersionRef("again", 1))
    registry.accepted("again")
    registry.accepted("leak")
    withdraw(registry.ports, Request(SAM, VersionRef("leak", 1), "a leak"), Stage.REVOKED)
    registry.deleted("copy", location="leak-1")  # of what was revoked
    registry.accepted("late", location="spam-1")
    registry.settled()
    registry.live_until(datetime(2031, 1, 1, tzinfo=UTC))
    registry.delete(VersionRef("late", 1))
    registry.live_until(ENDED)
    registry.settled()
    registry.sessions.dispose()
    return folder


@cache
def lived_in(folder: Path) -> Path:
    """The same, once for everybody who asks; nobody may change it."""
    return live(folder / "eight-years")


def opened(lived: Path, folder: Path) -> Aged:
    """A copy of it, as old."""
    shutil.copytree(lived, folder)
    registry = Aged(folder)
    registry.clock.now = ENDED
    return registry
