"""Work over all recorded decisions, by as many processes as there are processors.

A policy engine belongs to one thread and keeps Python's lock while it evaluates, so processes it
is. Each reads its own part of the table; what travels between them is a job on the way there and
a result on the way back.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Generic, Protocol, TypeVar

from mlflow_governance.core.dossier import Gate
from mlflow_governance.errors import Unavailable
from mlflow_governance.store.decisions import SqlDecisions
from mlflow_governance.store.sessions import session_factory_for
from mlflow_governance.workflows.validation.books import DecisionRow

PART = 400
"""Row ids a part."""
_ALONE = 2000
"""As many rows are done before another process has started."""

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class Job(Protocol[R_co]):
    """What is done with decisions. Pickled, so it holds plain values."""

    def start(self) -> Callable[[Sequence[DecisionRow]], R_co]:
        """Make ready in a process; what is returned is called with the rows of each part."""


@dataclass(frozen=True)
class Span:
    """Which rows: ids above ``after`` and up to ``last``, of these gates (all, if none)."""

    after: int
    last: int
    gates: tuple[Gate, ...] = ()

    def parts(self) -> Iterator[tuple[int, int]]:
        """Ids ``(above, up to)`` of each part, the newest first."""
        for last in range(self.last, self.after, -PART):
            yield max(last - PART, self.after), last


class Spread(Generic[R]):
    """Runs a job over a database.

    Args:
        url: of the database.
        job: what is done with each part.
        processes: how many; by default one for each processor this process may use.
    """

    def __init__(self, url: str, job: Job[R], processes: int | None = None) -> None:
        self._url, self._job = url, job
        self._processes = processes or _processors()

    def over(self, span: Span) -> Iterator[R]:
        """The result of each part, the newest first. Leaving early ends the work.

        Raises:
            Unavailable: a process was killed; nothing can be said of its part.
        """
        if self._processes == 1 or span.last - span.after <= _ALONE:
            work = _Work(self._url, self._job)
            try:
                for part in span.parts():
                    yield work(part, span.gates)
            finally:
                work.close()
            return
        yield from self._at_once(span)

    def _at_once(self, span: Span) -> Iterator[R]:
        # spawn: a forked copy would share the connections and locks of this process.
        pool = ProcessPoolExecutor(
            self._processes, get_context("spawn"), _begin, (self._url, self._job)
        )
        waiting: deque[Future[R]] = deque()
        try:
            for part in span.parts():
                waiting.append(pool.submit(_do, part, span.gates))
                if len(waiting) > 2 * self._processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise Unavailable(
                "a process that read decisions ended before its time",
                advice="It may have been short of memory. Ask for less: --limit or --gate.",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Work(Generic[R]):
    def __init__(self, url: str, job: Job[R]) -> None:
        self._sessions = session_factory_for(url)
        self._decisions = SqlDecisions(self._sessions)
        self._act = job.start()

    def __call__(self, part: tuple[int, int], gates: Sequence[Gate]) -> R:
        rows = list(self._decisions.rows(*part, gates))
        rows.reverse()
        return self._act(rows)

    def close(self) -> None:
        self._sessions.dispose()


_work: _Work[Any] | None = None


def _begin(url: str, job: Job[Any]) -> None:
    global _work
    # One a process, made where it is used.
    _work = _Work(url, job)


def _do(part: tuple[int, int], gates: Sequence[Gate]) -> Any:
    if _work is None:
        raise Unavailable("the process was not made ready")
    return _work(part, gates)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
