"""Run Rego tests on the embedded engine, with the outcomes of ``opa test``.

A test is a rule ``test_…``; it passes if it is true and nothing else. Two rules of one name are
two tests, as with OPA. Where one fails is told with file and line, and what it printed.

There are two differences, both on the strict side: a builtin that fails makes a test an error (as
the gates are asked; ``opa test`` reads it as undefined), and a test with cases (``test_x[case]``)
is an error, since the embedded engine cannot say which cases did not hold.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mlflow_governance.errors import ConfigurationError, InvalidRequest
from mlflow_governance.policy import names
from mlflow_governance.policy.bundle import from_files
from mlflow_governance.policy.finding import Finding
from mlflow_governance.policy.interface import EngineError
from mlflow_governance.policy.interpreter import UNDEFINED, Interpreter
from mlflow_governance.policy.syntax import Rule, Tree, first_span, parse


class Outcome(StrEnum):
    """How a test ended."""

    PASS = "PASS"  # noqa: S105  (no password)
    FAIL = "FAIL"
    ERROR = "ERROR"
    SKIPPED = "SKIPPED"


@dataclass(frozen=True)
class Test:
    """A rule that is a test. ``rule`` is its name for the engine, ``name`` the one for people."""

    __test__ = False  # pytest, this is none of yours

    package: str
    name: str
    rule: str
    file: str
    line: int
    column: int
    unfit: str = ""
    """Why it cannot be run; empty if it can."""

    @property
    def path(self) -> str:
        """``data.registry.accept_test.test_…``."""
        return f"data.{self.package}.{self.name}"


@dataclass(frozen=True)
class Result:
    """What became of a test. ``duration`` is in nanoseconds."""

    test: Test
    outcome: Outcome
    message: str = ""
    prints: tuple[str, ...] = ()
    duration: int = 0

    def to_document(self) -> dict[str, Any]:
        """The result in the members of ``opa test --format json``; prints as lines."""
        found: dict[str, Any] = {
            "location": {
                "file": self.test.file,
                "row": self.test.line,
                "col": self.test.column,
            },
            "package": f"data.{self.test.package}",
            "name": self.test.name,
            "duration": self.duration,
        }
        for outcome, member in ((Outcome.FAIL, "fail"), (Outcome.SKIPPED, "skip")):
            if self.outcome is outcome:
                found[member] = True
        if self.outcome is Outcome.ERROR:
            found["error"] = self.message
        return {**found, "output": list(self.prints)} if self.prints else found


@dataclass(frozen=True)
class Report:
    """The results in the order of files and lines, and the lines of the policies by file."""

    results: tuple[Result, ...]
    coverage: Mapping[str, tuple[frozenset[int], frozenset[int]]] = field(default_factory=dict)
    """Evaluated lines, and those that could have been and were not."""

    @property
    def passed(self) -> bool:
        """Whether no test failed or broke."""
        bad = (Outcome.FAIL, Outcome.ERROR)
        return not any(result.outcome in bad for result in self.results)

    @property
    def percent(self) -> float:
        """Evaluated lines of a hundred."""
        evaluated = sum(len(covered) for covered, _ in self.coverage.values())
        left = sum(len(missed) for _, missed in self.coverage.values())
        return 100.0 * evaluated / (evaluated + left) if evaluated + left else 100.0


def run(files: Mapping[str, bytes], *, matching: str = "", coverage: bool = False) -> Report:
    """Run the tests among the files of a bundle.

    Args:
        files: everything in the folder, tests included.
        matching: a regular expression; only tests whose path it finds are run.
        coverage: note which lines of the policies were evaluated.

    Raises:
        ConfigurationError: something does not parse, or uses itself.
        InvalidRequest: ``matching`` is no regular expression.
    """
    try:
        wanted = re.compile(matching)
    except re.error as error:
        raise InvalidRequest(f"{matching!r} is no regular expression: {error}") from error
    trees, broken = parse(_modules(files))
    broken += names.recursion(trees, names.collect(trees))
    if broken:
        raise _unusable(broken)
    modules, tests = _told_apart(trees)
    data = from_files({n: d for n, d in files.items() if not _is_test(n)}).data
    runner = _Runner(modules, data, coverage)
    results = tuple(runner.run(test) for test in tests if wanted.search(test.path))
    return Report(results, runner.covered())


def _modules(files: Mapping[str, bytes]) -> dict[str, str]:
    return {n: d.decode("utf-8", "replace") for n, d in files.items() if n.endswith(".rego")}


def _is_test(name: str) -> bool:
    return name.startswith("tests/") or name.endswith("_test.rego")


def _unusable(broken: list[Finding]) -> ConfigurationError:
    return ConfigurationError(
        "the tests cannot be run:\n" + "\n".join(f"  {finding}" for finding in sorted(broken)),
        advice="Mend that first: mlflow-governance policy check --bundle FOLDER",
    )


def _told_apart(trees: list[Tree]) -> tuple[dict[str, str], list[Test]]:
    # The engine would take two rules of one name for one; OPA runs each by itself.
    seen: Counter[tuple[str, str]] = Counter()
    modules, tests = {}, []
    for tree in trees:
        text = tree.text.encode()
        changes = []
        for rule in tree.rules:
            if not rule.name.startswith(("test_", "todo_test_")):
                continue
            number = seen[tree.package, rule.name]
            seen[tree.package, rule.name] += 1
            test = _test(tree, rule, number)
            tests.append(test)
            if number:
                changes.append((first_span(rule.head["refr"]), test.rule.encode()))
        for span, new in reversed(changes):
            text = text[: span["start"]] + new + text[span["end"] :]
        modules[tree.file] = text.decode()
    return modules, tests


def _test(tree: Tree, rule: Rule, number: int) -> Test:
    span = first_span(rule.head["refr"])
    unfit = ""
    if rule.kind == "Func" or rule.arguments:
        unfit = "a function is no test"
    elif "Var" not in rule.head["refr"]:
        unfit = "only opa runs a test with cases; write one test with `every` case"
    name = f"{rule.name}#{number:02d}" if number else rule.name
    engine_name = f"{rule.name}__{number:02d}" if number else rule.name
    return Test(tree.package, name, engine_name, tree.file, span["line"], span["col"], unfit)


class _Runner:
    def __init__(self, modules: Mapping[str, str], data: Mapping[str, Any], coverage: bool) -> None:
        self._modules, self._data, self._coverage = modules, data, coverage
        self._lines: dict[str, tuple[set[int], set[int]]] = {}
        self._interpreter: Interpreter | None = None

    def run(self, test: Test) -> Result:
        if test.name.startswith("todo_"):
            return Result(test, Outcome.SKIPPED)
        if test.unfit:
            return Result(test, Outcome.ERROR, test.unfit)
        started = time.perf_counter_ns()
        outcome, message, prints = self._ask(f"{test.package}.{test.rule}")
        return Result(test, outcome, message, prints, time.perf_counter_ns() - started)

    def _ask(self, rule: str) -> tuple[Outcome, str, tuple[str, ...]]:
        if self._interpreter is None:
            self._interpreter = Interpreter(self._modules, self._data, coverage=self._coverage)
        interpreter = self._interpreter
        try:
            value = interpreter.evaluate(rule)
        except EngineError as error:
            # Whatever state it is in, the next test gets another interpreter.
            self._keep_lines()
            self._interpreter = None
            return Outcome.ERROR, error.message, tuple(interpreter.prints())
        if value is True:
            return Outcome.PASS, "", tuple(interpreter.prints())
        told = "undefined" if value == UNDEFINED else f"the value is {str(value)[:200]}"
        return Outcome.FAIL, told, tuple(interpreter.prints())

    def covered(self) -> dict[str, tuple[frozenset[int], frozenset[int]]]:
        if not self._coverage:
            return {}
        if self._interpreter is None:
            self._interpreter = Interpreter(self._modules, self._data, coverage=True)
        self._keep_lines()
        return {
            file: (frozenset(done), frozenset(left - done))
            for file, (done, left) in sorted(self._lines.items())
            if not _is_test(file)
        }

    def _keep_lines(self) -> None:
        if self._interpreter is None or not self._coverage:
            return
        for file, (done, left) in self._interpreter.coverage().items():
            lines = self._lines.setdefault(file, (set(), set()))
            lines[0].update(done)
            lines[1].update(left)


def uncovered(lines: frozenset[int]) -> Iterator[str]:
    """Lines as ranges: ``3``, ``7-9``."""
    ordered = sorted(lines)
    while ordered:
        first = last = ordered.pop(0)
        while ordered and ordered[0] == last + 1:
            last = ordered.pop(0)
        yield str(first) if first == last else f"{first}-{last}"
