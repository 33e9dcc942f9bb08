from __future__ import annotations

import json
import time

import pytest

from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy import trial
from mlflow_governance.policy.process import Budget, PolicyProcess
from mlflow_governance.policy.trial import large_dossiers, require
from mlflow_governance.policy.validity import is_valid
from tests.unit.policy.builders import configured, shipped, with_module
from tests.unit.policy.hostile import ARMED, HUGE, SLOW, alias, nested


def test_a_bundle_within_the_budget_is_let_in_and_tried_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = configured(blocking_cvss=6.5)
    require(bundle)

    monkeypatch.setattr(trial, "PolicyProcess", None)
    require(bundle)


def test_the_bundle_that_ships_needs_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "PolicyProcess", None)

    require(shipped())


def test_a_parser_that_does_not_come_back_is_killed_and_its_file_named() -> None:
    started = time.monotonic()
    with pytest.raises(ConfigurationError) as refusal:
        require(nested(5000), Budget(load_seconds=2))

    assert time.monotonic() - started < 6
    assert "registry/deep/deep.rego" in refusal.value.message
    assert "2 s" in refusal.value.message


@pytest.mark.parametrize(
    ("source", "budget", "said"),
    [
        (SLOW, Budget(seconds=3), "took more than 3 s, evaluating registry.alias.decision"),
        (HUGE, Budget(seconds=30, megabytes=128), "needed more than 128 MiB"),
    ],
)
def test_a_gate_over_its_budget_is_refused_by_name(source: str, budget: Budget, said: str) -> None:
    armed = source.replace(ARMED, "input.subject.name == input.subject.name").replace(
        "3000", "9000"
    )

    with pytest.raises(ConfigurationError, match=said):
        require(alias(armed), budget)


def test_the_mask_of_the_log_keeps_to_the_budget_too() -> None:
    source = (
        "package registry.log\n\n"
        "mask contains x if some x in {[a, b] | some a in ns; some b in ns}\n\n"
        "ns := numbers.range(1, 5000)\n"
    )

    with pytest.raises(ConfigurationError, match=r"registry\.log\.mask"):
        require(with_module(source, "registry/log/mask.rego"), Budget(seconds=4, megabytes=256))


@pytest.mark.parametrize("builtin", ["time.now_ns()", "rand.intn(`x`, 3)", "opa.runtime()"])
def test_a_builtin_that_depends_on_more_than_the_dossier_is_refused(builtin: str) -> None:
    bundle = with_module(f"package registry.extra\n\nx(_) := {builtin}\n")

    with pytest.raises(ConfigurationError, match=r"extra\.rego:3:\d+: impure-builtin"):
        require(bundle)


def test_a_bundle_that_does_not_compile_is_refused_in_the_words_of_the_compiler() -> None:
    with pytest.raises(ConfigurationError, match=r"do not (parse|compile)"):
        require(with_module("package registry.x\n\na if {\n"))


def test_a_syntax_tree_too_deep_to_walk_is_a_refusal() -> None:
    with pytest.raises(ConfigurationError):
        require(with_module("package registry.x\n\na := 1" + " +\n\t1" * 20_000 + "\n"))


def test_the_dossiers_of_the_trial_are_large_and_well_formed() -> None:
    gates = set()
    for gate, document in large_dossiers():
        assert is_valid(json.loads(document))
        gates.add(gate)
        evidence = json.loads(document)["evidence"]
        assert len(evidence["vulnerabilities"]["facts"]["vulnerabilities"]) == 2000
        assert len(document) > 300_000
    assert len(gates) == 5


def test_the_trial_leaves_no_process_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[PolicyProcess] = []

    class Watched(PolicyProcess):
        def __init__(self, *args: object, **kwargs: object) -> None:
            seen.append(self)
            super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(trial, "PolicyProcess", Watched)
    require(configured(blocking_cvss=6.25))
    with pytest.raises(ConfigurationError):
        require(nested(5000), Budget(load_seconds=1))

    assert len(seen) == 2
    assert all(process._process.returncode is not None for process in seen)
