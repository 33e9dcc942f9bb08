"""A rotation whose process is killed at any statement, and before any file it touches."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.contract.store.killing import Countdown, in_child
from tests.unit.custody.builders import Site, fill, site

_TOUCHES = frozenset({"os.rename", "os.link", "os.remove"})
_MOST_STEPS = 300


def kill_everywhere(folder: Path, url: str, to: str = "") -> int:
    """Rotate, killed at each step in turn; returns at how many it was.

    After each death a server that ran all the time writes, then one that starts; all verifies.
    """
    place = site(folder, url)
    running = place.server()
    fill(running)
    for step in range(1, _MOST_STEPS):
        before = place.verify()
        code = in_child(partial(_rotate, place, step, to))
        fill(running, 1)
        fill(place.server(), 1)
        assert place.verify() in (before + 2, before + 3), step
        assert not [p for p in (place.home / "keys").iterdir() if _is_open(p)]
        if code == 0:
            return step - 1
        assert code == -signal.SIGKILL, f"step {step} ended with {code}"
    raise AssertionError("the rotation never ended")


def _rotate(place: Site, step: int, to: str) -> None:
    countdown = Countdown(step, reads_too=False)
    countdown.watch(sa.Engine)
    home = str(place.home)

    def touched(event: str, args: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(args[2], int) and args[2] & os.O_ACCMODE
        if (writes or event in _TOUCHES) and str(args[0]).startswith(home):
            countdown.pass_()

    sys.addaudithook(touched)
    place.rotate(to)


def _is_open(path: Path) -> bool:
    private = path.suffix in (".pem", ".retired")
    return private and bool(path.stat().st_mode & 0o077)
