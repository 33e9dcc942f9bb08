"""The embedded engine: regorus, a Rego interpreter in Rust.

Its traps decide the shape of this module: an engine belongs to the thread that made it (another
thread gets a ``BaseException``, even for dropping it), only its JSON text interface is safe, and
its bytecode machine answers differently, so that serves as a compile check alone.
"""

from __future__ import annotations

import json
import threading
from importlib import metadata
from typing import Any

from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Gate
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.interface import MAX_ANSWER_BYTES, EngineError
from mlflow_governance.policy.lint import refuse_hazards

_DISTRIBUTION = "gordon-to-regorus"
_IMPOSTORS = ("celine-regorus", "hobofan-regorus", "lakera-regorus")
_ENGINES_A_THREAD = 4

_local = threading.local()
"""Engines by owner, of this thread. Outlives the owners: only its thread may drop an engine."""


class EmbeddedEngine:
    """Evaluates a bundle in this process; one interpreter a thread, made on first use.

    Args:
        bundle: the policies in force.

    Raises:
        ConfigurationError: the bundle does not compile, lacks a gate, or a gate says yes to
            nothing at all.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._data = json.dumps(bundle.data)
        self._key = object()
        self._name = engine_name()
        refuse_hazards(bundle)
        try:
            self._refuse_unknown_functions()
            self._make()
        except BaseException as error:
            _reraise_unless_engine(error)
            raise ConfigurationError(
                f"the policies do not compile: {_explain(error)}",
                advice="Check them: mlflow-governance policy check --bundle FOLDER",
            ) from None
        try:
            for gate in Gate:
                self._refuse_careless(gate)
        finally:
            # Who only weighs a bundle leaves no interpreter of it behind in every thread.
            self._forget()

    @property
    def name(self) -> str:
        """``regorus`` and its version."""
        return self._name

    @property
    def policy_digest(self) -> Digest:
        """Digest of the bundle."""
        return self._bundle.digest

    def evaluate(self, gate: Gate, document: bytes) -> Any:
        """The raw decision of a gate.

        Raises:
            EngineError: ``ENG-UNDEFINED`` or ``ENG-ERROR``.
        """
        return self.query(f"registry.{gate.value}.decision", document)

    def query(self, rule: str, document: bytes) -> Any:
        """The value of any rule of the bundle.

        Raises:
            EngineError: ``ENG-UNDEFINED``, ``ENG-SHAPE`` (the answer is too large) or
                ``ENG-ERROR``.
        """
        try:
            engine = self._engine()
            engine.set_input_json(document.decode("utf-8"))
            text = engine.eval_rule_as_json(f"data.{rule}")
            answer = None if len(text) > MAX_ANSWER_BYTES else json.loads(text)
        except BaseException as error:
            _reraise_unless_engine(error)
            self._forget()
            raise EngineError("ENG-ERROR", f"the policy engine broke: {_explain(error)}") from error
        finally:
            # A traceback may keep this frame, and an interpreter must die on its own thread.
            engine = None
        if len(text) > MAX_ANSWER_BYTES:
            raise EngineError("ENG-SHAPE", f"the answer has more than {MAX_ANSWER_BYTES} bytes")
        if answer == "<undefined>" or answer is None:
            raise EngineError("ENG-UNDEFINED", f"{rule} has no answer")
        return answer

    def _engine(self) -> Any:
        engines: dict[object, Any] | None = getattr(_local, "engines", None)
        if engines is None:
            engines = _local.engines = {}
        engine = engines.get(self._key)
        if engine is None:
            if len(engines) >= _ENGINES_A_THREAD:
                engines.clear()
            engine = engines[self._key] = self._make()
        return engine

    def _forget(self) -> None:
        # An engine that failed is not trusted with the next input.
        getattr(_local, "engines", {}).pop(self._key, None)

    def _make(self) -> Any:
        import regorus

        engine = regorus.Engine()
        try:
            for name, source in self._bundle.modules.items():
                engine.add_policy(name, source)
            engine.add_data_json(self._data)
            return engine
        finally:
            engine = None  # as in evaluate

    def _refuse_unknown_functions(self) -> None:
        # The interpreter finds an unknown function only when it gets there; the compiler at once.
        import regorus

        regorus.Program.compile_from_modules(
            self._data,
            list(self._bundle.modules.items()),
            [f"data.registry.{gate.value}.decision" for gate in Gate],
        )

    def _refuse_careless(self, gate: Gate) -> None:
        try:
            answer = self.evaluate(gate, b"{}")
        except EngineError as error:
            if "not a valid rule path" in error.message:
                raise ConfigurationError(
                    f"the policies have no rule data.registry.{gate.value}.decision"
                ) from error
            return
        if not isinstance(answer, dict) or answer.get("allow") is not False:
            raise ConfigurationError(
                f"the {gate.value} gate does not deny an empty dossier",
                advice="Give every check `default … := false`.",
            )


def engine_name() -> str:
    """``regorus`` and its version.

    Raises:
        ConfigurationError: another distribution overwrites it.
    """
    return f"regorus {_installed_version()}"


def _installed_version() -> str:
    # Forks of the binding install the same top-level module over each other.
    for impostor in _IMPOSTORS:
        try:
            metadata.distribution(impostor)
        except metadata.PackageNotFoundError:
            continue
        raise ConfigurationError(
            f"{impostor} overwrites the policy engine of {_DISTRIBUTION}",
            advice=f"pip uninstall {impostor}, then pip install --force-reinstall {_DISTRIBUTION}",
        )
    return metadata.version(_DISTRIBUTION)


def _reraise_unless_engine(error: BaseException) -> None:
    # A Rust panic is a BaseException of the module pyo3_runtime; Ctrl-C is not ours to eat.
    if not isinstance(error, Exception) and type(error).__module__ != "pyo3_runtime":
        raise error


def _explain(error: BaseException) -> str:
    text = str(error).split("Stack backtrace")[0].strip()
    return f"{text[:1000]}" if text else type(error).__name__
