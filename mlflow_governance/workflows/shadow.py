"""A second bundle beside the live one: asked what that was asked, it changes nothing.

Whoever asks the live bundle only puts the question into a bounded queue, and goes on. One thread
answers it with the shadow bundle and writes down differences, together and now and then. A full
queue, a bundle that breaks, a database that is away: all of that is counted, and none of it
reaches a request.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from mlflow_governance.core import canonical, moment
from mlflow_governance.core.decision import Decision
from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.dossier import Dossier, Gate
from mlflow_governance.policy.interface import PolicyEngine
from mlflow_governance.policy.replay import Change, Verdict, replay
from mlflow_governance.workflows.recorded import model_name

_log = logging.getLogger(__name__)
QUEUE = 1000
"""Questions that may wait."""
EVERY = 10.0
"""Seconds between two writings."""
_MOST_PENDING = 1000
"""Differences that are kept while the database is away."""


@dataclass(frozen=True)
class Difference:
    """Judgements of one version that two bundles answered differently, and alike among them.

    Which dossiers they were made from differs in the time and in who asked; one of them is kept,
    by digest. ``count`` says how many there were.
    """

    live: Digest
    shadow: Digest
    gate: Gate
    version_uid: str
    model: str
    version: int
    before: Verdict
    after: Verdict
    actor: str
    dossier: Digest
    first_at: datetime
    last_at: datetime
    count: int = 1

    @property
    def key(self) -> Digest:
        """What makes two differences one."""
        return of_bytes(
            canonical.encode(
                {
                    "live": self.live,
                    "shadow": self.shadow,
                    "gate": self.gate.value,
                    "uid": self.version_uid,
                    "before": self.before.to_document(),
                    "after": self.after.to_document(),
                }
            )
        )

    def joined(self, other: Difference) -> Difference:
        """Both together."""
        return replace(
            self,
            count=self.count + other.count,
            first_at=min(self.first_at, other.first_at),
            last_at=max(self.last_at, other.last_at),
        )


@dataclass(frozen=True)
class Counts:
    """Of one shadow bundle, in judgements: compared, not compared for want of room, failed."""

    asked: int = 0
    dropped: int = 0
    failed: int = 0


class Notes(Protocol):
    """Where what a shadow found is kept."""

    def add(
        self,
        shadow: Digest,
        counts: Counts,
        found: Sequence[tuple[Difference, bytes]],
        at: datetime,
    ) -> None:
        """Add to what is there; with each difference the bytes of its dossier."""


class Shadow:
    """Asks a second bundle. Safe to share between threads, and after a fork.

    Args:
        engine: of the shadow bundle; used in one thread of each process.
        notes: where differences are kept.
        size: how many questions may wait.
        every: seconds between two writings.
        clock: the moment a writing is dated with.
    """

    def __init__(
        self,
        engine: PolicyEngine,
        notes: Notes,
        *,
        size: int = QUEUE,
        every: float = EVERY,
        clock: Callable[[], datetime] = moment.now,
    ) -> None:
        self._engine, self._notes, self._clock = engine, notes, clock
        self._size, self._every = size, every
        self._lock = threading.Lock()
        self._asking: _Asking | None = None
        self._stopped = False
        self._stop_at_exit = False

    def watch(self, dossier: Dossier, decision: Decision) -> None:
        """Take a judgement in. Never waits, and never raises."""
        try:
            if decision.policy_digest != self._engine.policy_digest and not self._stopped:
                self._mine().put(dossier, decision)
        except Exception:  # no judgement may suffer from being watched
            _log.exception("a judgement could not be watched")

    def stop(self, seconds: float = 5.0) -> None:
        """Answer what waits, write it down, and end; at most so many seconds."""
        with self._lock:
            self._stopped, asking = True, self._asking
        if asking is not None and asking.process == os.getpid():
            asking.stop(seconds)

    def _mine(self) -> _Asking:
        asking = self._asking
        if asking is not None and asking.process == os.getpid():
            return asking
        with self._lock:
            asking = self._asking
            if asking is None or asking.process != os.getpid():
                # The thread of a parent did not come along, and its queue may be locked for ever.
                asking = _Asking(self._engine, self._notes, self._size, self._every, self._clock)
                asking.start()
                self._asking = asking
                if not self._stop_at_exit:
                    self._stop_at_exit = True
                    atexit.register(self.stop)
            return asking


class _Asking:
    """The queue and the thread of one process."""

    def __init__(
        self,
        engine: PolicyEngine,
        notes: Notes,
        size: int,
        every: float,
        clock: Callable[[], datetime],
    ) -> None:
        self.process = os.getpid()
        self._engine, self._notes, self._every, self._clock = engine, notes, every, clock
        self._waiting: queue.Queue[tuple[Dossier, Decision] | None] = queue.Queue(size)
        self._over = threading.Event()
        self._count = threading.Lock()
        self._dropped = self._asked = self._failed = 0
        self._found: dict[Digest, tuple[Difference, bytes]] = {}
        self._thread = threading.Thread(target=self._run, name="shadow-policies", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, dossier: Dossier, decision: Decision) -> None:
        try:
            self._waiting.put_nowait((dossier, decision))
        except queue.Full:
            with self._count:
                self._dropped += 1

    def stop(self, seconds: float) -> None:
        self._over.set()
        with suppress(queue.Full):  # then it is not asleep
            self._waiting.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        due = time.monotonic() + self._every
        while True:
            over = self._over.is_set()
            try:
                judgement = self._waiting.get(not over, max(0.0, due - time.monotonic()))
                if judgement is not None:
                    self._compare(*judgement)
            except queue.Empty:
                if over:
                    self._write()
                    return
            if time.monotonic() >= due:
                self._write()
                due = time.monotonic() + self._every

    def _compare(self, dossier: Dossier, decision: Decision) -> None:
        try:
            before = Verdict.of(decision)
            turn, answer = replay(self._engine, dossier, before)
            self._asked += 1
            if turn.change is not Change.SAME:
                self._note(dossier, decision, before, Verdict.of(answer))
        except Exception:
            self._failed += 1
            _log.exception("a judgement could not be compared with the shadow policies")

    def _note(self, dossier: Dossier, decision: Decision, before: Verdict, after: Verdict) -> None:
        found = Difference(
            live=decision.policy_digest,
            shadow=self._engine.policy_digest,
            gate=dossier.gate,
            version_uid=dossier.subject.uid,
            model=model_name(dossier),
            version=dossier.subject.ref.version,
            before=before,
            after=after,
            actor=dossier.actor.person,
            dossier=dossier.digest,
            first_at=dossier.now,
            last_at=dossier.now,
        )
        known = self._found.get(found.key)
        if known is not None:
            self._found[found.key] = known[0].joined(found), known[1]
        elif len(self._found) < _MOST_PENDING:
            self._found[found.key] = found, dossier.encoded
        else:
            self._failed += 1

    def _write(self) -> None:
        with self._count:
            dropped = self._dropped
        counts = Counts(self._asked, dropped, self._failed)
        if counts == Counts():
            return
        try:
            found: Any = list(self._found.values())
            self._notes.add(self._engine.policy_digest, counts, found, self._clock())
        except Exception as error:  # kept, and tried again with the next
            _log.warning("differences of the shadow policies are not written yet: %s", error)
            return
        self._found.clear()
        self._asked = self._failed = 0
        with self._count:
            self._dropped -= dropped
