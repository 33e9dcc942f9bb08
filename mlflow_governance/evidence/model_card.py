"""The model card: complete, signed, and about these very bytes.

It is the ``modelCard`` (CycloneDX 1.6) of a component of the type ``machine-learning-model`` in
a CycloneDX statement whose signer is trusted for model cards. The component names the model by
digest, in the property ``mlflow-governance:model-digest`` or as its SHA-256 hash.
``model_card.md`` is a copy for people; the property ``mlflow-governance:model-card-sha256``
binds it, so that nobody can show reviewers another text than the one that was signed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlflow_governance.core import digest
from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import EvidenceMissing, VerificationError
from mlflow_governance.evidence.attestation import Purpose
from mlflow_governance.evidence.interface import Case, Kind
from mlflow_governance.evidence.sbom import signed_bom

READABLE_COPY = "model_card.md"
MODEL_DIGEST = "mlflow-governance:model-digest"
CARD_DIGEST = "mlflow-governance:model-card-sha256"
RISK_TIER = "mlflow-governance:risk-tier"
OWNER = "mlflow-governance:owner"

_MAX_TEXT = 256
_COMPONENT_TYPE = "machine-learning-model"


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


HEADINGS: Mapping[str, tuple[str, str, Callable[[object], bool]]] = {
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


class ModelCardVerifier:
    """Proves that the model is described, and says what the description lacks.

    Facts: ``{complete, missing, risk_tier, owner}``; ``missing`` lists keys of
    :data:`HEADINGS`, ``risk_tier`` and ``owner`` are null when the card does not say them.
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
        _check_copy(case, component)
        missing = missing_headings(component["modelCard"])
        return {
            "complete": not missing,
            "missing": missing,
            "risk_tier": _property(component, RISK_TIER),
            "owner": _property(component, OWNER),
        }


def missing_headings(card: Mapping[str, Any]) -> list[str]:
    """Headings a ``modelCard`` leaves empty, in the order of :data:`HEADINGS`."""
    return [
        heading
        for heading, (section, key, filled) in HEADINGS.items()
        if not filled(card.get(section, {}).get(key))
    ]


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
        advice="Describe the model: mlflow-governance submit MODEL_URI --model-card card.yaml",
    )


def _digests(component: Mapping[str, Any]) -> Iterator[str]:
    yield from _properties(component, MODEL_DIGEST)
    for entry in component.get("hashes", []):
        if entry["alg"] == "SHA-256":
            yield "sha256:" + entry["content"].lower()


def _property(component: Mapping[str, Any], name: str) -> str | None:
    """The one value of a property.

    Raises:
        VerificationError: it has two values, or one too long to be meant.
    """
    values = sorted({value.strip() for value in _properties(component, name)} - {""})
    if len(values) > 1 or any(len(value) > _MAX_TEXT for value in values):
        raise VerificationError(f"the model card says {name} twice or at undue length")
    return values[0] if values else None


def _properties(component: Mapping[str, Any], name: str) -> Iterator[str]:
    properties = component.get("properties", [])
    return (p.get("value", "") for p in properties if p.get("name") == name)


def _check_copy(case: Case, component: Mapping[str, Any]) -> None:
    signed = _property(component, CARD_DIGEST)
    for item in case.items:
        if item.name == READABLE_COPY and digest.of_bytes(item.data) != signed:
            raise VerificationError(
                f"{READABLE_COPY} is not the text that was signed",
                advice="Submit the model again: mlflow-governance submit MODEL_URI",
            )
