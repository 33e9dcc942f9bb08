"""Work over all recorded decisions, by as many processes as there are processors.

A policy engine belongs to one thread and keeps Python's lock while it evaluates, so processes it
is. Each reads its own part of the table; what travels between them is a job on the way there and
a result on the way back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

from mlflow_governance.core.dossier import Gate
from mlflow_governance.store.decisions import SqlDecisions
from mlflow_governance.store.processes import in_order, processors
from mlflow_governance.store.sessions import session_factory_for
from mlflow_governance.workflows.validation.books import DecisionRow

PART = 400
"""Row ids a part."""
_ALONE = 2000
"""As many rows are done before another process has started."""
_ADVICE = "It may have been short of memory. Ask for less: --limit or --gate."

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
        self._processes = processes or processors()

    def over(self, span: Span) -> Iterator[R]:
        """The result of each part, the newest first. Leaving early ends the work.

        Raises:
            Unavailable: a process was killed; nothing can be said of its part.
        """
        if self._processes == 1 or span.last - span.after <= _ALONE:
            work = _Work(self._url, self._job)
            try:
                for part in span.parts():
                    yield work((part, span.gates))
            finally:
                work.close()
            return
        yield from self._at_once(span)

    def _at_once(self, span: Span) -> Iterator[R]:
        work = partial(_Work, self._url, self._job)
        jobs = ((part, span.gates) for part in span.parts())
        return in_order(work, jobs, self._processes, _ADVICE)


class _Work(Generic[R]):
    def __init__(self, url: str, job: Job[R]) -> None:
        self._sessions = session_factory_for(url)
        self._decisions = SqlDecisions(self._sessions)
        self._act = job.start()

    def __call__(self, asked: tuple[tuple[int, int], Sequence[Gate]]) -> R:
        part, gates = asked
        rows = list(self._decisions.rows(*part, gates))
        rows.reverse()
        return self._act(rows)

    def close(self) -> None:
        self._sessions.dispose()
