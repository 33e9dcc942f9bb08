"""The worker beside the server: finishes registrations, mirrors, sends events, exports heads.

Any number may run against one database: tasks and deliveries are leased.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from mlflow_governance.outbox.cloudevents import source_of
from mlflow_governance.outbox.relay import Relay
from mlflow_governance.plugin.decision_log import decision_relay
from mlflow_governance.plugin.ledger_watch import LedgerWatch
from mlflow_governance.store.decision_feed import SqlDecisionFeed
from mlflow_governance.store.outbox_queue import OutboxQueue
from mlflow_governance.store.task_queue import SqlTaskQueue
from mlflow_governance.workflows.block_watch import BlockWatch
from mlflow_governance.workflows.perform import perform
from mlflow_governance.workflows.repeats import sum_up
from mlflow_governance.workflows.trust import note_trust_now

if TYPE_CHECKING:
    from mlflow_governance.plugin.assembly import Assembly
    from mlflow_governance.workflows.ports import Task
    from mlflow_governance.workflows.queue import DecisionFeed, TaskQueue

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.5
_LEASE_SECONDS = 20.0
"""After so long another worker takes over from one that was killed; a living one renews it."""
_SUM_UP_SECONDS = 15.0
_WATCH_SECONDS = 300.0
_VERIFY_SECONDS = 6 * 3600.0
_FORGET_SECONDS = 3600.0
_RETRY_SECONDS = (2.0, 10.0, 60.0, 300.0, 1800.0, *(7200.0,) * 84)
"""A week: a disk that is full over the weekend costs no mirror."""


class Worker:
    """One worker process.

    Args:
        governance: the assembly of the store it works for.
        tasks: the queue of registrations and mirrors.
        queue: the queue of deliveries.
        feed: recorded decisions, for the decision log; None keeps no such log.
    """

    def __init__(
        self,
        governance: Assembly,
        tasks: TaskQueue,
        queue: OutboxQueue,
        feed: DecisionFeed | None = None,
    ) -> None:
        self._governance = governance
        self._tasks = tasks
        self._trust_seen = ""
        self._sum_up_at = self._forget_at = 0.0
        self._queue = queue
        settings = governance.settings
        self._relay = Relay(queue, settings.webhooks, source_of(settings.registry_name))
        self._decisions = decision_relay(settings, governance.ports, feed)

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        threads = [
            threading.Thread(target=self._relay.run, args=(stop,), name="relay"),
            threading.Thread(
                target=self._governance.anchoring.run, args=(stop,), name="checkpoints"
            ),
            threading.Thread(target=self._watch, args=(stop,), name="watch"),
            threading.Thread(target=self._verify, args=(stop,), name="ledger"),
        ]
        if self._decisions is not None:
            relay = self._decisions
            threads.append(threading.Thread(target=relay.run, args=(stop,), name="decision-log"))
        for thread in threads:
            thread.start()
        _every(_POLL_SECONDS, stop, self._turn)
        for thread in threads:
            thread.join(timeout=30)

    def _watch(self, stop: threading.Event) -> None:
        # Of its own: the first look reads every move there ever was.
        _every(_WATCH_SECONDS, stop, BlockWatch(self._governance.ports).look)

    def _verify(self, stop: threading.Event) -> None:
        governance = self._governance
        watch = LedgerWatch(governance.ports, governance.verify, stop.wait)
        _every(_VERIFY_SECONDS, stop, watch.look)

    def _turn(self) -> None:
        self._governance.ports.policy.look()
        self.note_trust()
        self._sum_up()
        self._forget_events()
        self.run_tasks()

    def _forget_events(self) -> None:
        if time.monotonic() >= self._forget_at:
            self._forget_at = time.monotonic() + _FORGET_SECONDS
            self._queue.forget(self._governance.settings.webhooks)

    def _sum_up(self) -> None:
        if time.monotonic() >= self._sum_up_at:
            self._sum_up_at = time.monotonic() + _SUM_UP_SECONDS
            sum_up(self._governance.ports)

    def note_trust(self) -> None:
        """Record a change of the trust policy, also where nobody asks for a decision."""
        now = self._governance.ports.examiner.trust_digest
        if now != self._trust_seen:
            note_trust_now(self._governance.ports)
            self._trust_seen = now

    def run_tasks(self) -> int:
        """Do what is due; returns how many tasks were done."""
        done = 0
        # One at a time: a lease must not run out behind a large model in front.
        while tasks := self._tasks.claim(1, _LEASE_SECONDS):
            (task,) = tasks
            try:
                with self._held(task):
                    perform(self._governance.ports, task)
            except Exception as error:
                _log.warning("task %s of %s: %s", task.kind, task.version_uid, error)
                self._put_off(task, str(error))
            else:
                self._tasks.done(task)
                done += 1
        return done

    @contextmanager
    def _held(self, task: Task) -> Iterator[None]:
        # A model may take longer to hash than anybody should wait for a worker that died.
        over = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(task, over), name="lease")
        renewing.start()
        try:
            yield
        finally:
            over.set()
            renewing.join()

    def _renew(self, task: Task, over: threading.Event) -> None:
        while not over.wait(_LEASE_SECONDS / 3):
            try:
                self._tasks.renew(task, _LEASE_SECONDS)
            except Exception:
                _log.exception("the lease of a task could not be renewed")

    def _put_off(self, task: Task, error: str) -> None:
        if task.attempts > len(_RETRY_SECONDS):
            self._tasks.give_up(task, error)
            return
        delay = timedelta(seconds=_RETRY_SECONDS[max(task.attempts, 1) - 1])
        self._tasks.retry(task, error, self._governance.ports.clock() + delay)


def _every(seconds: float, stop: threading.Event, act: Callable[[], object]) -> None:
    while not stop.is_set():
        try:
            act()
        except Exception:
            _log.exception("the worker goes on after an error")
        stop.wait(seconds)


def build(registry_uri: str) -> Worker:
    """The worker for a ``governance+…`` registry URI."""
    from mlflow_governance.plugin.registry_store import build as build_store

    store = build_store(registry_uri)
    kept = timedelta(days=store.governance.settings.retention.events_days)
    return Worker(
        store.governance,
        SqlTaskQueue(store.sessions.for_us),
        OutboxQueue(store.sessions.for_us, kept=kept),
        SqlDecisionFeed(store.sessions.for_us),
    )
