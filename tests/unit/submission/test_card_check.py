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
    assert names("{}") == ["purpose", "audience", "limitations", "risks", "risk_tier"]


def test_with_the_model_nothing_is_taken_for_granted() -> None:
    assert names("{}", facts(metrics={}, datasets=())) == [*HEADINGS, "risk_tier"]
    assert names("{}", facts()) == ["purpose", "audience", "limitations", "risks", "risk_tier"]


def test_a_card_without_the_risk_tier_that_promotion_needs_is_not_complete() -> None:
    (lacking,) = [e for e in empty_headings(parse_card(_without_tier())) if e.required]

    assert lacking.heading == "risk_tier"
    assert "PRO-011" in lacking.advice


def test_the_card_of_the_readme_is_complete() -> None:
    assert names(CARD) == names(CARD, facts()) == []


def test_a_risk_without_a_safeguard_is_not_answered() -> None:
    assert names("risks: [{risk: a, safeguard: b}, c]") == [
        "purpose",
        "audience",
        "limitations",
        "risks",
        "risk_tier",
    ]


def test_what_policy_may_demand_is_named_after_what_is_required() -> None:
    assert names(FULL_CARD, required=False) == [
        f"annex_iv.{p}" for p in ANNEX_IV if p not in ("general_description", "risk_management")
    ]
    assert {"fairness", "owner", "licence"} <= set(names("{}", required=False))


def test_every_heading_has_an_advice() -> None:
    assert set(headings({})) <= set(ADVICE)
    assert all(empty.advice for empty in empty_headings(AuthorCard()))


def _without_tier() -> bytes:
    return CARD.replace("risk_tier: high\n", "").encode()
