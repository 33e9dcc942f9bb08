"""The model card: complete, signed, and about these very bytes.

It is the ``modelCard`` (CycloneDX 1.6) of a component of the type ``machine-learning-model`` in
a CycloneDX statement whose signer is trusted for model cards. The component names the model by
digest, in the property ``mlflow-governance:model-digest`` or as its SHA-256 hash.
``model_card.md`` and ``model_card.html`` are copies for people; a property of the component binds
each (:data:`COPIES`), so that nobody can show reviewers another text than the one signed.

What CycloneDX has no field for, such as human oversight or Annex IV of the EU AI Act, are
properties of the ``modelCard`` named ``mlflow-governance:card:<heading>``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlflow_governance.core import digest
from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import EvidenceMissing, VerificationError
from mlflow_governance.evidence.attestation import Purpose
from mlflow_governance.evidence.interface import Case, Kind
from mlflow_governance.evidence.sbom import signed_bom

MODEL_DIGEST = "mlflow-governance:model-digest"
CARD_DIGEST = "mlflow-governance:model-card-sha256"
HTML_DIGEST = "mlflow-governance:model-card-html-sha256"
RISK_TIER = "mlflow-governance:risk-tier"
OWNER = "mlflow-governance:owner"
CARD_PROPERTY = "mlflow-governance:card:"
"""Before the name of a heading, in the properties of the ``modelCard``."""

COPIES: Mapping[str, str] = {"model_card.md": CARD_DIGEST, "model_card.html": HTML_DIGEST}
"""A readable copy → the property that holds its digest."""

LICENCE = CARD_PROPERTY + "licence"

_MAX_TEXT = 256
_COMPONENT_TYPE = "machine-learning-model"
_LICENCE_WORD = re.compile(r"[a-z0-9.+:-]+")


def _texts(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(t, str) and t.strip() for t in value)


def _records(*keys: str) -> Callable[[object], bool]:
    """At least one record, and every record says all of these things."""

    def filled(value: object) -> bool:
        return (
            isinstance(value, list)
            and bool(value)
            and all(str(entry.get(key) or "").strip() for entry in value for key in keys)
        )

    return filled


def _footprint(value: object) -> bool:
    """An amount of energy, or a property that says something."""
    if not isinstance(value, dict):
        return False
    said = [entry.get("value", "") for entry in value.get("properties", [])]
    return bool(value.get("energyConsumptions")) or _texts(said)


_Field = tuple[str, str, Callable[[object], bool]]

HEADINGS: Mapping[str, _Field] = {
    "purpose": ("considerations", "useCases", _texts),
    "audience": ("considerations", "users", _texts),
    "limitations": ("considerations", "technicalLimitations", _texts),
    "risks": ("considerations", "ethicalConsiderations", _records("name", "mitigationStrategy")),
    "metrics": ("quantitativeAnalysis", "performanceMetrics", _records("type", "value")),
    "datasets": ("modelParameters", "datasets", _records()),
}
"""What every card must say: heading → section and field of ``modelCard``, and what fills it.

A risk counts only with its safeguard (``mitigationStrategy``), a metric only with its value.
"""

FURTHER_FIELDS: Mapping[str, _Field] = {
    "fairness": (
        "considerations",
        "fairnessAssessments",
        _records("groupAtRisk", "harms", "mitigationStrategy"),
    ),
    "environmental": ("considerations", "environmentalConsiderations", _footprint),
}
"""What a card may say and policy may demand; a group counts only with harms and mitigation."""

FURTHER_TEXTS = ("human_oversight", "monitoring")
"""The same for what CycloneDX has no field for: properties of the ``modelCard``."""

ANNEX_IV: Mapping[str, str] = {
    "general_description": "General description of the system",
    "development_process": "Elements of the system and process of its development",
    "monitoring_and_control": "Monitoring, functioning and control",
    "metrics_adequacy": "Appropriateness of the performance metrics",
    "risk_management": "Risk management system",
    "lifecycle_changes": "Changes through the lifecycle",
    "standards_applied": "Harmonised standards applied",
    "declaration_of_conformity": "EU declaration of conformity",
    "post_market_plan": "Evaluation of performance after placing on the market",
}
"""The nine points of Annex IV of Regulation (EU) 2024/1689: key → title."""

ANNEX_PROPERTY = CARD_PROPERTY + "annex_iv:"


class ModelCardVerifier:
    """Proves that the model is described, and says what the description lacks.

    Facts: ``{complete, missing, headings, risk_tier, owner, licence, annex_iv, fairness,
    environmental}``. ``headings`` says of each heading, required or not, whether it is filled;
    ``missing`` lists the required ones (:data:`HEADINGS`) that are not, and ``complete`` says
    that there are none. ``annex_iv`` is ``{complete, missing}`` over :data:`ANNEX_IV`.
    ``risk_tier``, ``owner`` and ``licence`` are null when the card does not say them.
    """

    kind = Kind.MODEL_CARD

    def verify(self, case: Case) -> Mapping[str, Any]:
        """The facts of the signed model card.

        Raises:
            EvidenceMissing: no signed document describes this model.
            VerificationError: it does not verify, is ambiguous, or its copy says otherwise.
        """
        bom = signed_bom(case, Purpose.MODEL_CARD)
        component = _component(bom.components, case.manifest.digest)
        _check_copies(case, component)
        card = component["modelCard"]
        missing = missing_headings(card)
        stated = headings(card)
        return {
            "complete": not missing,
            "missing": missing,
            "headings": stated,
            "risk_tier": _property(component, RISK_TIER),
            "owner": _property(component, OWNER),
            "licence": _licence(component),
            "annex_iv": _annex_iv(card),
            "fairness": stated["fairness"],
            "environmental": stated["environmental"],
        }


def missing_headings(card: Mapping[str, Any]) -> list[str]:
    """Required headings a ``modelCard`` leaves empty, in the order of :data:`HEADINGS`."""
    return [heading for heading, field in HEADINGS.items() if not _filled(card, field)]


def missing_annex_iv(card: Mapping[str, Any]) -> list[str]:
    """Points of Annex IV a ``modelCard`` leaves empty, in the order of :data:`ANNEX_IV`."""
    return [point for point in ANNEX_IV if not _texts([*_properties(card, ANNEX_PROPERTY + point)])]


def headings(card: Mapping[str, Any]) -> dict[str, bool]:
    """Every heading, required or not, and whether a ``modelCard`` fills it."""
    fields = {**HEADINGS, **FURTHER_FIELDS}
    texts = {name: _texts([*_properties(card, CARD_PROPERTY + name)]) for name in FURTHER_TEXTS}
    return {name: _filled(card, field) for name, field in fields.items()} | texts


def _filled(card: Mapping[str, Any], field: _Field) -> bool:
    section, key, filled = field
    return filled(card.get(section, {}).get(key))


def _annex_iv(card: Mapping[str, Any]) -> dict[str, Any]:
    missing = missing_annex_iv(card)
    return {"complete": not missing, "missing": missing}


def _licence(component: Mapping[str, Any]) -> str | None:
    """The licence of the model: as its card says, or else as its component does.

    Raises:
        VerificationError: the two name different licences, or the card names several.
    """
    carded = _property(component["modelCard"], LICENCE)
    listed = [_expression(entry) for entry in component.get("licenses", [])]
    if len(listed) != 1 or not listed[0]:
        return carded
    if carded and _words(carded) != _words(listed[0]):
        raise VerificationError(
            f"the model card says the licence {carded}, the SBOM {listed[0][:_MAX_TEXT]}",
            advice="Submit the model again: mlflow-governance submit MODEL_URI",
        )
    return carded or listed[0][:_MAX_TEXT]


def _expression(entry: Mapping[str, Any]) -> str:
    licence = entry.get("license", {})
    return str(entry.get("expression") or licence.get("id") or "")


def _words(expression: str) -> list[str]:
    # "MIT OR Apache-2.0" and "apache-2.0 or (mit)" are one.
    return sorted(_LICENCE_WORD.findall(expression.casefold()))


def _component(components: list[dict[str, Any]], model: Digest) -> dict[str, Any]:
    cards = [c for c in components if c["type"] == _COMPONENT_TYPE and c.get("modelCard")]
    found = [c for c in cards if model in set(_digests(c))]
    if len(found) == 1:
        return found[0]
    if found:
        raise VerificationError("the signed SBOM holds several model cards of this model")
    if cards:
        raise VerificationError(f"the signed model card is about another model than {model}")
    raise EvidenceMissing(
        "the signed SBOM holds no model card",
        advice="Describe the model: mlflow-governance card init, then "
        "mlflow-governance submit MODEL_URI --model-card model_card.yaml",
    )


def _digests(component: Mapping[str, Any]) -> Iterator[str]:
    yield from _properties(component, MODEL_DIGEST)
    for entry in component.get("hashes", []):
        if entry["alg"] == "SHA-256":
            yield "sha256:" + entry["content"].lower()


def _property(owner: Mapping[str, Any], name: str) -> str | None:
    """The one value of a property.

    Raises:
        VerificationError: it has two values, or one too long to be meant.
    """
    values = sorted({value.strip() for value in _properties(owner, name)} - {""})
    if len(values) > 1 or any(len(value) > _MAX_TEXT for value in values):
        raise VerificationError(f"the model card says {name} twice or at undue length")
    return values[0] if values else None


def _properties(owner: Mapping[str, Any], name: str) -> Iterator[str]:
    properties = owner.get("properties", [])
    return (p.get("value", "") for p in properties if p.get("name") == name)


def _check_copies(case: Case, component: Mapping[str, Any]) -> None:
    for item in case.items:
        bound = COPIES.get(item.name)
        if bound and digest.of_bytes(item.data) != _property(component, bound):
            raise VerificationError(
                f"{item.name} is not the text that was signed",
                advice="Submit the model again: mlflow-governance submit MODEL_URI",
            )
