from __future__ import annotations

import pytest

from mlflow_governance.core.resources import folder
from mlflow_governance.errors import ConfigurationError, InvalidRequest
from mlflow_governance.policy.bundle import read
from mlflow_governance.policy.testing import Outcome, run, uncovered

GOOD = "test_a if a.x == 1 with input.y as true"
MANIFEST = b'{"roots": ["registry"], "rego_version": 1}'
HEAD = "package registry.a_test\n\nimport data.registry.a"
POLICY = b"""package registry.a

import data.registry.config

x := 1 if {
	input.y
} else := 2 if {
	input.z
}

limit := config.limit
"""


def bundle(tests: str, **more: bytes) -> dict[str, bytes]:
    return {
        ".manifest": MANIFEST,
        "registry/a.rego": POLICY,
        "registry/config/data.json": b'{"limit": 7}',
        "tests/a_test.rego": f"{HEAD}\n\n{tests}\n".encode(),
        **more,
    }


def test_the_shipped_policies_pass_and_most_lines_are_evaluated() -> None:
    report = run(read(folder("policies")), coverage=True)

    assert report.passed
    assert len(report.results) > 50
    assert report.percent > 90
    assert not any(name.startswith("tests/") for name in report.coverage)


def test_a_test_that_breaks_does_not_break_the_others() -> None:
    report = run(bundle("test_a if 1 / 0 == 1\n\ntest_b if a.x == 1 with input.y as true\n"
                        "\ntest_c if lower(5) == 1\n\ntest_d if a.limit == 7"))  # fmt: skip

    assert [r.outcome for r in report.results] == [
        Outcome.ERROR, Outcome.PASS, Outcome.ERROR, Outcome.PASS
    ]  # fmt: skip
    assert "divide by zero" in report.results[0].message.lower()
    assert not report.passed


def test_what_failed_is_told_with_its_place_and_its_prints() -> None:
    report = run(bundle('test_a if {\n\tprint("seen", input.q)\n\ta.x == 1 with input.z as 1\n}'))

    (result,) = report.results
    assert (result.outcome, result.test.file, result.test.line) == (
        Outcome.FAIL, "tests/a_test.rego", 5,
    )  # fmt: skip
    assert result.prints == ("tests/a_test.rego:6: seen <undefined>",)
    document = result.to_document()
    assert document["fail"] is True
    assert document["location"] == {"file": "tests/a_test.rego", "row": 5, "col": 1}


def test_lines_no_test_evaluates_are_told() -> None:
    report = run(bundle("test_a if a.x == 1 with input.y as true"), coverage=True)

    done, left = report.coverage["registry/a.rego"]
    assert {5, 6} <= done
    assert {8} <= left
    assert 0 < report.percent < 100
    assert list(uncovered(frozenset({1, 2, 3, 7, 9, 10}))) == ["1-3", "7", "9-10"]


def test_lines_seen_before_a_test_broke_count() -> None:
    tests = f"{GOOD}\n\ntest_b if {{\n\ta.limit == 7\n\t1 / 0 == 1\n}}"

    done, _ = run(bundle(tests), coverage=True).coverage["registry/a.rego"]

    assert {5, 6} <= done


def test_only_what_matches_is_run() -> None:
    files = bundle("test_a if true\n\ntest_b if false")

    assert run(files, matching=r"a_test\.test_a$").passed
    assert run(files, matching="nothing").results == ()
    with pytest.raises(InvalidRequest):
        run(files, matching="(")


def test_tests_and_helpers_beside_the_policies_count() -> None:
    report = run(
        bundle(
            "test_a if data.registry.helpers.yes",
            **{"tests/helpers.rego": b"package registry.helpers\n\nyes := true\n",
               "registry/own_test.rego": b"package registry.own_test\n\ntest_own if true\n"},
        )
    )  # fmt: skip

    assert {r.test.path for r in report.results} == {
        "data.registry.a_test.test_a", "data.registry.own_test.test_own",
    }  # fmt: skip
    assert report.passed


@pytest.mark.parametrize(
    ("tests", "told"),
    [("test_a if {\n", r"tests/a_test\.rego:7"), ("f(x) := f(x)", r"a_test\.f uses")],
)
def test_what_cannot_be_run_is_told_before_anything_is(tests: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        run(bundle(tests))


def test_a_bundle_that_cannot_be_loaded_is_not_tested() -> None:
    files = bundle("test_a if true")
    del files[".manifest"]

    with pytest.raises(ConfigurationError):
        run(files)
