"""``policy test`` and ``opa test -b`` tell the same of the same tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlflow_governance.core.resources import folder
from mlflow_governance.policy.bundle import read
from mlflow_governance.policy.testing import Outcome, run
from tests.contract.policy import binary

pytestmark = binary.needs_opa

POLICY = b"""package registry.a

x := 1 if input.y

c := 1

c := 2 if input.two
"""
TESTS = b"""package registry.a_test

import data.registry.a

test_true if a.x == 1 with input as {"y": true}

test_false := false

test_other if {
	print("looking at", input)
	a.x == 2 with input as {"y": true}
}

test_undefined if a.x == 1

test_no_such_rule if a.nothing

test_number := 5

test_text := "true"

test_null := null

test_list := [true]

test_object := {"a": true}

test_set contains 1

test_empty_set contains 1 if false

test_conflict if a.c == 1 with input as {"two": true}

test_after_an_error if a.c == 1

test_twice if true

test_twice if false

test_again if false

test_again if true

test_otherwise if {
	false
} else if {
	true
}

test_no_input if not input.x

default test_default := true

test_a_function(x) := x

todo_test_later if false

todo_test_done if true

helper_test_x if false

test_every if {
	every v in [1, 2] {
		v > 0
	}
}

test_waived if a.x == 1 with data.registry.config.limit as 3 with input as {"y": true}
"""
BESIDE = b"""package registry.a_test

test_beside if true
"""
MANIFEST = b'{"roots": ["registry"], "rego_version": 1}'


def written(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def by_opa(root: Path) -> dict[tuple[str, str], str]:
    done = binary.run("test", "-b", str(root), "--format", "json")
    assert done.stdout, done.stderr
    found = {}
    for test in json.loads(done.stdout):
        outcome = "SKIPPED" if test.get("skip") else "FAIL" if test.get("fail") else "PASS"
        found[test["package"], test["name"]] = "ERROR" if test.get("error") else outcome
    return found


def by_us(root: Path) -> dict[tuple[str, str], str]:
    return {
        (f"data.{r.test.package}", r.test.name): r.outcome.value for r in run(read(root)).results
    }


def test_the_outcomes_are_those_of_opa(tmp_path: Path) -> None:
    files = {
        ".manifest": MANIFEST, "registry/a.rego": POLICY, "tests/a_test.rego": TESTS,
        "registry/beside_test.rego": BESIDE,
    }  # fmt: skip
    root = written(tmp_path, files)

    assert by_us(root) == by_opa(root)
    assert set(by_us(root).values()) == set(Outcome)


def test_the_tests_of_the_shipped_policies_end_alike() -> None:
    ours = by_us(folder("policies"))

    assert ours == by_opa(folder("policies"))
    assert len(ours) > 50
    assert set(ours.values()) == {"PASS"}


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        ("test_x if 1 / 0 == 1", "FAIL"),
        ('test_x if count([1 | to_number("x")]) == 0', "PASS"),
        ("test_x[name] if some name in [`one`]", "PASS"),
    ],
)
def test_where_we_are_stricter_than_opa(rule: str, outcome: str, tmp_path: Path) -> None:
    source = f"package registry.a_test\n\n{rule}\n".encode()
    root = written(
        tmp_path, {".manifest": MANIFEST, "registry/a.rego": POLICY, "tests/a_test.rego": source}
    )

    assert set(by_opa(root).values()) == {outcome}
    assert set(by_us(root).values()) == {"ERROR"}
