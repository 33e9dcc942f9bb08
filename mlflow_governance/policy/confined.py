"""The confined engine: the embedded one in processes that may be killed.

For policies from elsewhere. A decision that takes too long or too much memory costs its process and
is a denial; other decisions go on in the other processes, and the next one starts a new process.
"""

from __future__ import annotations

import os
import queue
import threading
import time
import weakref
from contextlib import suppress
from typing import Any

from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Gate
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.interface import MAX_DOSSIER_BYTES, EngineError
from mlflow_governance.policy.process import Budget, PolicyProcess

PROCESSES = 4
"""Of one engine at most; each is started when the others are busy for the first time."""


class ConfinedEngine:
    """Evaluates a bundle in processes of its own.

    Safe to share between threads; after a fork each side has processes of its own.

    Args:
        bundle: the policies in force.
        budget: what one decision may use.
        processes: how many decisions are made at once.

    Raises:
        ConfigurationError: the bundle does not compile, lacks a gate, says yes to nothing at
            all, or does not load within the budget.
    """

    def __init__(
        self, bundle: Bundle, budget: Budget | None = None, processes: int = PROCESSES
    ) -> None:
        self._bundle = bundle
        self._budget = budget or Budget()
        self._pool = _Pool(processes)
        _engines.add(self)
        # Nothing outlives an engine nobody holds any more, nor the interpreter.
        self.close = weakref.finalize(self, _Pool.close, self._pool)
        try:
            first = self._pool.start(self._bundle, self._budget)
        except EngineError as error:
            raise ConfigurationError(
                f"the policies cannot be used: {error.message}",
                advice="Check them: mlflow-governance policy check --bundle FOLDER",
            ) from error
        self._name = f"{first.name} (confined)"
        self._pool.give_first(first)

    @property
    def name(self) -> str:
        """``regorus``, its version, and that it is confined."""
        return self._name

    @property
    def policy_digest(self) -> Digest:
        """Digest of the bundle."""
        return self._bundle.digest

    def evaluate(self, gate: Gate, document: bytes) -> Any:
        """The raw decision of a gate.

        Raises:
            EngineError: see :meth:`query`.
        """
        return self.query(f"registry.{gate.value}.decision", document)

    def query(self, rule: str, document: bytes) -> Any:
        """The value of any rule of the bundle.

        Raises:
            EngineError: ``ENG-SIZE`` (the input is too large), ``ENG-TIMEOUT``, ``ENG-MEMORY``,
                or as the embedded engine raises it.
        """
        if len(document) > MAX_DOSSIER_BYTES:
            raise EngineError("ENG-SIZE", f"the input has more than {MAX_DOSSIER_BYTES} bytes")
        pool = self._pool
        until = time.monotonic() + self._budget.seconds
        process = pool.take(self._budget.seconds)
        try:
            if process is None or not process.is_alive:
                pool.drop(process)
                started = time.monotonic()
                process = pool.start(self._bundle, self._budget)
                until += time.monotonic() - started  # starting is not deciding, waiting is
            return process.ask(rule, document, until)
        finally:
            # Also an interrupted exchange ends its process: the answer still to come would be
            # taken for that to the next question.
            pool.give(process)


class _Pool:
    """Places for processes; a place is empty until one is needed."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._reset()

    def _reset(self) -> None:
        self._closed = False
        self._lock = threading.Lock()
        self._all: set[PolicyProcess] = set()
        # The last used first: processes beyond what is needed are never started.
        self._free: queue.LifoQueue[PolicyProcess | None] = queue.LifoQueue()
        for _ in range(self._places):
            self._free.put(None)

    def take(self, seconds: float) -> PolicyProcess | None:
        try:
            return self._free.get(timeout=seconds)
        except queue.Empty:
            raise EngineError("ENG-TIMEOUT", "too many decisions wait for policy") from None

    def give_first(self, process: PolicyProcess) -> None:
        self._free.get_nowait()
        self._free.put(process)

    def give(self, process: PolicyProcess | None) -> None:
        if process is not None and not (process.is_alive and process.is_idle):
            self.drop(process)
            process = None
        self._free.put(process)

    def start(self, bundle: Bundle, budget: Budget) -> PolicyProcess:
        process = PolicyProcess(bundle, budget)
        with self._lock:
            if not self._closed:
                self._all.add(process)
                return process
        process.close()
        raise EngineError("ENG-ERROR", "the policy engine was closed")

    def drop(self, process: PolicyProcess | None) -> None:
        if process is not None:
            with self._lock:
                self._all.discard(process)
            process.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            processes, self._all = self._all, set()
        for process in processes:
            process.kill()
        idle = []
        with suppress(queue.Empty):
            while True:
                idle.append(self._free.get_nowait())
        for process in filter(None, idle):
            process.close()  # those in use are cleaned up by the threads that use them
        for _ in idle:
            self._free.put(None)

    def forget(self) -> None:
        """After a fork, in the child: those processes answer somebody else."""
        processes = self._all
        self._reset()
        for process in processes:
            process.forget()


_engines: weakref.WeakSet[ConfinedEngine] = weakref.WeakSet()


def _forget_all() -> None:
    for engine in list(_engines):
        engine._pool.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
