"""The author's card as ``model_card.yaml``: what :mod:`.read` reads back as the same card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib import resources
from typing import Any

from mlflow_governance.evidence import strict_yaml
from mlflow_governance.submission.card.author import AuthorCard

_TEXTS = (
    *("purpose", "audience", "limits"),
    *("base_models", "language", "tags", "monitoring", "human_oversight"),
)
_WORDS = ("owner", "risk_tier", "licence", "task", "approach")
_RECORDS = ("base_model_terms", "data", "metrics", "fairness", "environmental")


def starting_card() -> str:
    """A commented card to fill in."""
    folder = resources.files("mlflow_governance.submission.card") / "templates"
    return (folder / "model_card.yaml").read_text("utf-8")


def to_yaml(card: AuthorCard) -> str:
    """The card as YAML."""
    return strict_yaml.dump(to_document(card))


def to_document(card: AuthorCard) -> dict[str, Any]:
    """The card as a JSON value that fits the schema; what is not stated is left out."""
    found: dict[str, Any] = {name: _short(getattr(card, name)) for name in _TEXTS}
    found |= {name: getattr(card, name) for name in _WORDS}
    found |= {name: [_record(entry) for entry in getattr(card, name)] for name in _RECORDS}
    found["risks"] = [
        stated({"risk": r.name, "safeguard": r.safeguard, "severity": r.severity})
        for r in card.answered
    ]
    if not card.risks:
        found["safeguards"] = _short(card.safeguards)
    found["annex_iv"] = {point: _short(texts) for point, texts in card.annex_iv.items()}
    return stated(found)


def stated(values: dict[str, Any]) -> dict[str, Any]:
    """The entries that say something; a number always does."""
    return {key: value for key, value in values.items() if value or value == 0.0}


def _record(entry: Any) -> dict[str, Any]:
    return stated(asdict(entry))


def _short(texts: Sequence[str]) -> str | list[str]:
    return texts[0] if len(texts) == 1 else list(texts)
