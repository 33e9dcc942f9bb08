"""Running a serving command on a verified copy, for as long as it may be used."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from mlflow_governance.errors import GovernanceError, InvalidRequest, VerificationError
from mlflow_governance.serving.loader import warn_if_deprecated
from mlflow_governance.serving.settings import ServingSettings
from mlflow_governance.serving.verify import Connections, Verified, recheck, verify

TOKEN = "{model}"  # noqa: S105  # what a command writes where the copy's path is to stand

_log = logging.getLogger(__name__)
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_NOT_STARTED = 127


@dataclass(frozen=True, slots=True)
class Timing:
    """``refresh`` seconds between two checks; ``grace`` seconds from SIGTERM to SIGKILL."""

    refresh: float = 60.0
    grace: float = 10.0


def guard(
    uri: str,
    command: Sequence[str],
    settings: ServingSettings,
    *,
    timing: Timing | None = None,
    connections: Connections | None = None,
) -> int:
    """Verify a model, run a command on the copy, and stop it when the model is withdrawn.

    While the command runs, signature, provenance, policy and revocation list are checked again
    every ``timing.refresh`` seconds. A registry that does not answer is no reason to stop until
    the revocation list expires. The command runs in a process group of its own; SIGTERM, SIGINT
    and SIGHUP are forwarded to it. Killing the guard itself with SIGKILL leaves the command
    unguarded: run both under one supervisor.

    Args:
        uri: what to serve, as for :func:`~mlflow_governance.serving.verify.verify`.
        command: program and arguments; :data:`TOKEN` stands for the copy's path, at least once.
        settings: whom to trust, what to insist on.
        timing: how often, and how patiently.
        connections: the world outside; by default the real one.

    Returns:
        The command's exit code (128 + n when signal n ended it); 3 when the model did not
        verify or was withdrawn; another error's exit code, or 127, when it was never started.
    """
    pace = timing or Timing()
    try:
        _refuse_unguarded(command)
        verified = verify(uri, settings, connections)
        warn_if_deprecated(verified)
    except GovernanceError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    words = [word.replace(TOKEN, str(verified.path)) for word in command]
    with _forwarding() as child:
        try:
            child.start(words)
        except OSError as error:
            print(f"{words[0]} cannot be started: {error.strerror}", file=sys.stderr)
            return _NOT_STARTED
        try:
            return _watch(child, verified, settings, pace, connections)
        finally:
            child.stop(pace.grace)


def _refuse_unguarded(command: Sequence[str]) -> None:
    if not any(TOKEN in word for word in command):
        raise InvalidRequest(
            f"the command does not use the verified copy: {TOKEN} is not in it",
            advice=f"For example: mlflow models serve --model-uri {TOKEN} --env-manager local",
        )


def _watch(
    child: _Child,
    verified: Verified,
    settings: ServingSettings,
    pace: Timing,
    connections: Connections | None,
) -> int:
    while True:
        code = child.wait(pace.refresh)
        if code is not None:
            return code if code >= 0 else 128 - code
        try:
            recheck(verified, settings, connections)
        except GovernanceError as error:
            print(f"the command is stopped: {error}", file=sys.stderr)
            return VerificationError.exit_code


class _Child:
    """The command, in a process group of its own."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def start(self, words: Sequence[str]) -> None:
        # Python must not write bytecode beside the code in the copy: nobody signed it.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(list(words), env=environment, process_group=0)
        for number in self._early:
            self.send(number)

    def send(self, number: int) -> None:
        """Signal the whole group; before the start, as soon as it is there."""
        if self._process is None:
            self._early.append(number)
        else:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def wait(self, seconds: float) -> int | None:
        """The exit code; None when it still runs after so many seconds."""
        if self._process is None:
            raise RuntimeError("nothing was started")
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, grace: float) -> None:
        """End the command and every process it left in its group."""
        if self._process is None:
            return
        self.send(signal.SIGTERM)
        if self.wait(grace) is None:
            _log.warning("the command did not end within %s s and is killed", grace)
        # For those it left behind. Their group keeps the number from being used again.
        self.send(signal.SIGKILL)
        self._process.wait()


@contextmanager
def _forwarding() -> Iterator[_Child]:
    """A child that gets the signals sent to us, from before it starts until it has ended."""
    child = _Child()

    def forward(number: int, frame: FrameType | None) -> None:
        child.send(number)

    # Only the main thread may handle signals; elsewhere the caller's handlers stay.
    mine = threading.current_thread() is threading.main_thread()
    # What is ignored stays ignored: that is how nohup works.
    heard = [n for n in _FORWARDED if mine and signal.getsignal(n) not in (signal.SIG_IGN, None)]
    before = {n: signal.signal(n, forward) for n in heard}
    try:
        yield child
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
