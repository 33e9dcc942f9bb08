"""Ships decisions: recorded ones from the database, permitted downloads from memory.

A recorded decision reaches every sink at least once. The worker reads what was committed, in order,
and a sink's place moves only when the sink has taken (and, a file, flushed) what lies before it: a
crash costs a repetition, never a gap, and what was rolled back was never there to be read. Several
workers take turns by a lease.

Permitted downloads are not recorded. Where the settings ask for them they pass through a bounded
queue of the process that decided; what does not fit is dropped, counted and told. No decision
waits for any of this, nor fails with it.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import secrets
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from mlflow_governance.core.decision import Decision
from mlflow_governance.core.dossier import Dossier, Gate
from mlflow_governance.outbox.decision_event import Recorder
from mlflow_governance.outbox.log_options import Downloads
from mlflow_governance.outbox.log_sinks import Refused, Sink
from mlflow_governance.workflows.queue import DecisionFeed, LogPlace, StoredDecision

BATCH = 32
"""Decisions read at once; a dossier may have megabytes."""
MAX_WAITING = 2000
"""Permitted downloads that wait for one sink at most."""

_log = logging.getLogger(__name__)
_POLL_SECONDS = 1.0
_LEASE_SECONDS = 120.0
_FIRST_DELAY, _LONGEST_DELAY = 1.0, 300.0
_MAX_ATTEMPTS = 8
"""About two minutes; then permitted downloads make room for newer ones."""
_TELL_SECONDS = 60.0
_random = secrets.SystemRandom()


def line_of(event: dict[str, Any]) -> bytes:
    """A record as one line of JSON."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def record_of(recorder: Recorder, stored: StoredDecision) -> dict[str, Any]:
    """The record of a stored decision; of one whose bytes were changed, that they were."""
    if stored.document is not None and stored.dossier is not None:
        return recorder.record(stored.document, stored.dossier)
    # A gap would hide it.
    _log.error("decision number %d was changed in the database", stored.position)
    return recorder.altered(stored.position)


class DecisionRelay:
    """Takes recorded decisions to the sinks; runs in the worker.

    Args:
        feed: what was recorded, and how far each sink is.
        sinks: where records go.
        recorder: makes them.
        downloads: ``none`` leaves out denied downloads, too.
    """

    def __init__(
        self,
        feed: DecisionFeed,
        sinks: Sequence[Sink],
        recorder: Recorder,
        downloads: Downloads | float = "denied",
    ) -> None:
        self._feed = feed
        self._sinks = sinks
        self._recorder = recorder
        self._leaves_out = Gate.DOWNLOAD.value if downloads == "none" else None

    def run(self, stop: threading.Event) -> None:
        """Ship until told to stop."""
        threads = [
            threading.Thread(target=self._loop, args=(sink, stop), name=sink.name, daemon=True)
            for sink in self._sinks
        ]
        for thread in threads:
            thread.start()
        stop.wait()
        for thread in threads:
            thread.join(5)  # an upload in hand is left to the lease

    def run_once(self) -> int:
        """Ship what is there now; returns how many decisions the sinks took.

        Raises:
            Refused: a sink did not take them.
        """
        return sum(self._turn(sink) for sink in self._sinks)

    def _loop(self, sink: Sink, stop: threading.Event) -> None:
        failures = 0
        while not stop.is_set():
            pause = _POLL_SECONDS
            try:
                if self._turn(sink):
                    failures, pause = 0, 0.0
            except Refused as error:
                failures += 1
                pause = max(delay(failures), error.patience)
                _log.warning("%s: %s; again in %.0f s", sink.name, error.message, pause)
            except Exception:
                failures += 1
                pause = delay(failures)
                _log.exception("%s gets nothing for now", sink.name)
            stop.wait(pause)

    def _turn(self, sink: Sink) -> int:
        place = self._feed.hold(sink.name, _LEASE_SECONDS) if self._feed.waits(sink.name) else None
        if place is None:
            return 0
        try:
            shipped = self._ship(sink, place)
        except Exception as error:
            self._feed.release(place, f"{type(error).__name__}: {error}")
            raise
        self._feed.release(place, "")
        return shipped

    def _ship(self, sink: Sink, place: LogPlace) -> int:
        found = self._feed.after(place.position, BATCH)
        if not found:
            return 0
        wanted = filter(self._is_wanted, found)
        lines = [line_of(record_of(self._recorder, one)) for one in wanted]
        dropped = sink.write(lines) if lines else 0
        if dropped:
            _log.error("%s refuses %d records for good", sink.name, dropped)
        self._feed.advance(place, found[-1].position, dropped)
        return len(found)

    def _is_wanted(self, one: StoredDecision) -> bool:
        return one.document is None or one.document["gate"] != self._leaves_out


def delay(failures: int) -> float:
    """Seconds before the next attempt: 1, 2, 4 … 300, with up to a quarter more at random."""
    base = min(_FIRST_DELAY * 2.0 ** (min(failures, 20) - 1), _LONGEST_DELAY)
    return base + base * 0.25 * _random.random()


class DownloadLog:
    """Permitted downloads on their way to the sinks, from the process that permitted them.

    Args:
        sinks: where records go.
        recorder: makes them.
        share: which share of the decisions is logged, 0 to 1.
        lost: told, by sink, how many records were dropped; may fail.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        recorder: Recorder,
        share: float,
        lost: Callable[[str, int], None],
    ) -> None:
        self._lanes = [_Lane(sink, recorder, lost) for sink in sinks]
        self._share = share
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        _logs.add(self)

    def __call__(self, decision: Decision, dossier: Dossier) -> None:
        """Take one permitted download. Never waits and never raises."""
        try:
            # The files of one model asked for in one second share a decision: told once.
            with self._lock:
                if decision.decision_id in self._seen:
                    return
                self._seen[decision.decision_id] = None
                if len(self._seen) > MAX_WAITING:
                    self._seen.popitem(last=False)
            if _random.random() < self._share:
                for lane in self._lanes:
                    lane.offer(decision, dossier)
        except Exception:
            _log.exception("a permitted download was not logged")

    def forked(self) -> None:
        """In the child: a thread that did not come along may have held a lock."""
        self._lock = threading.Lock()
        for lane in self._lanes:
            lane._lock = threading.Lock()

    def flush(self, seconds: float) -> bool:
        """Wait until everything taken so far was written; False: not within the time."""
        until = time.monotonic() + seconds
        return all(lane.flush(until) for lane in self._lanes)


class _Lane:
    def __init__(self, sink: Sink, recorder: Recorder, lost: Callable[[str, int], None]) -> None:
        self._sink = sink
        self._recorder = recorder
        self._lost = lost
        self._process = 0
        self._lock = threading.Lock()
        self._waiting: queue.Queue[tuple[Decision, Dossier]] = queue.Queue(MAX_WAITING)
        self._dropped = 0

    def offer(self, decision: Decision, dossier: Dossier) -> None:
        if self._process != os.getpid():
            self._begin()
        try:
            self._waiting.put_nowait((decision, dossier))
        except queue.Full:
            self._drop(1)

    def flush(self, until: float) -> bool:
        if self._process != os.getpid():
            return True  # what waits here, waits in the process this one was forked from
        while self._waiting.unfinished_tasks:
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        return True

    def _begin(self) -> None:
        # A process that was forked has the queue of its parent and no thread that empties it.
        with self._lock:
            if self._process == os.getpid():
                return
            self._waiting = queue.Queue(MAX_WAITING)
            thread = threading.Thread(target=self._loop, name=self._sink.name, daemon=True)
            thread.start()
            self._process = os.getpid()

    def _drop(self, number: int) -> None:
        with self._lock:
            self._dropped += number

    def _loop(self) -> None:
        told = 0.0
        while True:
            batch = self._batch()
            self._write([line for one in batch if (line := self._line(*one))])
            for _ in batch:
                self._waiting.task_done()
            if self._dropped and time.monotonic() - told > _TELL_SECONDS:
                told = time.monotonic()
                self._tell()

    def _batch(self) -> list[tuple[Decision, Dossier]]:
        batch: list[tuple[Decision, Dossier]] = []
        with suppress(queue.Empty):
            batch.append(self._waiting.get(timeout=_POLL_SECONDS))
            while len(batch) < BATCH:
                batch.append(self._waiting.get_nowait())
        return batch

    def _line(self, decision: Decision, dossier: Dossier) -> bytes:
        try:
            return line_of(self._recorder.record(decision.to_document(), dossier.to_document()))
        except Exception:
            _log.exception("%s: a permitted download has no record", self._sink.name)
            self._drop(1)
            return b""

    def _write(self, lines: list[bytes]) -> None:
        for failures in range(1, _MAX_ATTEMPTS + 1):
            if not lines:
                return
            try:
                left_out = self._sink.write(lines)
            except Exception as error:
                if failures == 1:
                    _log.warning("%s takes no permitted downloads: %s", self._sink.name, error)
                patience = error.patience if isinstance(error, Refused) else 0.0
                time.sleep(max(delay(failures), patience))
            else:
                self._drop(left_out)
                return
        self._drop(len(lines))

    def _tell(self) -> None:
        with self._lock:
            number, self._dropped = self._dropped, 0
        _log.error("%s: %d permitted downloads were dropped", self._sink.name, number)
        try:
            self._lost(self._sink.name, number)
        except Exception:
            self._drop(number)  # told again with the next


_logs: weakref.WeakSet[DownloadLog] = weakref.WeakSet()


def _all_forked() -> None:
    for log in list(_logs):
        log.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_all_forked)
