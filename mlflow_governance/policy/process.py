"""One process that evaluates one bundle within a budget, seen from outside.

Everything that is read from it is bounded in time and size; whatever it does, it ends as an
:class:`EngineError` here and a dead process there.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.child import (
    ANSWER,
    ASK,
    BUNDLE,
    DOING,
    ERROR,
    HEADER,
    LIMITS,
    READY,
    frame,
)
from mlflow_governance.policy.interface import MAX_ANSWER_BYTES, EngineError

MIN_MEGABYTES = 128
_MAX_ANSWER_FRAME = 2 * MAX_ANSWER_BYTES
_PIECE = 65536
_TAIL = 4096  # bytes of what the process said on its way out
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "HOME")
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from mlflow_governance.policy.child import main; main()"
)


@dataclass(frozen=True)
class Budget:
    """What an evaluation may use.

    ``seconds`` bounds one decision, waiting included; ``megabytes`` the address space of the
    process that makes it (where the system bounds it: Linux); ``load_seconds`` parsing and
    compiling a bundle.

    Raises:
        ConfigurationError: nothing could be decided within it.
    """

    seconds: float = 2.0
    megabytes: int = 512
    load_seconds: float = 10.0

    def __post_init__(self) -> None:
        for value in (self.seconds, self.load_seconds):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 60:
                raise ConfigurationError("policy_budget: seconds are more than 0 and at most 60")
        if type(self.megabytes) is not int or not MIN_MEGABYTES <= self.megabytes <= 64 * 1024:
            raise ConfigurationError(f"policy_budget: megabytes are at least {MIN_MEGABYTES}")


class PolicyProcess:
    """A child with a compiled bundle. Not for two threads at once.

    Args:
        bundle: what it evaluates.
        budget: what it may use.
        lints: refuse builtins that depend on more than the dossier.

    Raises:
        EngineError: it did not load the bundle within the budget (``ENG-TIMEOUT``,
            ``ENG-MEMORY``) or at all (``ENG-ERROR``); the message says what it was at.
        ConfigurationError: this system has no such processes.
    """

    def __init__(self, bundle: Bundle, budget: Budget, *, lints: bool = False) -> None:
        if not hasattr(select, "poll"):
            raise ConfigurationError(
                "policies from elsewhere are evaluated on Linux and macOS only",
                advice="Ask an OPA server instead: the setting opa.",
            )
        self._budget = budget
        self._doing = "starting"
        self._allowed = budget.load_seconds
        self._tail = b""
        self.is_idle = True
        """False while an answer may still come, or after its asker was interrupted."""
        self._process = _spawn()
        try:
            self.name = self._load(bundle, lints)
        except BaseException:
            self.close()
            raise

    def ask(self, rule: str, document: bytes, until: float) -> object:
        """The value of a rule for an input.

        Args:
            rule: e.g. ``registry.promote.decision``.
            document: the input as JSON.
            until: the deadline, on ``time.monotonic``.

        Raises:
            EngineError: as the engine said it, or ``ENG-TIMEOUT``, ``ENG-MEMORY`` or
                ``ENG-ERROR`` when the process came to its end; :attr:`is_alive` tells which.
        """
        self._doing, self._allowed = f"evaluating {rule}", self._budget.seconds
        kind, data = self._exchange(frame(ASK, rule.encode() + b"\n" + document), until)
        return self._value(kind, data, ANSWER)

    @property
    def is_alive(self) -> bool:
        """False once it ended, by itself or by :meth:`close`."""
        return self._process.poll() is None

    def close(self) -> None:
        """End it, now, and leave nothing behind. For the thread that uses it, or when idle."""
        self.kill()
        self._process.wait()
        self._close_pipes()

    def kill(self) -> None:
        """End it from another thread: whoever waits for its answer gets none and cleans up."""
        with suppress(OSError):
            self._process.kill()

    def forget(self) -> None:
        """Let go of a process that belongs to the process this one was forked from."""
        self._process.returncode = 0  # not ours to wait for
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _load(self, bundle: Bundle, lints: bool) -> str:
        limits = {
            "seconds": self._budget.seconds,
            "load_seconds": self._budget.load_seconds,
            "megabytes": self._budget.megabytes,
            "lints": lints,
        }
        files = {name: data.decode("utf-8") for name, data in bundle.files.items()}
        request = frame(LIMITS, json.dumps(limits).encode())
        request += frame(BUNDLE, json.dumps(files, ensure_ascii=False).encode())
        kind, data = self._exchange(request, time.monotonic() + self._budget.load_seconds)
        if kind == READY:
            return data.decode("utf-8", "replace")[:100]
        self._value(kind, data, READY)
        raise self._broken("ENG-ERROR", "gave no answer of its own")

    def _value(self, kind: bytes, data: bytes, wanted: bytes) -> object:
        try:
            value: object = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._broken("ENG-SHAPE", "gave an answer that is not JSON") from error
        if kind == ERROR and isinstance(value, list) and [type(v) for v in value] == [str, str]:
            raise EngineError(value[0], value[1])
        if kind != wanted:
            raise self._broken("ENG-SHAPE", "gave no answer of its own")
        return value

    def _exchange(self, request: bytes, until: float) -> tuple[bytes, bytes]:
        self.is_idle = False
        source, target, told = self._descriptors()
        waiting, received = memoryview(request), bytearray()
        poller = select.poll()
        poller.register(source, select.POLLIN)
        poller.register(told, select.POLLIN)
        poller.register(target, select.POLLOUT)
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise self._broken("ENG-TIMEOUT", f"took more than {self._allowed} s")
            for descriptor, _ in poller.poll(left * 1000):
                if descriptor == target:
                    waiting = self._write(target, waiting)
                    if not waiting:
                        poller.unregister(target)
                elif descriptor == told:
                    if not self._listen(told):
                        poller.unregister(told)
                else:
                    received += self._read(source)
            answer = self._parse(received)
            if answer is not None:
                self.is_idle = True
                return answer

    def _parse(self, received: bytearray) -> tuple[bytes, bytes] | None:
        while len(received) >= HEADER.size:
            kind, length = HEADER.unpack_from(received)
            if length > _MAX_ANSWER_FRAME:
                raise self._broken("ENG-SHAPE", f"gave an answer of {length} bytes")
            end = HEADER.size + length
            if len(received) < end:
                return None
            data = bytes(received[HEADER.size : end])
            del received[:end]
            if kind != DOING:
                return kind, data
            self._doing = data.decode("utf-8", "replace")[:300]
        return None

    def _write(self, target: int, waiting: memoryview) -> memoryview:
        try:
            return waiting[os.write(target, waiting[:_PIECE]) :]
        except BlockingIOError:
            return waiting
        except OSError:
            return waiting[:0]  # it ended; what it had to say is still to be read

    def _read(self, source: int) -> bytes:
        try:
            piece = os.read(source, _PIECE)
        except BlockingIOError:
            return b""
        if not piece:
            raise self._ended()
        return piece

    def _listen(self, told: int) -> bytes:
        # Also so that a policy that prints much does not fill the pipe and wait for ever.
        try:
            piece = os.read(told, _PIECE)
        except OSError:
            return b""
        self._tail = (self._tail + piece)[-_TAIL:]
        return piece

    def _descriptors(self) -> tuple[int, int, int]:
        process = self._process
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise self._broken("ENG-ERROR", "has no pipes")
        return process.stdout.fileno(), process.stdin.fileno(), process.stderr.fileno()

    def _ended(self) -> EngineError:
        if self._process.stderr is not None:
            while self._listen(self._process.stderr.fileno()):
                continue
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        if b"memory allocation of" in self._tail or b"MemoryError" in self._tail:
            return self._broken("ENG-MEMORY", f"needed more than {self._budget.megabytes} MiB")
        if self._process.returncode == -getattr(signal, "SIGXCPU", 0):
            return self._broken("ENG-TIMEOUT", f"took more than {self._allowed} s")
        return self._broken("ENG-ERROR", f"ended with {self._process.returncode}")

    def _broken(self, code: str, what: str) -> EngineError:
        # Whatever it might still say is no answer to the next question.
        doing = self._doing
        self.close()
        return EngineError(code, f"the policy process {what}, {doing}")


def _spawn() -> subprocess.Popen[bytes]:
    # Its own session: Ctrl-C at the terminal is for the server. No secrets of ours around it.
    here = str(Path(__file__).resolve().parents[2])
    paths: Sequence[str] = [here, *(path for path in sys.path if path)]
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", _PROGRAM, json.dumps(paths)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            env={**environment, "LC_ALL": "C.UTF-8"},
        )
    except OSError as error:
        raise EngineError("ENG-ERROR", f"no policy process can be started: {error}") from error
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            os.set_blocking(pipe.fileno(), False)
    return process
