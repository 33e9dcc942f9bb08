from __future__ import annotations

from typing import Any

import pytest

from mlflow_governance.core import moment
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence.predicate import REPRODUCTION, Purpose
from mlflow_governance.evidence.reproduction import ReproductionVerifier
from mlflow_governance.evidence.trust import Threshold, TrustPolicy
from tests.unit.evidence.builders import HOUR, MANIFEST, NOW, case, key, signer, trust
from tests.unit.evidence.record_builders import attached, reproduction_body

BOTH = trust(signer(), signer("lab"))
TWO = TrustPolicy(BOTH.signers, (Threshold(frozenset({Purpose.REPRODUCTION}), 2),))
SAME, OTHER = MANIFEST.digest, "sha256:" + "0" * 64
NEAR = {"metric": "max_abs_difference", "difference": 1e-7, "limit": 1e-6}
FAR = NEAR | {"difference": 1e-5}


def facts(*bodies: Any, policy: TrustPolicy = BOTH) -> Any:
    return ReproductionVerifier().verify(case(*attached(REPRODUCTION, *bodies), policy=policy))


def at(hours: float, rebuilt: str = SAME, **more: Any) -> dict[str, Any]:
    return reproduction_body(rebuilt, at=NOW - hours * HOUR, **more)


def by_lab(body: dict[str, Any]) -> Any:
    return body, key("lab")


def test_the_same_bytes_match() -> None:
    told = {
        "builder_id": "urn:rebuilder", "matches": True, "tolerance": None,
        "at": moment.to_text(NOW - HOUR), "signers": ["pipeline"],
    }  # fmt: skip

    assert facts(at(1)) == {**told, "builders": [told]}


@pytest.mark.parametrize(
    ("rebuilt", "tolerance", "matches", "told"),
    [
        (OTHER, None, False, None),
        (OTHER, NEAR, True, NEAR),
        (OTHER, NEAR | {"difference": 1e-6}, True, NEAR | {"difference": 1e-6}),
        (OTHER, FAR, False, FAR),
        (SAME, FAR, True, None),
    ],
)
@pytest.mark.parametrize("claimed", [True, False])
def test_whether_it_matches_is_worked_out(
    rebuilt: str, tolerance: Any, matches: bool, told: Any, claimed: bool
) -> None:
    said = {"tolerance": tolerance} if tolerance else {}

    found = facts(at(1, rebuilt, matches=claimed, **said))

    assert (found["matches"], found["tolerance"]) == (matches, told)


def test_a_mismatch_is_not_shed_by_another_builder_or_signer() -> None:
    for other in (at(1, builder="urn:b"), by_lab(at(1)), by_lab(at(1, builder="urn:b"))):
        found = facts(at(3, OTHER), other)
        assert (found["matches"], found["builder_id"]) == (False, "urn:rebuilder")
        assert found["signers"] == ["pipeline"]


def test_who_said_so_takes_it_back() -> None:
    assert facts(at(3, OTHER), at(1))["matches"] is True
    assert facts(at(1), at(3, OTHER))["matches"] is True
    assert facts(at(3), at(1, OTHER))["matches"] is False
    assert facts(at(1), at(1, OTHER))["matches"] is False


def test_all_builders_are_told() -> None:
    found = facts(at(3, OTHER, builder="urn:b"), at(2), by_lab(at(1)))

    assert [(one["builder_id"], one["matches"], one["signers"]) for one in found["builders"]] == [
        ("urn:b", False, ["pipeline"]), ("urn:rebuilder", True, ["lab", "pipeline"]),
    ]  # fmt: skip


def test_the_same_bytes_say_more_than_what_is_near() -> None:
    near = at(1, OTHER, builder="urn:b", tolerance=NEAR)

    assert facts(at(3), near)["tolerance"] is None
    assert facts(near)["tolerance"] == NEAR


def test_of_two_that_are_as_near_it_does_not_matter_which_file_is_first() -> None:
    one, other = (at(1, OTHER, tolerance={**NEAR, "limit": limit}) for limit in (1e-6, 1e-5))

    assert facts(one, other) == facts(other, one)


def test_of_several_mismatches_the_newest_is_told() -> None:
    found = facts(at(3, OTHER), at(1, OTHER, builder="urn:b", tolerance=FAR))

    assert found["builder_id"] == "urn:b"


def test_as_many_must_have_rebuilt_it_as_a_threshold_asks_for() -> None:
    with pytest.raises(VerificationError, match="2 must sign a reproduction"):
        facts(at(2), at(1, builder="urn:b"), policy=TWO)

    assert facts(at(2), by_lab(at(1, builder="urn:b")), policy=TWO)["matches"] is True


def test_one_of_them_is_enough_to_say_that_it_came_out_otherwise() -> None:
    found = facts(at(2), by_lab(at(1)), at(1, OTHER, builder="urn:b"), policy=TWO)

    assert found["matches"] is False


@pytest.mark.parametrize(
    "changes",
    [
        {"rebuiltDigest": SAME.removeprefix("sha256:")},
        {"rebuiltDigest": SAME.upper()},
        {"builder": {}},
        {"builder": {"id": ""}},
        {"builder": {"id": "a b"}},
        {"builder": "urn:b"},
        {"tolerance": {}},
        {"tolerance": NEAR | {"difference": -1}},
        {"tolerance": NEAR | {"limit": -1}},
        {"tolerance": {"metric": "loss", "difference": 0}},
        {"tolerance": None},
    ],
    ids=str,
)
def test_a_malformed_statement_does_not_count(changes: dict[str, Any]) -> None:
    with pytest.raises(VerificationError, match="malformed"):
        facts(reproduction_body() | changes)
