"""A process may end anywhere in the middle of anything: nothing is torn, and nothing is lost."""

from __future__ import annotations

import multiprocessing
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from tests.unit.workflows.dying import ACTS, Death, Mortal, die_in_child, raise_death


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


@pytest.mark.parametrize("name", ["register", "promote to approved", "revoke", "approve"])
def test_a_process_killed_between_two_steps_leaves_nothing_half_done(
    tmp_path: Path, name: str
) -> None:
    start = tmp_path / "start"
    prepared = Mortal(start)
    ACTS[name][0](prepared)
    prepared.sessions.dispose()
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.unit.workflows.dying"])

    for step in range(1, 100):
        folder = tmp_path / str(step)
        shutil.copytree(start, folder)
        child = processes.Process(target=die_in_child, args=(folder, name, step))
        child.start()
        child.join(60)

        registry = Mortal(folder)
        registry.agrees()
        ACTS[name][1](registry)  # whoever asked asks again
        registry.mirrored()
        registry.agrees()
        registry.sessions.dispose()
        if child.exitcode == 0:
            break
        assert child.exitcode == 9
    assert step > 4
