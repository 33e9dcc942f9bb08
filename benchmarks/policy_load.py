"""Many decisions at once and for long: how many a second, how many wrong, and what memory stays."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.measure import Scale
from benchmarks.report import Row, Spread
from mlflow_governance.core.dossier import Dossier, Gate
from mlflow_governance.core.resources import folder
from mlflow_governance.policy.bundle import load
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import PolicyEngine

_THREADS = 8
_PROCESSES = 4
_MEMORY = Path("/proc/self/statm")
_GROWTH = 1.0
"""Megabytes that may come and go by themselves."""


@dataclass(frozen=True)
class Asked:
    """A question and the answer it got when it was asked alone."""

    gate: Gate
    document: bytes
    answer: str


@dataclass(frozen=True)
class Found:
    """Answers a second, and how many of them were not the ones given alone."""

    rate: float
    wrong: int


def run(engine: PolicyEngine, dossiers: Sequence[Dossier], scale: Scale) -> Iterator[Row]:
    """Each dossier as it is and without its evidence, in turns."""
    bare = [replace(one, evidence={}, approvals=()) for one in dossiers]
    asked = [
        Asked(one.gate, one.encoded, _answer(engine, one.gate, one.encoded))
        for one in (*dossiers, *bare)
    ]
    count = scale.pick(2000, 200)
    alone = ask(engine, asked, count)
    yield _rate(f"{_THREADS} threads at one engine", _threads(engine, asked, count), alone)
    yield _rate(f"{_PROCESSES} processes", _processes(asked, count), alone)
    downloads = [one for one in asked if one.gate is Gate.DOWNLOAD]
    # Mostly downloads, as in a registry.
    yield _kept(engine, [*asked, *downloads * 5], scale.pick(200_000, 10_000))


def ask(engine: PolicyEngine, asked: Sequence[Asked], count: int, offset: int = 0) -> Found:
    """Ask so many in turns."""
    wrong, started = 0, time.perf_counter()
    for step in range(offset, offset + count):
        one = asked[step % len(asked)]
        wrong += _answer(engine, one.gate, one.document) != one.answer
    return Found(count / (time.perf_counter() - started), wrong)


def ask_own_engine(asked: Sequence[Asked], count: int, offset: int) -> Found:
    """The same in a process of its own."""
    engine = EmbeddedEngine(load(folder("policies")))
    ask(engine, asked, len(asked))
    return ask(engine, asked, count, offset)


def _answer(engine: PolicyEngine, gate: Gate, document: bytes) -> str:
    return json.dumps(engine.evaluate(gate, document), sort_keys=True)


def _threads(engine: PolicyEngine, asked: Sequence[Asked], count: int) -> list[Found]:
    start = threading.Barrier(_THREADS)

    def work(offset: int) -> Found:
        ask(engine, asked, len(asked))  # its interpreter is made on first use
        start.wait(60)
        return ask(engine, asked, count, offset)

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(work, range(_THREADS)))


def _processes(asked: Sequence[Asked], count: int) -> list[Found]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_PROCESSES, mp_context=context) as pool:
        jobs = [pool.submit(ask_own_engine, asked, count, n) for n in range(_PROCESSES)]
        return [job.result(timeout=300) for job in jobs]


def _rate(what: str, found: Sequence[Found], alone: Found) -> Row:
    wrong = sum(one.wrong for one in (*found, alone))
    return Row(
        f"answers, {what} (limit: one alone)",
        "1/s",
        Spread(sum(one.rate for one in found)),
        Spread(alone.rate),
        f"{wrong} wrong",
        "0 wrong",
        wrong == 0,
    )


def _kept(engine: PolicyEngine, asked: Sequence[Asked], count: int) -> Row:
    what = f"memory kept of {count:,} answers"
    if not _MEMORY.exists():
        return Row.absent(what, "this system does not say how much memory is used")
    ask(engine, asked, 100 * len(asked))
    before = _resident()
    wrong = ask(engine, asked, count).wrong
    grown = _resident() - before
    right = wrong == 0 and grown <= _GROWTH
    return Row(what, "MB", Spread(grown), None, f"{wrong} wrong", f"≤ {_GROWTH:g}", right)


def _resident() -> float:
    return int(_MEMORY.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
