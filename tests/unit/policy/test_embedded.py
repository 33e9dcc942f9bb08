from __future__ import annotations

import gc
import json
import threading
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import regorus

from mlflow_governance.core.dossier import Gate
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy import embedded
from mlflow_governance.policy.bundle import Bundle, from_files
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import EngineError
from tests.unit.policy.builders import configured, dossier, shipped, with_module

ALIAS = "registry/alias/alias.rego"


def alias_gate(source: str) -> Bundle:
    return from_files({**shipped().files, ALIAS: f"package registry.alias\n\n{source}\n".encode()})


@pytest.fixture(scope="module")
def engine() -> EmbeddedEngine:
    return EmbeddedEngine(shipped())


def test_it_names_itself_and_its_policy(engine: EmbeddedEngine) -> None:
    assert engine.name.startswith("regorus 0.13")
    assert engine.policy_digest == shipped().digest


def test_an_unknown_function_is_found_at_load() -> None:
    with pytest.raises(ConfigurationError, match=r"alias.rego:6"):
        EmbeddedEngine(
            alias_gate(
                'decision := {"gate": "alias", "allow": allow}\n\n'
                "default allow := false\nallow if crypto.sha256(input.x) == `y`"
            )
        )


def test_a_module_that_does_not_parse_is_refused_without_a_stack_trace() -> None:
    with pytest.raises(ConfigurationError, match="do not compile") as refusal:
        EmbeddedEngine(with_module("package registry.x\n\na if {\n"))

    assert "Stack backtrace" not in str(refusal.value)


def test_a_function_that_uses_itself_is_refused_before_it_ends_the_process() -> None:
    looping = "package registry.x\n\nf(n) := g(n)\n\ng(n) := f(n)\n"

    with pytest.raises(ConfigurationError, match=r"registry\.x\.f uses registry\.x\.g"):
        EmbeddedEngine(with_module(looping))


def test_what_would_take_for_ever_to_read_is_refused_at_once() -> None:
    started = time.monotonic()

    for brackets in ("[" * 5000 + "]" * 5000, "{" * 13 + "1" + "}" * 13):
        with pytest.raises(ConfigurationError, match=r"extra\.rego:3:\d+: nesting"):
            EmbeddedEngine(with_module(f"package registry.extra\n\nx := {brackets}\n"))
    assert time.monotonic() - started < 10


def test_a_missing_gate_is_refused() -> None:
    files = {name: data for name, data in shipped().files.items() if name != ALIAS}

    with pytest.raises(ConfigurationError, match="alias"):
        EmbeddedEngine(from_files(files))


@pytest.mark.parametrize(
    "source",
    ['decision := {"allow": true}', 'decision := {"gate": "alias"}', "decision := 5"],
)
def test_a_gate_that_does_not_deny_nothing_is_refused(source: str) -> None:
    with pytest.raises(ConfigurationError, match="does not deny an empty dossier"):
        EmbeddedEngine(alias_gate(source))


def test_a_gate_without_an_answer_is_undefined() -> None:
    engine = EmbeddedEngine(alias_gate("decision := input.nothing"))

    with pytest.raises(EngineError) as error:
        engine.evaluate(Gate.ALIAS, dossier(Gate.ALIAS).encoded)
    assert error.value.reason_code == "ENG-UNDEFINED"


def test_a_failing_builtin_is_an_error_not_a_quiet_no() -> None:
    engine = EmbeddedEngine(alias_gate("decision := time.parse_rfc3339_ns(input.subject.name)"))

    with pytest.raises(EngineError) as error:
        engine.evaluate(Gate.ALIAS, dossier(Gate.ALIAS).encoded)
    assert error.value.reason_code == "ENG-ERROR"
    assert "Stack backtrace" not in error.value.message


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b'{"a": NaN}', b"[" * 100_000, b'{"a": "\\ud800"}', b"null", b"[]", b"5"],
)
def test_foreign_bytes_raise_engine_errors_or_are_denied(
    engine: EmbeddedEngine, data: bytes
) -> None:
    for gate in Gate:
        try:
            answer = engine.evaluate(gate, data)
        except EngineError as error:
            answer = {"allow": error.reason_code not in ("ENG-ERROR", "ENG-UNDEFINED")}
        assert answer["allow"] is False
    assert engine.evaluate(Gate.ACCEPT, dossier(Gate.ACCEPT).encoded)["allow"] is True


def test_an_answer_too_large_is_not_read() -> None:
    engine = EmbeddedEngine(
        alias_gate(
            "decision := concat(``, [`12345678` | some x in numbers.range(1, 200000)]) "
            "if input.gate\n"
        )
    )

    with pytest.raises(EngineError) as error:
        engine.evaluate(Gate.ALIAS, dossier(Gate.ALIAS).encoded)
    assert error.value.reason_code == "ENG-SHAPE"


def test_nothing_of_one_dossier_is_left_for_the_next(engine: EmbeddedEngine) -> None:
    good, bare = dossier(Gate.PROMOTE), dossier(Gate.PROMOTE, evidence={}, approvals=())

    for _ in range(3):
        assert decide(engine, good).allow
        assert not decide(engine, bare).allow


def test_a_changed_number_changes_answer_and_digest(engine: EmbeddedEngine) -> None:
    strict = EmbeddedEngine(configured(tolerated_severities=["none"]))

    assert strict.policy_digest != engine.policy_digest
    assert not decide(strict, dossier(Gate.ACCEPT)).allow


def test_eight_threads_get_their_own_right_answers(engine: EmbeddedEngine) -> None:
    changes: list[dict[str, Any]] = [{}, {"evidence": {}, "approvals": (), "action": {}}]
    cases = [(g, dossier(g, **change), not change) for g in Gate for change in changes]
    for _, case, _ in cases:
        _ = case.encoded
    start = threading.Barrier(8)

    def run(offset: int) -> list[bool]:
        start.wait()
        wrong = []
        for step in range(200):
            gate, case, expected = cases[(step + offset) % len(cases)]
            decision = decide(engine, case)
            wrong.append(decision.allow is not expected or decision.gate is not gate)
        return wrong

    with ThreadPoolExecutor(8) as pool:
        wrong = [w for result in pool.map(run, range(8)) for w in result]

    assert len(wrong) == 1600
    assert not any(wrong)


def test_an_engine_may_be_dropped_by_another_thread() -> None:
    # regorus objects may not: the warning would say so.
    engines = [EmbeddedEngine(shipped())]
    ready, done = threading.Event(), threading.Event()

    def use() -> None:
        engines[0].evaluate(Gate.DOWNLOAD, dossier(Gate.DOWNLOAD).encoded)
        ready.set()
        done.wait(10)

    thread = threading.Thread(target=use)
    thread.start()
    ready.wait(10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engines.clear()
        gc.collect()
    done.set()
    thread.join()


@pytest.mark.parametrize("source", ["decision := input.nothing", "decision := lower(input.n)"])
def test_a_failure_somebody_keeps_does_not_keep_the_engine(source: str) -> None:
    engine, kept = EmbeddedEngine(alias_gate(source)), []
    try:
        engine.evaluate(Gate.ALIAS, b'{"n": 1}')
    except EngineError as error:
        kept.append(error)
    del engine
    evaluated = [frame.f_locals for frame, _ in traceback.walk_tb(kept[0].__traceback__)]

    assert evaluated
    assert not any(isinstance(v, regorus.Engine) for found in evaluated for v in found.values())


def test_many_engines_in_one_thread_keep_working() -> None:
    engines = [EmbeddedEngine(configured(blocking_cvss=7 + i)) for i in range(6)]

    for _ in range(2):
        for engine in engines:
            answer = engine.evaluate(Gate.ACCEPT, dossier(Gate.ACCEPT).encoded)
            assert json.loads(json.dumps(answer))["allow"] is True


def test_who_only_weighs_a_bundle_leaves_no_interpreter_behind() -> None:
    embedded._local.engines = {}

    EmbeddedEngine(shipped())

    assert embedded._local.engines == {}
