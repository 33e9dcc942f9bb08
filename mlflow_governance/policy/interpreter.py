"""One interpreter for whoever looks at a bundle: any rule, with prints and coverage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlflow_governance.policy.embedded import _explain, _reraise_unless_engine
from mlflow_governance.policy.interface import EngineError

UNDEFINED = "<undefined>"


class Interpreter:
    """Evaluates rules of some modules; belongs to the thread that made it.

    Args:
        modules: Rego by path. They parse and do not use themselves (see :mod:`.lint`).
        data: the data documents, merged.
        coverage: note which lines were evaluated.

    Raises:
        EngineError: the modules do not go together.
    """

    def __init__(
        self, modules: Mapping[str, str], data: Mapping[str, Any], *, coverage: bool = False
    ) -> None:
        import regorus

        self._engine: Any = regorus.Engine()
        self._last_prints: list[str] = []
        self._last_lines: dict[str, tuple[set[int], set[int]]] = {}
        try:
            self._engine.set_gather_prints(True)
            self._engine.set_enable_coverage(coverage)
            for name, source in modules.items():
                self._engine.add_policy(name, source)
            self._engine.add_data_json(json.dumps(data))
        except BaseException as error:
            self._engine = None
            raise _engine_error(error) from None

    def evaluate(self, rule: str, document: bytes | None = None) -> Any:
        """The value of ``data.<rule>``; :data:`UNDEFINED` where it has none.

        Raises:
            EngineError: ``ENG-ERROR``; whoever gets one drops the interpreter.
        """
        try:
            if document is not None:
                self._engine.set_input_json(document.decode("utf-8"))
            return json.loads(self._engine.eval_rule_as_json(f"data.{rule}"))
        except BaseException as error:
            self._retire()
            raise _engine_error(error) from None

    def prints(self) -> list[str]:
        """What ``print`` said since this was last asked: ``file:line: text``."""
        if self._engine is None:
            return self._last_prints
        return [str(line) for line in self._engine.take_prints()]

    def coverage(self) -> dict[str, tuple[set[int], set[int]]]:
        """By module: the lines that were evaluated, and those that could have been."""
        if self._engine is None:
            return self._last_lines
        report = json.loads(self._engine.get_coverage_report_as_json())
        return {
            file["path"]: (set(file["covered"]), set(file["not_covered"]))
            for file in report["files"]
        }

    def _retire(self) -> None:
        # The traceback keeps this object, and an engine must die on its own thread: here, now.
        self._last_prints, self._last_lines = self.prints(), self.coverage()
        self._engine = None


def _engine_error(error: BaseException) -> EngineError:
    _reraise_unless_engine(error)
    return EngineError("ENG-ERROR", _explain(error))
