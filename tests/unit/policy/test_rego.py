"""The Rego tests of the shipped policies, on the embedded engine."""

from __future__ import annotations

import pytest

from mlflow_governance.core.resources import folder
from mlflow_governance.policy.bundle import read
from mlflow_governance.policy.testing import Outcome, Result, run

RESULTS = run(read(folder("policies"))).results


def test_there_are_tests_for_every_gate() -> None:
    assert len(RESULTS) > 50
    assert {result.test.package for result in RESULTS} >= {
        f"registry.{gate}_test" for gate in ("accept", "promote", "download", "alias", "withdraw")
    }


@pytest.mark.parametrize("result", RESULTS, ids=[result.test.path for result in RESULTS])
def test_rego(result: Result) -> None:
    assert result.outcome is Outcome.PASS, result.message
