"""Where a server looks back: one request at a time, and what was seen once is kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlflow_governance.errors import Unavailable
from mlflow_governance.workflows.as_of import Question, Seen, as_of
from mlflow_governance.workflows.chronicle import Witnessed
from mlflow_governance.workflows.validation.books import DecisionRow

_KEPT = 8
"""What was seen, each with every version there ever was."""
_MOST = 3
"""Requests, the one that has its turn among them: those that wait keep a thread from others."""


@dataclass
class Lookback:
    """What the views of the past stand on.

    Args:
        witnessed: the ledger, its keys and its exported checkpoints, as they are now.
        decision: a stored decision by its id.
        patience: seconds a request waits for its turn.
    """

    witnessed: Callable[[], Witnessed]
    decision: Callable[[str], DecisionRow | None]
    patience: float = 10.0
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_MOST))
    _seen: OrderedDict[object, Seen] = field(default_factory=OrderedDict)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn.

        Raises:
            Unavailable: too many wait already, or others were not done in time.
        """
        if not self._room.acquire(blocking=False):
            raise _busy()
        try:
            if not self._turn.acquire(timeout=self.patience):
                raise _busy()
            try:
                yield
            finally:
                self._turn.release()
        finally:
            self._room.release()

    def state(self, question: Question, note: str, now: datetime) -> dict[str, Any]:
        """The state at an instant; the ledger is read anew only where it may say something new.

        Names are not kept: one that was erased since is told as erased.

        Args:
            question: what is asked.
            note: the head of the ledger.
            now: the present instant.

        Raises:
            InvalidRequest: the instant is still to come.
            LedgerError: the ledger does not verify.
            Unavailable: others were not done in time.
        """
        with self.turn():
            witnessed = self.witnessed()
            seen = self._seen.get(question) or self._seen.get((question, note))
            if seen is None:
                seen = as_of(witnessed, question, now)
                self._seen[question if seen.final else (question, note)] = seen
                while len(self._seen) > _KEPT:
                    self._seen.popitem(last=False)
            return seen.document(witnessed.ledger)


def _busy() -> Unavailable:
    return Unavailable(
        "others are looking back, which this server does for one at a time",
        advice="Ask again in a moment.",
    )
