"""Many at once, and for long: no answer differs from the one given alone, and no memory is kept.

``GOVERNANCE_LOAD=long`` asks ten times as much of everything.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from mlflow_governance.core import canonical
from mlflow_governance.core.dossier import Gate
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import EngineError
from mlflow_governance.policy.samples import mutated, starts
from tests.unit.policy.builders import shipped

TIMES = 10 if os.environ.get("GOVERNANCE_LOAD") == "long" else 1
PAGE = os.sysconf("SC_PAGE_SIZE")
MEMORY = Path("/proc/self/statm")
GROWTH = 3 * 1024 * 1024

Case = tuple[Gate, bytes]


@cache
def engine() -> EmbeddedEngine:
    return EmbeddedEngine(shipped())


@cache
def cases() -> tuple[Case, ...]:
    """Dossiers of every gate, most of them spoilt, in an order that mixes the gates."""
    source, begins = random.Random(11), starts()
    found = [*begins, *(mutated(source, source.choice(begins)) for _ in range(400))]
    made = [(Gate(d["gate"]), canonical.encode(d)) for d in found if d.get("gate") in list(Gate)]
    source.shuffle(made)
    return tuple(made)


def answer(case: Case) -> str:
    try:
        return json.dumps(engine().evaluate(*case), sort_keys=True)
    except EngineError as error:
        return error.reason_code


@cache
def alone() -> tuple[str, ...]:
    return tuple(map(answer, cases()))


def differing(expected: tuple[str, ...], offset: int, count: int) -> tuple[int, int]:
    """How many of so many answers are not the expected ones, and how many were asked."""
    asked = cases()
    places = [(offset * 37 + step) % len(asked) for step in range(count)]
    return sum(answer(asked[place]) != expected[place] for place in places), len(places)


def test_the_cases_hold_both_answers_of_every_gate() -> None:
    said = {
        (gate, '"allow": true' in told) for (gate, _), told in zip(cases(), alone(), strict=True)
    }

    assert said == {(gate, allow) for gate in Gate for allow in (True, False)}
    assert len(set(alone())) > 50


def test_eight_threads_at_one_engine_answer_as_one_alone() -> None:
    expected, count, start = alone(), 300 * TIMES, threading.Barrier(8)

    def run(offset: int) -> tuple[int, int]:
        start.wait(30)
        return differing(expected, offset, count)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, range(8))) == [(0, count)] * 8


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_four_processes_answer_as_one_alone(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{method} is unknown here")
    expected, count = alone(), 500 * TIMES  # the engine has been used here before the fork
    context = multiprocessing.get_context(method)

    with ProcessPoolExecutor(4, mp_context=context) as pool:
        found = pool.map(differing, [expected] * 4, range(4), [count] * 4, timeout=100)

        assert list(found) == [(0, count)] * 4
    assert differing(expected, 5, 50) == (0, 50)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_thread_may_fork_while_others_ask() -> None:
    expected, done = alone(), threading.Event()
    wrong: list[int] = []

    def keep_asking() -> None:
        while not done.is_set():
            wrong.append(differing(expected, 1, 20)[0])

    others = [threading.Thread(target=keep_asking) for _ in range(3)]
    for thread in others:
        thread.start()
    try:
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
            found = list(pool.map(differing, [expected] * 2, range(2), [200] * 2, timeout=60))
    finally:
        done.set()
        for thread in others:
            thread.join(30)

    assert found == [(0, 200)] * 2
    assert not any(wrong)


def resident() -> int:
    """Bytes of this process in memory."""
    return int(MEMORY.read_text().split()[1]) * PAGE


@pytest.mark.skipif(not MEMORY.exists(), reason="this system does not say how much memory is used")
def test_twenty_thousand_answers_keep_no_memory() -> None:
    quick = (Gate.DOWNLOAD, Gate.ALIAS, Gate.WITHDRAW)  # the others take five times as long
    asked = [case for place, case in enumerate(cases()) if case[0] in quick or place % 8 == 0]
    rounds = 20_000 * TIMES
    for step in range(3 * len(asked)):
        answer(asked[step % len(asked)])
    before = resident()

    for step in range(rounds):
        answer(asked[step % len(asked)])

    assert resident() - before < GROWTH


@pytest.mark.skipif(not MEMORY.exists(), reason="this system does not say how much memory is used")
def test_threads_that_end_take_their_engines_with_them() -> None:
    def ask_in_new_threads(count: int) -> None:
        for _ in range(count):
            thread = threading.Thread(target=differing, args=(alone(), 0, 2))
            thread.start()
            thread.join(30)

    ask_in_new_threads(20)
    before = resident()

    ask_in_new_threads(60 * TIMES)

    assert resident() - before < 2 * GROWTH
