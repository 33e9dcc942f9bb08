"""Permitted downloads as entries: summed up by version and door, or a sample of them.

A download must not wait for the ledger, so each process counts in memory and writes from a thread
of its own: at the end of each period, when it ends, and before it would have to remember too much.
A process that is killed loses what it counted since the last time: at most one period.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlflow_governance.core import moment
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.decision import Decision
from mlflow_governance.core.dossier import Dossier
from mlflow_governance.core.event import Act, Event
from mlflow_governance.workflows.download_options import DownloadEntries
from mlflow_governance.workflows.ports import Store

_log = logging.getLogger(__name__)
_MOST_KEYS = 10_000
_MOST_PEOPLE = 10_000
"""Different people of one count that are told apart; beyond them the number is a lower bound."""
_BATCH = 200
_RETRY_SECONDS = 5.0


@dataclass
class _Count:
    subject: Mapping[str, Any]
    first: datetime
    last: datetime
    count: int = 0
    people: set[str] = field(default_factory=set)


class DownloadCount:
    """Takes permitted downloads and writes entries about them. Safe to share between threads.

    Args:
        store: where entries go.
        options: which.
        clock: the time.
    """

    def __init__(
        self, store: Store, options: DownloadEntries, clock: Callable[[], datetime]
    ) -> None:
        self._store, self._options, self._clock = store, options, clock
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._counts: dict[tuple[str, str], _Count] = {}
        self._sampled: list[Event] = []
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, decision: Decision, dossier: Dossier) -> None:
        """Take one permitted download. Never waits for the ledger, and never raises."""
        try:
            if self._options.sample:
                self._draw(dossier)
            else:
                self._add(dossier)
        except Exception:
            _log.exception("a permitted download was not counted")

    def flush(self) -> None:
        """Write entries about what was counted; what cannot be written is kept for the next time.

        Raises:
            GovernanceError: the ledger cannot be written.
        """
        with self._writing:
            with self._lock:
                counts, self._counts = self._counts, {}
                sampled, self._sampled = self._sampled, []
            events = [*sampled, *(self._event(door, c) for (_, door), c in counts.items())]
            while events:
                try:
                    with self._store.begin() as uow:
                        for event in events[:_BATCH]:
                            uow.record(event)
                except Exception:
                    self._put_back(events)
                    raise
                del events[:_BATCH]

    def _add(self, dossier: Dossier) -> None:
        key = (dossier.subject.uid, str(dossier.action["door"]))
        with self._lock:
            self._start()
            count = self._counts.get(key)
            if count is None:
                count = _Count(_subject(dossier), dossier.now, dossier.now)
                self._counts[key] = count
            count.count += 1
            count.last = max(count.last, dossier.now)
            if len(count.people) < _MOST_PEOPLE:
                count.people.add(dossier.actor.person)
            if len(self._counts) >= _MOST_KEYS:
                self._wake.set()

    def _draw(self, dossier: Dossier) -> None:
        if random.random() >= self._options.sample:  # noqa: S311  (a sample, not a secret)
            return
        at = moment.to_text(dossier.now)
        facts = {
            "door": str(dossier.action["door"]),
            "count": 1,
            "first": at,
            "last": at,
            "sample": str(self._options.sample),
        }
        event = Event(
            Act.DOWNLOADS_COUNTED,
            dossier.actor.person,
            dossier.now,
            subject=_subject(dossier),
            facts=facts,
        )
        with self._lock:
            self._start()
            if len(self._sampled) < _MOST_KEYS:
                self._sampled.append(event)
        self._wake.set()

    def _event(self, door: str, count: _Count) -> Event:
        return Event(
            Act.DOWNLOADS_COUNTED,
            Actor.system("server").person,
            self._clock(),
            subject=count.subject,
            facts={
                "door": door,
                "count": count.count,
                "people": len(count.people),
                "first": moment.to_text(count.first),
                "last": moment.to_text(count.last),
            },
        )

    def _put_back(self, events: list[Event]) -> None:
        # As they are: two entries about one period say the same as one.
        with self._lock:
            self._sampled[:0] = events[: _MOST_KEYS - len(self._sampled)]

    def _start(self) -> None:
        # Not before it is needed: a process may fork after this was made.
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="download-count", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        # A sample is written soon: it does not wait for anything to be summed up.
        period = self._options.minutes * 60 or 60.0
        while True:
            self._wake.wait(period)
            self._wake.clear()
            try:
                self.flush()
            except Exception:
                _log.exception("permitted downloads are not recorded yet")
                time.sleep(min(period, _RETRY_SECONDS))


def _subject(dossier: Dossier) -> dict[str, Any]:
    subject = dossier.subject
    return {
        "name": subject.ref.name,
        "version": subject.ref.version,
        "workspace": subject.ref.workspace,
        "uid": subject.uid,
        "digest": subject.digest,
    }
