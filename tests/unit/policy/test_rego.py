"""The Rego tests of the shipped policies, on the embedded engine."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import regorus

from mlflow_governance.core.resources import folder
from tests.unit.policy.builders import shipped


def _engine() -> regorus.Engine:
    bundle = shipped()
    engine = regorus.Engine()
    for name, source in bundle.modules.items():
        engine.add_policy(name, source)
    for path in sorted(folder("policies").glob("tests/*_test.rego")):
        engine.add_policy(path.name, path.read_text())
    engine.add_data_json(json.dumps(bundle.data))
    return engine


def _rules() -> Iterator[str]:
    for module in json.loads(_engine().get_ast_as_json()):
        package = module["source"]["file"].removesuffix(".rego")
        for rule in module["ast"]["rules"]:
            head = rule.get("Spec", {}).get("head", {}).get("Compr")
            name = head["refr"].get("Var", {}).get("value", "") if head else ""
            if name.startswith("test_"):
                yield f"registry.{package}.{name}"


RULES = sorted(set(_rules()))


@pytest.fixture(scope="module")
def engine() -> regorus.Engine:
    return _engine()


def test_there_are_tests_for_every_gate() -> None:
    assert len(RULES) > 50
    assert {rule.split(".")[1] for rule in RULES} >= {
        f"{gate}_test" for gate in ("accept", "promote", "download", "alias", "withdraw")
    }


@pytest.mark.parametrize("rule", RULES)
def test_rego(engine: regorus.Engine, rule: str) -> None:
    assert engine.eval_rule(f"data.{rule}") is True
