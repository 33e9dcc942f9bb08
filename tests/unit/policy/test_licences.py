"""Licences before both engines: one answer, in time, and a yes to an ordinary environment."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import regorus

from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.resources import folder
from mlflow_governance.evidence.licence import LicenceVerifier
from mlflow_governance.policy.samples import mutated
from mlflow_governance.submission.bom import ml_bom
from mlflow_governance.submission.environment import BaseModel, Environment
from tests.unit.evidence.bom_builders import bom_case
from tests.unit.policy.builders import document, shipped
from tests.unit.submission.builders import described, facts

PROBE = """\
package registry.licences_probe

import data.registry.licences

answer := [{"acceptable": licences.acceptable(dossier, blocking), "names": licences.names(blocking),
	"problem": licences.problem(blocking), "obligations": licences.obligations(dossier, waivers)} |
	some dossier in input
	waivers := licences.waivers(dossier)
	blocking := licences.blocking(dossier, waivers)
]
"""
WAIVER = {
    "id": "L-1", "model": "churn", "component": "*", "licence": "GPL-2.0-only",
    "owner": "sam", "reason": "not shipped", "expires": "2027-01-01T00:00:00Z",
}  # fmt: skip
TERMS = [
    "MIT", "Apache-2.0", "GPL-2.0-only", "GPL-3.0-only", "AGPL-3.0-only", "SSPL-1.0",
    "CC-BY-NC-4.0", "CC-BY-ND-4.0", "CC-BY-SA-4.0", "LicenseRef-llama3", "LicenseRef-x", "ACME",
]  # fmt: skip
USES = {
    "model": [], "library": ["inference"], "dataset": ["training"],
    "base-model": ["fine-tuning", "inference"],
}  # fmt: skip


def config(**changes: Any) -> dict[str, Any]:
    data = json.loads(json.dumps(shipped().data))
    data["registry"]["config"]["licences"] |= changes
    return data


def embedded(dossiers: list[Any], data: dict[str, Any] | None = None) -> list[Any]:
    engine = regorus.Engine()
    for name, source in {**shipped().modules, "probe.rego": PROBE}.items():
        engine.add_policy(name, source)
    engine.add_data_json(json.dumps(data or config()))
    engine.set_input_json(json.dumps(dossiers))
    return json.loads(engine.eval_rule_as_json("data.registry.licences_probe.answer"))


def dossier(entries: Any) -> dict[str, Any]:
    value = document(Gate.ACCEPT)
    value["evidence"]["licences"] = {
        "status": "passed", "facts": {"licences": entries}, "problem": "",
    }  # fmt: skip
    return value


def of_environment(*requirements: str, **changes: Any) -> dict[str, Any]:
    """The dossier of a model in the environment that runs this test."""
    environment = Environment(requirements, python="3.11.7", mlflow="3.1.4")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    written = ml_bom(described(**changes), facts(), at, environment)
    return dossier(LicenceVerifier().verify(bom_case(written))["licences"])


def test_an_ordinary_environment_is_accepted() -> None:
    ordinary = of_environment("mlflow", "scikit-learn", "pandas", "numpy", "skops")
    licensed = of_environment("mlflow", "scikit-learn", licence="Apache-2.0")

    for answer in embedded([ordinary, licensed]):
        assert (answer["acceptable"], answer["names"]) == (True, [])


def test_a_base_model_that_does_not_go_with_the_model_is_named() -> None:
    tuned = of_environment(
        "scikit-learn", licence="MIT", base_models=(BaseModel("meta/llama@abc", "llama3.1"),)
    )

    (answer,) = embedded([tuned])

    assert answer["acceptable"] is False
    assert answer["names"] == [
        "base-model pkg:huggingface/meta/llama@abc is under LicenseRef-llama3.1, which has to be "
        "passed on, with its restrictions of use, to what is tuned from it: "
        "model churn is under MIT"
    ]
    assert answer["problem"] == f"licences are unread or block it: {answer['names'][0]}"


def entry(source: random.Random) -> dict[str, Any]:
    kind = source.choice(list(USES))
    sizes = [source.choice((1, 1, 1, 2)) for _ in range(source.choice((0, 1, 1, 2, 3)))]
    choices = [sorted(source.sample(TERMS, size)) for size in sizes]
    return {
        "kind": kind,
        "uses": USES[kind],
        "expression": "",
        "choices": choices,
        "unknown": ["ACME"] if any("ACME" in choice for choice in choices) else [],
        "components": [f"pkg:pypi/p{source.randrange(9)}@1"],
    }


def some_dossiers(count: int) -> list[dict[str, Any]]:
    source = random.Random(7)
    found = []
    for number in range(count):
        value = dossier([entry(source) for _ in range(source.randrange(1, 6))])
        outcome = value["evidence"]["licences"]
        if number % 3 == 0:
            outcome["facts"] = mutated(source, outcome["facts"])
        found.append(value)
    return found


def settled(value: Any) -> Any:
    """Sets of obligations have no order."""
    return {**value, "obligations": sorted(value["obligations"], key=json.dumps)}


def test_real_opa_gives_the_same_answers(tmp_path: Path) -> None:
    local = Path(__file__).parents[3] / ".tools" / "bin" / "opa"
    opa = os.environ.get("OPA") or shutil.which("opa") or (str(local) if local.is_file() else None)
    if opa is None:
        pytest.skip("no opa here; make tools builds it")
    bundle = tmp_path / "policies"
    shutil.copytree(folder("policies"), bundle, ignore=shutil.ignore_patterns("tests"))
    data = config(waivers=[WAIVER], uses=["network-service"])
    settings = data["registry"]["config"]
    (bundle / "registry/config/data.json").write_text(json.dumps(settings))
    (bundle / "registry/probe").mkdir()
    (bundle / "registry/probe/probe.rego").write_text(PROBE)
    dossiers = some_dossiers(600)
    command = [opa, "eval", "--strict-builtin-errors", "-b", str(bundle), "-f", "raw",
               "--stdin-input", "data.registry.licences_probe.answer"]  # fmt: skip

    said = subprocess.run(command, input=json.dumps(dossiers).encode(), capture_output=True)

    assert said.returncode == 0, said.stderr.decode()
    theirs = [settled(value) for value in json.loads(said.stdout)]
    ours = [settled(value) for value in embedded(dossiers, data)]
    assert ours == theirs
    assert 20 < sum(value["acceptable"] for value in ours) < 580


def test_a_further_choice_for_a_library_never_makes_things_worse() -> None:
    source = random.Random(3)
    before, after = [], []
    while len(before) < 300:
        entries = [entry(source) for _ in range(4)]
        more = copy.deepcopy(entries)
        if entries[0]["kind"] != "library" or not entries[0]["choices"]:
            continue
        more[0]["choices"].append(["Zlib"])
        before.append(dossier(entries))
        after.append(dossier(more))

    for one, other in zip(embedded(before), embedded(after), strict=True):
        assert other["acceptable"] or not one["acceptable"]


def test_the_largest_evidence_is_judged_in_seconds() -> None:
    def many(choices: Any) -> list[dict[str, Any]]:
        return [
            {
                "kind": "library", "uses": ["inference"], "expression": "", "unknown": [],
                "choices": choices(n), "components": [f"p{n}"],
            }
            for n in range(500)
        ]  # fmt: skip

    worst = [
        dossier(many(lambda n: [["GPL-2.0-only", "Apache-2.0", f"MIT-{n}"]])),
        dossier(many(lambda n: [["Apache-2.0", f"MIT-{n}"], ["GPL-2.0-only", "Zlib"]])),
    ]
    started = time.perf_counter()

    answers = embedded(worst)

    assert [answer["acceptable"] for answer in answers] == [False, False]
    assert time.perf_counter() - started < 10
