"""Which headings are empty, and what the author is told to write."""

from __future__ import annotations

from mlflow_governance.evidence.model_card import ANNEX_IV, HEADINGS, headings
from mlflow_governance.submission.card import AuthorCard, parse_card
from mlflow_governance.submission.card.check import ADVICE, empty_headings
from tests.unit.submission.builders import CARD, FULL_CARD, facts


def names(text: str, about: object = None, required: bool = True) -> list[str]:
    found = empty_headings(parse_card(text.encode()), about)  # type: ignore[arg-type]
    return [empty.heading for empty in found if empty.required is required]


def test_an_empty_card_lacks_what_only_its_author_knows() -> None:
    assert names("{}") == ["purpose", "audience", "limitations", "risks"]


def test_with_the_model_nothing_is_taken_for_granted() -> None:
    assert names("{}", facts(metrics={}, datasets=())) == list(HEADINGS)
    assert names("{}", facts()) == ["purpose", "audience", "limitations", "risks"]


def test_the_card_of_the_readme_is_complete() -> None:
    assert names(CARD) == names(CARD, facts()) == []


def test_a_risk_without_a_safeguard_is_not_answered() -> None:
    assert names("risks: [{risk: a, safeguard: b}, c]") == [
        "purpose",
        "audience",
        "limitations",
        "risks",
    ]


def test_what_policy_may_demand_is_named_after_what_is_required() -> None:
    assert names(FULL_CARD, required=False) == [
        f"annex_iv.{p}" for p in ANNEX_IV if p not in ("general_description", "risk_management")
    ]
    assert {"fairness", "owner", "licence"} <= set(names("{}", required=False))


def test_every_heading_has_an_advice() -> None:
    assert set(headings({})) <= set(ADVICE)
    assert all(empty.advice for empty in empty_headings(AuthorCard()))
