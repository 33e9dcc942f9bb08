from __future__ import annotations

from typing import Any

import pytest

from mlflow_governance.core import moment
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence.predicate import SLO, Purpose
from mlflow_governance.evidence.slo import SloVerifier
from mlflow_governance.evidence.trust import Threshold, TrustPolicy
from tests.unit.evidence.builders import HOUR, NOW, case, key, signer, trust
from tests.unit.evidence.record_builders import attached, objective, slo_body, window

BOTH = trust(signer(), signer("lab"))
TWO = TrustPolicy(BOTH.signers, (Threshold(frozenset({Purpose.SLO}), 2),))
LATENCY = {"name": "latency", "target": 200, "comparison": "<=", "unit": "ms"}


def facts(*bodies: Any, policy: TrustPolicy = BOTH) -> Any:
    return SloVerifier().verify(case(*attached(SLO, *bodies), policy=policy))


def at(hours: float, *objectives: dict[str, Any], **more: Any) -> dict[str, Any]:
    return slo_body(*objectives, at=NOW - hours * HOUR, **more)


def by_lab(body: dict[str, Any]) -> Any:
    return body, key("lab")


GOOD, BAD = objective(measured=0.999), objective(measured=0.5)


def test_objectives_are_facts_with_whether_they_are_met() -> None:
    found = facts(slo_body(objective(), {**LATENCY, "measured": 200.5}))

    assert found["objectives"] == [
        {"name": "availability", "target": 0.99, "measured": 0.999, "comparison": ">=",
         "unit": None, "met": True},
        {**LATENCY, "measured": 200.5, "met": False},
    ]  # fmt: skip
    assert (found["profile"], found["met"], found["signers"]) == ("online", False, ["pipeline"])
    assert found["window"] == {
        "from": moment.to_text(NOW - 2 * HOUR),
        "to": moment.to_text(NOW - HOUR),
    }
    told = {key: found[key] for key in ("profile", "window", "objectives", "met", "at", "signers")}
    assert found == {**told, "profiles": [told]}


@pytest.mark.parametrize(
    ("comparison", "measured", "met"),
    [(">=", 1, True), (">=", 2, True), (">=", 0.999, False),
     ("<=", 1, True), ("<=", 0.5, True), ("<=", 1.001, False), ("<=", -5, True)],
)  # fmt: skip
def test_met_is_worked_out_from_the_numbers(comparison: str, measured: float, met: bool) -> None:
    said = objective(measured=measured, target=1, comparison=comparison, met=not met)

    found = facts(slo_body(said, met=not met))

    assert (found["met"], found["objectives"][0]["met"]) == (met, met)


@pytest.mark.parametrize("comparison", [">", "==", "", None, 5])
def test_other_comparisons_are_refused(comparison: object) -> None:
    with pytest.raises(VerificationError, match="malformed"):
        facts(slo_body(objective(comparison=comparison)))


def test_who_missed_an_objective_makes_it_good_by_measuring_it_again() -> None:
    assert facts(at(3, BAD), at(1, GOOD))["met"] is True
    assert facts(at(3, GOOD), at(1, BAD))["met"] is False
    assert facts(at(1, GOOD), at(3, BAD))["met"] is True


def test_nobody_else_makes_it_good() -> None:
    found = facts(at(3, BAD), by_lab(at(1, GOOD)))

    assert found["met"] is False
    assert found["objectives"][0]["measured"] == 0.5
    assert found["signers"] == ["lab", "pipeline"]


def test_another_profile_does_not_make_it_good() -> None:
    found = facts(at(3, BAD), at(1, GOOD, profile="batch"))

    assert (found["met"], found["profile"]) == (False, "online")
    assert {one["profile"]: one["met"] for one in found["profiles"]} == {
        "batch": True, "online": False,
    }  # fmt: skip


def test_measuring_less_does_not_make_it_good() -> None:
    slow = {**LATENCY, "measured": 900}
    found = facts(at(3, GOOD, slow), at(1, GOOD))

    assert found["met"] is False
    # The latency is what was last measured, and so all of it is no younger.
    assert found["at"] == moment.to_text(NOW - 3 * HOUR)
    assert found["window"]["to"] == moment.to_text(NOW - 3 * HOUR)


def test_of_two_measurements_at_one_instant_the_worse_counts() -> None:
    assert facts(at(1, GOOD), at(1, BAD))["met"] is False
    assert facts(at(1, BAD), at(1, GOOD))["met"] is False


def test_of_two_that_are_met_at_one_instant_it_does_not_matter_which_file_is_first() -> None:
    lax = objective(target=0.98)

    assert facts(at(1, GOOD), at(1, lax)) == facts(at(1, lax), at(1, GOOD))


def test_where_all_is_met_the_newest_profile_is_told_first() -> None:
    found = facts(at(3, GOOD), at(1, GOOD, profile="batch"))

    assert (found["profile"], found["met"], len(found["profiles"])) == ("batch", True, 2)


def test_as_many_must_measure_a_profile_as_a_threshold_asks_for() -> None:
    with pytest.raises(VerificationError, match="2 must sign a slo"):
        facts(at(1, GOOD), policy=TWO)
    with pytest.raises(VerificationError, match="2 must sign a slo"):
        facts(at(1, GOOD), by_lab(at(1, GOOD, profile="batch")), policy=TWO)

    assert facts(at(1, GOOD), by_lab(at(2, GOOD)), policy=TWO)["signers"] == ["lab", "pipeline"]


def test_one_is_enough_to_say_that_an_objective_is_missed() -> None:
    found = facts(at(3, GOOD), by_lab(at(3, GOOD)), at(1, BAD, profile="batch"), policy=TWO)

    assert (found["met"], found["profile"], found["at"]) == (
        False, "batch", moment.to_text(NOW - HOUR),
    )  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"objectives": []},
        {"objectives": {"availability": 1}},
        {"window": window(NOW, NOW - HOUR)},
        {"window": window(NOW - 2 * HOUR, NOW)},
        {"profile": ""},
    ],
    ids=str,
)
def test_a_malformed_statement_does_not_count(changes: dict[str, Any]) -> None:
    with pytest.raises(VerificationError, match="malformed"):
        facts(slo_body(**changes) | changes)
