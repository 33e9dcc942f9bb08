from __future__ import annotations

import copy
from typing import Any

import pytest

from mlflow_governance.core import digest
from mlflow_governance.errors import EvidenceMissing, VerificationError
from mlflow_governance.evidence.model_card import HEADINGS, ModelCardVerifier
from mlflow_governance.evidence.predicate import Purpose
from tests.unit.evidence.bom_builders import CARD, CARD_TEXT, bom, bom_case, model
from tests.unit.evidence.builders import MANIFEST, signer, trust

verify = ModelCardVerifier().verify


def described(component: dict[str, Any]) -> dict[str, Any]:
    return bom(metadata={"component": component})


def card(**changes: dict[str, Any]) -> dict[str, Any]:
    document = copy.deepcopy(CARD)
    for section, fields in changes.items():
        document[section].update(fields)
    return document


def test_a_complete_card_gives_its_facts() -> None:
    assert verify(bom_case(bom(), ("model_card.md", CARD_TEXT))) == {
        "complete": True,
        "missing": [],
        "risk_tier": "high",
        "owner": "team-risk",
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
