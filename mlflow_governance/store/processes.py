"""Work in as many processes as there are processors, its results in the order of the jobs."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from mlflow_governance.errors import Unavailable

J = TypeVar("J")
R = TypeVar("R")


def in_order(
    start: Callable[[], Callable[[J], R]], jobs: Iterable[J], processes: int, advice: str
) -> Iterator[R]:
    """The result of each job. Leaving early ends the work.

    Args:
        start: makes a process ready; called in each. What it gives back does the jobs. Pickled.
        jobs: pickled one by one; no more than two a process are taken ahead.
        processes: how many.
        advice: what to do where a process was killed.

    Raises:
        Unavailable: a process was killed; nothing can be said of its job.
    """
    # spawn: a forked copy would share the connections and locks of this process.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _begin, (start,))
    waiting: deque[Future[R]] = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(_do, job))
            if len(waiting) > 2 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise Unavailable("a process that helped ended before its time", advice=advice) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_work: Callable[[Any], Any] | None = None


def _begin(start: Callable[[], Callable[[Any], Any]]) -> None:
    global _work
    # Whoever presses Ctrl-C ends the parent, and the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _work = start()


def _do(job: Any) -> Any:
    if _work is None:
        raise Unavailable("the process was not made ready")
    return _work(job)
