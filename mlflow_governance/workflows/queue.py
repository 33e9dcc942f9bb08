"""The seam between what waits in the database and who works it off: the relay and the worker.

Both queues lease their items: an item whose holder died becomes due again when the lease ends,
so everything is done at least once and every receiver has to bear a repetition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from mlflow_governance.workflows.ports import Task


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one target.

    ``body`` is the event, a JSON object, and empty where ``problem`` says why it cannot be told;
    ``attempts`` counts this attempt, from 1.
    """

    event_id: str
    target: str
    attempts: int
    body: bytes
    problem: str = ""


class Recipient(Protocol):
    """A target as the queue needs to know it."""

    @property
    def name(self) -> str:
        """Names the target in the queue."""

    @property
    def acts(self) -> Sequence[str]:
        """The acts it wants; empty means all."""


class Queue(Protocol):
    """Events to deliver. Safe to share between threads and processes."""

    def enqueue_missing(self, targets: Sequence[Recipient]) -> int:
        """Make a delivery of every event a target wants and has not got; returns how many.

        A new target gets every event of the time that is kept, the oldest first; one that wants
        more acts than before gets them from now on.
        """

    def claim(
        self, target_names: Sequence[str], limit: int, lease_seconds: float, now: datetime
    ) -> list[Delivery]:
        """Lease due deliveries to these targets, in the order of the ledger."""

    def delivered(self, delivery: Delivery, status: int) -> None:
        """The target took it, with this HTTP status."""

    def failed(
        self, delivery: Delivery, error: str, retry_at: datetime | None, status: int | None = None
    ) -> None:
        """The target did not take it; ``retry_at`` None gives it up (dead letter)."""

    def replay(self, *, event_id: str | None = None, target: str | None = None) -> int:
        """Make deliveries of an event, to a target, or both, due again; how many."""

    def pending_counts(self) -> Mapping[str, Mapping[str, int]]:
        """By target and state (``pending``, ``dead``), what is not delivered."""


class TaskQueue(Protocol):
    """Work for the worker. Safe to share between threads and processes."""

    def claim(self, limit: int, lease_seconds: float) -> list[Task]:
        """Lease due tasks, oldest first; ``attempts`` counts this attempt, from 1."""

    def renew(self, task: Task, lease_seconds: float) -> None:
        """The work goes on: the lease ends that long from now, if it is still this worker's."""

    def done(self, task: Task) -> None:
        """The work is done."""

    def retry(self, task: Task, error: str, at: datetime) -> None:
        """The work failed and is due again at that moment."""

    def give_up(self, task: Task, error: str) -> None:
        """The work failed for good; it stays visible with its error."""

    def pending_counts(self) -> Mapping[str, int]:
        """By state (``pending``, ``dead``), what is not done."""


@dataclass(frozen=True)
class StoredDecision:
    """A decision as recorded, for the decision log.

    ``position`` grows in the order of the commits. ``document`` and ``dossier`` are None where
    the stored bytes are no longer those that were stored.
    """

    position: int
    document: Mapping[str, Any] | None
    dossier: Mapping[str, Any] | None


@dataclass(frozen=True)
class LogPlace:
    """How far a sink of the decision log is: the lease on it, and the last position it has."""

    sink: str
    position: int
    lease: str = ""
    waiting: int = 0
    dropped: int = 0
    last_error: str = ""


class DecisionFeed(Protocol):
    """Recorded decisions, in order, with a place for each reader. Safe to share."""

    def after(self, position: int, limit: int) -> list[StoredDecision]:
        """The decisions recorded after a position, in order."""

    def waits(self, sink: str) -> bool:
        """Whether there are decisions the sink has not got."""

    def hold(self, sink: str, lease_seconds: float) -> LogPlace | None:
        """Lease a sink's place, from the first decision on if it is new; None: another has it."""

    def advance(self, place: LogPlace, position: int, dropped: int) -> bool:
        """The sink has everything up to there, but for ``dropped``; False: the lease is lost."""

    def release(self, place: LogPlace, error: str) -> None:
        """Give the lease back, with the error that ended the turn."""

    def lost(self, sink: str, number: int) -> None:
        """So many records never reached the sink and never will."""

    def places(self) -> list[LogPlace]:
        """Where every sink is."""
