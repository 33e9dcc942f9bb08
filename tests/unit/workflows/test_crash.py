"""A process may end anywhere in the middle of anything: nothing is torn, and nothing is lost."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.unit.workflows.dying import ACTS, Death, Mortal, killed_between_steps, raise_death


@pytest.fixture
def registry(tmp_path: Path) -> Mortal:
    return Mortal(tmp_path)


@pytest.mark.parametrize("name", ACTS)
def test_an_act_that_dies_at_any_step_is_whole_or_has_not_happened(
    registry: Mortal, name: str
) -> None:
    before, act = ACTS[name]
    before(registry)

    for step in range(1, 100):
        size = registry.entries() - registry.trust_changes()
        store = registry.dying_at(step, raise_death)
        with suppress(Death):
            act(registry)
        died = len(store.steps) == step
        registry.immortal()

        registry.agrees()
        committed = store.steps.count("after the commit")
        written = registry.entries() - registry.trust_changes() - size
        assert written <= committed, "an entry without a commit"
        if not died:
            break
    else:
        raise AssertionError("the act never ended")

    assert step > 3, "the act has too few steps for this test to say anything"
    registry.mirrored()
    registry.agrees()


@pytest.fixture(scope="module")
def worker() -> Iterator[ProcessPoolExecutor]:
    """One process without threads: it forks."""
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        yield pool


@pytest.mark.parametrize("name", ["register", "promote to approved", "revoke", "approve"])
def test_a_process_killed_between_two_steps_leaves_nothing_half_done(
    worker: ProcessPoolExecutor, tmp_path: Path, name: str
) -> None:
    assert worker.submit(killed_between_steps, tmp_path, name).result(200) >= 4
