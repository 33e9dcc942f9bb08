from __future__ import annotations

import time
from typing import Any

import pytest

from mlflow_governance.core import moment
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence.predicate import EVALUATION, Purpose
from mlflow_governance.evidence.scores import EvaluationVerifier
from mlflow_governance.evidence.trust import Threshold, TrustPolicy
from tests.unit.evidence.builders import HOUR, NOW, attest, case, key, signer, trust
from tests.unit.evidence.record_builders import attached, evaluation_body, part

BOTH = trust(signer(), signer("lab"))
TWO = TrustPolicy(BOTH.signers, (Threshold(frozenset({Purpose.EVALUATION}), 2),))
SHA = "sha256:" + "a" * 64


def facts(*bodies: Any, policy: TrustPolicy = BOTH) -> Any:
    return EvaluationVerifier().verify(case(*attached(EVALUATION, *bodies), policy=policy))


def only(*bodies: Any, **more: Any) -> Any:
    (found,) = facts(*bodies, **more)["evaluations"]
    return found


def at(hours: float, metrics: Any = None, *slices: Any, **more: Any) -> dict[str, Any]:
    return evaluation_body(metrics, *slices, at=NOW - hours * HOUR, **more)


def by_lab(body: dict[str, Any]) -> Any:
    return body, key("lab")


def ago(hours: float) -> str:
    return moment.to_text(NOW - hours * HOUR)


def test_metrics_and_slices_are_facts() -> None:
    found = facts(at(1, {"auc": 0.91, "loss": -3}, part("26-40", {"auc": 0.8}, 50.0), part()))

    told = {
        "dataset": {"name": "holdout", "digest": None},
        "metrics": {"auc": 0.91, "loss": -3},
        "slices": [
            {"attribute": "age", "group": "18-25", "size": 100, "metrics": {"auc": 0.9}},
            {"attribute": "age", "group": "26-40", "size": 50, "metrics": {"auc": 0.8}},
        ],
        "at": ago(1),
        "signers": ["pipeline"],
    }
    assert found == {
        "evaluations": [{**told, "enough_signers": True}],
        "at": ago(1),
        "signers": ["pipeline"],
    }


def test_each_data_set_is_listed() -> None:
    found = facts(at(3, {"auc": 0.5}), by_lab(at(1, {"auc": 0.9}, dataset="easy")))

    assert [
        (one["dataset"]["name"], one["metrics"], one["at"], one["signers"])
        for one in found["evaluations"]
    ] == [("easy", {"auc": 0.9}, ago(1), ["lab"]), ("holdout", {"auc": 0.5}, ago(3), ["pipeline"])]
    assert (found["at"], found["signers"]) == (ago(3), ["lab", "pipeline"])


def test_another_signer_replaces_nobodys_numbers() -> None:
    found = facts(at(3, {"auc": 0.5}), by_lab(at(1, {"auc": 0.9})))

    assert [one["metrics"]["auc"] for one in found["evaluations"]] == [0.5, 0.9]


def test_signers_who_say_the_same_are_one_entry() -> None:
    found = only(at(1), by_lab(at(1)))

    assert (found["signers"], found["metrics"]) == (["lab", "pipeline"], {"auc": 0.91})


def test_who_measured_it_measures_it_again() -> None:
    found = only(at(3, {"auc": 0.5}), at(1, {"auc": 0.9}))

    assert (found["metrics"], found["at"]) == ({"auc": 0.9}, ago(1))
    assert only(at(1, {"auc": 0.9}), at(3, {"auc": 0.5}))["metrics"] == {"auc": 0.9}


def test_what_a_later_statement_leaves_out_stays_said() -> None:
    first = at(3, {"auc": 0.9, "f1": 0.1}, part("old", {"auc": 0.2}), part())
    found = only(first, at(1, {"auc": 0.95}, part(metrics={"f1": 0.7}, size=7)))

    assert found["metrics"] == {"auc": 0.95, "f1": 0.1}
    assert found["slices"] == [
        {"attribute": "age", "group": "18-25", "size": 7, "metrics": {"auc": 0.9, "f1": 0.7}},
        {"attribute": "age", "group": "old", "size": 100, "metrics": {"auc": 0.2}},
    ]
    assert found["at"] == ago(3)


def test_a_data_set_is_told_by_its_digest_and_not_by_its_name() -> None:
    named = {"name": "holdout", "digest": SHA}
    found = only(at(3, {"auc": 0.5}) | {"dataset": named},
                 at(1, {"f1": 0.9}) | {"dataset": named | {"name": "other"}})  # fmt: skip

    assert found["dataset"] == named
    assert found["metrics"] == {"auc": 0.5, "f1": 0.9}
    assert len(facts(at(3) | {"dataset": named}, at(1))["evaluations"]) == 2


def test_two_numbers_at_one_instant_contradict_each_other() -> None:
    with pytest.raises(VerificationError, match="two things at one instant") as refusal:
        facts(at(1, {"auc": 0.5}), at(1, {"auc": 0.9}))

    assert "attest NAME/VERSION evaluation" in refusal.value.advice
    assert only(at(1, {"auc": 0.5}), at(1, {"auc": 0.5, "f1": 1}))["metrics"]["f1"] == 1


def test_enough_signers_are_asked_for_of_each_data_set() -> None:
    with pytest.raises(VerificationError, match="2 must sign a evaluation"):
        facts(at(1), policy=TWO)

    found = facts(at(1), by_lab(at(2, {"auc": 0.9})), at(1, {"auc": 0.1}, dataset="hard"),
                  policy=TWO)  # fmt: skip

    assert [(one["dataset"]["name"], one["enough_signers"]) for one in found["evaluations"]] == [
        ("hard", False), ("holdout", True), ("holdout", True),
    ]  # fmt: skip


def test_a_statement_with_both_signatures_counts_for_both() -> None:
    signed = attest(EVALUATION, at(1), by=[key(), key("lab")])

    found = EvaluationVerifier().verify(case(("a.intoto.json", signed), policy=TWO))

    assert found["signers"] == found["evaluations"][0]["signers"] == ["lab", "pipeline"]


def test_slices_alone_are_an_evaluation_and_nothing_is_none() -> None:
    assert only(at(1, {}, part()))["metrics"] == {}
    with pytest.raises(VerificationError, match="malformed"):
        facts(at(1, {}))


def test_too_many_numbers_are_refused_soon() -> None:
    def many(dataset: str) -> dict[str, Any]:
        numbers = {f"m{n}": 0.5 for n in range(18)}
        return at(1, None, *(part(str(n), numbers) for n in range(1000)), dataset=dataset)

    started = time.process_time()

    assert len(only(many("a"))["slices"]) == 1000
    with pytest.raises(VerificationError, match="more than 20000 numbers"):
        facts(many("a"), many("b"))
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "holdout"},
        {"dataset": {}},
        {"dataset": {"name": ""}},
        {"dataset": {"name": "a", "digest": "md5:1"}},
        {"metrics": ["auc"]},
        {"metrics": {"": 1}},
        {"metrics": {"a" * 300: 1}},
        {"slices": {}},
        {"slices": [{"attribute": "age", "group": "a", "size": 1}]},
        {"slices": [{"attribute": "age", "group": 5, "size": 1, "metrics": {}}]},
        {"slices": [part(size=-1)]},
        {"slices": [part(size=1.5)]},
    ],
    ids=str,
)
def test_a_malformed_statement_does_not_count(changes: dict[str, Any]) -> None:
    with pytest.raises(VerificationError, match="malformed"):
        facts(evaluation_body() | changes)
