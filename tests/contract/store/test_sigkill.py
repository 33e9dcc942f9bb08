"""SIGKILL at every statement of every act: what is left agrees, on each database."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.contract.store.killing import KILLED, kill_everywhere

LONG = os.environ.get("GOVERNANCE_LOAD") == "long"
"""Every act, before reading statements, too: minutes."""
_TYPICAL = ("register", "accept", "promote to approved", "revoke")


@pytest.fixture(scope="module")
def worker() -> Iterator[ProcessPoolExecutor]:
    """One process without threads: it forks."""
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        yield pool


@pytest.mark.parametrize("name", KILLED if LONG else _TYPICAL)
def test_an_act_that_is_killed_anywhere_leaves_a_registry_that_agrees(
    worker: ProcessPoolExecutor, url: str, tmp_path: Path, name: str
) -> None:
    steps = worker.submit(kill_everywhere, tmp_path / "site", url, name, LONG).result(600)

    assert steps >= 4, "the act has too few steps for this test to say anything"
