from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_governance.core import digest
from mlflow_governance.errors import EvidenceMissing, VerificationError
from mlflow_governance.evidence.model_card import (
    ANNEX_IV,
    ANNEX_PROPERTY,
    CARD_PROPERTY,
    HEADINGS,
    LICENCE,
    ModelCardVerifier,
)
from mlflow_governance.evidence.predicate import Purpose
from tests.unit.evidence.bom_builders import CARD, CARD_TEXT, bom, bom_case, model
from tests.unit.evidence.builders import MANIFEST, signer, trust
from tests.unit.evidence.mutations import mutated

verify = ModelCardVerifier().verify


def described(component: dict[str, Any]) -> dict[str, Any]:
    return bom(metadata={"component": component})


def card(**changes: dict[str, Any]) -> dict[str, Any]:
    document = copy.deepcopy(CARD)
    for section, fields in changes.items():
        document[section].update(fields)
    return document


def saying(**said: Any) -> dict[str, Any]:
    """A card with properties: ``heading=text``, or ``heading=[texts]``."""
    values = [
        (name, text)
        for name, texts in said.items()
        for text in (texts if isinstance(texts, list) else [texts])
    ]
    properties = [{"name": CARD_PROPERTY + name, "value": text} for name, text in values]
    return copy.deepcopy(CARD) | {"properties": properties}


def test_a_complete_card_gives_its_facts() -> None:
    assert verify(bom_case(bom(), ("model_card.md", CARD_TEXT))) == {
        "complete": True,
        "missing": [],
        "headings": dict.fromkeys(HEADINGS, True)
        | dict.fromkeys(("fairness", "environmental", "human_oversight", "monitoring"), False),
        "risk_tier": "high",
        "owner": "team-risk",
        "licence": None,
        "annex_iv": {"complete": False, "missing": list(ANNEX_IV)},
        "fairness": False,
        "environmental": False,
    }


@pytest.mark.parametrize(
    ("section", "fields", "heading"),
    [
        ("considerations", {"useCases": []}, "purpose"),
        ("considerations", {"users": ["  "]}, "audience"),
        ("considerations", {"technicalLimitations": []}, "limitations"),
        ("considerations", {"ethicalConsiderations": []}, "risks"),
        ("considerations", {"ethicalConsiderations": [{"name": "bias"}]}, "risks"),
        ("quantitativeAnalysis", {"performanceMetrics": []}, "metrics"),
        ("quantitativeAnalysis", {"performanceMetrics": [{"type": "auc"}]}, "metrics"),
        ("modelParameters", {"datasets": []}, "datasets"),
    ],
)
def test_an_empty_heading_is_named(section: str, fields: dict[str, Any], heading: str) -> None:
    facts = verify(bom_case(described(model(card(**{section: fields})))))

    assert (facts["complete"], facts["missing"]) == (False, [heading])


def test_a_card_of_empty_sections_lacks_everything() -> None:
    facts = verify(bom_case(described(model({"properties": []}))))

    assert facts["missing"] == list(HEADINGS)


def test_a_card_about_other_bytes_is_refused() -> None:
    other = digest.of_bytes(b"other")

    with pytest.raises(VerificationError, match="about another model"):
        verify(bom_case(described(model(model_digest=other))))


def test_the_hash_of_the_component_binds_as_well() -> None:
    component = model(model_digest="") | {
        "hashes": [{"alg": "SHA-256", "content": digest.hex_of(MANIFEST.digest).upper()}]
    }

    assert verify(bom_case(described(component)))["complete"]


def test_an_sbom_without_a_card_describes_nothing() -> None:
    component = {"type": "machine-learning-model", "name": "churn"}

    with pytest.raises(EvidenceMissing, match="holds no model card"):
        verify(bom_case(described(component)))


def test_two_cards_of_one_model_are_refused() -> None:
    with pytest.raises(VerificationError, match="several model cards"):
        verify(bom_case(bom(model() | {"bom-ref": "second"})))


def test_two_risk_tiers_are_refused() -> None:
    component = model()
    component["properties"].append({"name": "mlflow-governance:risk-tier", "value": "low"})

    with pytest.raises(VerificationError, match="risk-tier twice"):
        verify(bom_case(described(component)))


def test_a_tier_nobody_stated_is_null() -> None:
    facts = verify(bom_case(described(model(risk_tier=" "))))

    assert facts["risk_tier"] is None


def test_reviewers_are_not_shown_another_text() -> None:
    with pytest.raises(VerificationError, match="not the text that was signed"):
        verify(bom_case(bom(), ("model_card.md", b"# harmless\n")))


def test_a_text_nothing_binds_is_refused() -> None:
    component = model()
    component["properties"] = component["properties"][:1]

    with pytest.raises(VerificationError, match="not the text that was signed"):
        verify(bom_case(described(component), ("model_card.md", CARD_TEXT)))


def test_a_signer_of_sboms_may_not_sign_cards() -> None:
    policy = trust(signer(purposes=frozenset({Purpose.SBOM})))

    with pytest.raises(VerificationError, match="not trusted for model-card"):
        verify(bom_case(bom(), policy=policy))


def test_headings_nobody_requires_are_facts_and_leave_the_card_complete() -> None:
    said = saying(human_oversight="a pathologist decides", monitoring=" ")

    facts = verify(bom_case(described(model(said))))

    assert facts["complete"]
    assert facts["headings"]["human_oversight"]
    assert not facts["headings"]["monitoring"]


@pytest.mark.parametrize(
    ("assessment", "filled"),
    [
        (
            [{"groupAtRisk": "the old", "harms": "called less", "mitigationStrategy": "checked"}],
            True,
        ),
        ([{"groupAtRisk": "the old", "harms": "called less"}], False),
        ([{"groupAtRisk": "the old"}], False),
        ([], False),
    ],
)
def test_fairness_counts_with_harms_and_mitigation(assessment: list[Any], filled: bool) -> None:
    facts = verify(
        bom_case(described(model(card(considerations={"fairnessAssessments": assessment}))))
    )

    assert facts["fairness"] is facts["headings"]["fairness"] is filled


ENERGY = {
    "activity": "training",
    "energyProviders": [],
    "activityEnergyCost": {"value": 1.5, "unit": "kWh"},
}


@pytest.mark.parametrize(
    ("footprint", "filled"),
    [
        ({"energyConsumptions": [ENERGY]}, True),
        ({"properties": [{"name": "co2", "value": "1 kg"}]}, True),
        ({"properties": [{"name": "co2"}]}, False),
        ({}, False),
    ],
)
def test_an_amount_or_a_statement_fills_environmental(footprint: Any, filled: bool) -> None:
    facts = verify(
        bom_case(described(model(card(considerations={"environmentalConsiderations": footprint}))))
    )

    assert facts["environmental"] is filled


def test_the_points_of_annex_iv_that_are_empty_are_named() -> None:
    said = {f"annex_iv:{point}": "…" for point in ANNEX_IV}
    assert ANNEX_PROPERTY == CARD_PROPERTY + "annex_iv:"

    full = verify(bom_case(described(model(saying(**said)))))
    said["annex_iv:risk_management"] = " "
    lacking = verify(bom_case(described(model(saying(**said)))))

    assert full["annex_iv"] == {"complete": True, "missing": []}
    assert lacking["annex_iv"] == {"complete": False, "missing": ["risk_management"]}


@pytest.mark.parametrize(
    ("carded", "listed", "fact"),
    [
        ("MIT", None, "MIT"),
        (None, [{"license": {"id": "MIT"}}], "MIT"),
        (None, [{"expression": "MIT OR Apache-2.0"}], "MIT OR Apache-2.0"),
        ("Apache-2.0 OR MIT", [{"expression": "(MIT OR Apache-2.0)"}], "Apache-2.0 OR MIT"),
        (None, [{"license": {"name": "my own"}}], None),
        (None, [{"license": {"id": "MIT"}}, {"license": {"id": "Zlib"}}], None),
        (None, None, None),
    ],
)
def test_the_licence_is_a_fact(carded: str | None, listed: Any, fact: str | None) -> None:
    component = model(saying(licence=carded) if carded else None)
    component |= {"licenses": listed} if listed else {}

    assert verify(bom_case(described(component)))["licence"] == fact


def test_a_card_and_an_sbom_of_different_licences_are_refused() -> None:
    component = model(saying(licence="MIT")) | {"licenses": [{"license": {"id": "GPL-3.0-only"}}]}

    with pytest.raises(VerificationError, match=r"licence MIT, the SBOM GPL-3\.0-only"):
        verify(bom_case(described(component)))


def test_two_licences_in_a_card_are_refused() -> None:
    with pytest.raises(VerificationError, match=f"{LICENCE} twice"):
        verify(bom_case(described(model(saying(licence=["MIT", "Zlib"])))))


def test_the_page_reviewers_see_is_bound_as_well() -> None:
    page = b"<p>churn</p>"
    component = model(model_card_html_sha256=digest.of_bytes(page))

    assert verify(bom_case(described(component), ("model_card.html", page)))["complete"]
    for changed, text in ((component, b"<p>harmless</p>"), (model(), page)):
        with pytest.raises(VerificationError, match=r"model_card\.html is not the text"):
            verify(bom_case(described(changed), ("model_card.html", text)))


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_card_changed_anywhere_has_facts_or_is_refused_by_type(data: st.DataObject) -> None:
    said = saying(licence="MIT", monitoring="weekly", **{"annex_iv:risk_management": "…"})
    said["considerations"] |= {
        "fairnessAssessments": [{"groupAtRisk": "a", "harms": "b", "mitigationStrategy": "c"}],
        "environmentalConsiderations": {"energyConsumptions": [ENERGY]},
    }
    component = model(said)
    changed = mutated(data, component)

    with suppress(VerificationError):
        facts = verify(bom_case(described(changed)))
        assert facts["complete"] is (facts["missing"] == [])
