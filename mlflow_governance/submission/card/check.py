"""Which headings of a card are empty, and what to write there."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow_governance.evidence.model_card import (
    ANNEX_IV,
    ANNEX_PROPERTY,
    CARD_PROPERTY,
    HEADINGS,
    headings,
    missing_annex_iv,
)
from mlflow_governance.submission.card.author import AuthorCard
from mlflow_governance.submission.card.build import model_card
from mlflow_governance.submission.facts import Facts

ADVICE = {
    "purpose": "what the model is for",
    "audience": "who uses its results",
    "limitations": "write under limits: what it cannot do, and what it must not be used for",
    "risks": "at least one, and each with its safeguard",
    "metrics": "log them with the run (mlflow.log_metric), or give a value under metrics:",
    "datasets": "log them with the run (mlflow.log_input), or name them under data:",
    "fairness": "each group with harms and mitigation",
    "environmental": "energy_kwh or co2_kg of an activity",
    "human_oversight": "who can overrule or stop it, and how",
    "monitoring": "what is watched in use, and by whom",
    "owner": "who answers for it",
    "risk_tier": "low, medium or high; promotion needs it (PRO-011)",
    "licence": "an SPDX expression",
}
"""Heading → what to write, or to do. Annex IV: :func:`empty_headings`."""

REQUIRED = (*HEADINGS, "risk_tier")
"""What acceptance asks for, and promotion after it."""

OF_THE_RUN = ("metrics", "datasets")
"""What MLflow usually says; without the model nobody can know whether it does."""


@dataclass(frozen=True)
class Empty:
    """A heading nothing is written under; ``required`` by the gates as they ship."""

    heading: str
    required: bool
    advice: str


def empty_headings(author: AuthorCard, facts: Facts | None = None) -> list[Empty]:
    """Empty headings, required ones first.

    Without ``facts`` the headings MLflow fills (:data:`OF_THE_RUN`) are not counted as required.
    """
    known = facts or Facts(flavors=(), requirements=())
    card = model_card(author, known, [f"dataset-{i}" for i, _ in enumerate(known.datasets)])
    required = set(REQUIRED) - (set() if facts else set(OF_THE_RUN))
    filled = headings(card) | {
        name: bool(getattr(author, name)) for name in ("owner", "risk_tier", "licence")
    }
    found = [
        Empty(name, name in required, ADVICE[name]) for name, full in filled.items() if not full
    ]
    found += [
        Empty(
            ANNEX_PROPERTY.removeprefix(CARD_PROPERTY).replace(":", ".") + point,
            required=False,
            advice=ANNEX_IV[point],
        )
        for point in missing_annex_iv(card)
    ]
    return sorted(found, key=lambda empty: not empty.required)
