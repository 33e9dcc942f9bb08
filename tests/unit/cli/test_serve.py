"""The process that starts MLflow's server and keeps a worker beside it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlflow_governance.cli import serve
from mlflow_governance.cli.first_start import Environment

HANDLED = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(autouse=True)
def handlers_put_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in HANDLED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def pids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A worker that does nothing, and the file in which each one started leaves its process id."""
    started = tmp_path / "pids"
    worker = tmp_path / "worker"
    worker.write_text(f'#!/bin/sh\necho $$ >> "{started}"\nexec sleep 60\n')
    worker.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(worker))
    return started


def supervised(server: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> int:
    """Its exit code, with something else in the place of MLflow's server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setattr(serve, "_run_mlflow", lambda _: server())
        environment = Environment("", "", dict(os.environ))
        return serve._supervise([], environment, *listening.getsockname()[:2])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def started(pids: Path) -> list[int]:
    return [int(line) for line in pids.read_text().split()] if pids.exists() else []


@pytest.mark.parametrize("number", HANDLED)
def test_a_signal_ends_the_worker_while_mlflows_server_still_finishes(
    pids: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    heard: list[int] = []

    def server() -> int:
        signal.signal(number, lambda told, _: heard.append(told))  # as MLflow does
        wait_for(lambda: bool(started(pids)))
        os.kill(os.getpid(), number)
        wait_for(lambda: not running(started(pids)[0]))
        return 0

    assert supervised(server, monkeypatch) == 0
    assert heard == [number]
    assert len(started(pids)) == 1


def test_a_worker_that_ends_is_started_again_and_ends_with_the_server(
    pids: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def server() -> int:
        wait_for(lambda: bool(started(pids)))
        os.kill(started(pids)[0], signal.SIGKILL)
        wait_for(lambda: len(started(pids)) == 2)
        return 3

    assert supervised(server, monkeypatch) == 3
    assert not running(started(pids)[1])
    assert "the worker ended with -9; again in 1 s" in capsys.readouterr().err


def test_without_a_server_no_worker_starts(pids: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def server() -> int:
        raise RuntimeError("it could not start")

    with pytest.raises(RuntimeError, match="could not start"):
        supervised(server, monkeypatch)
    assert started(pids) == []
