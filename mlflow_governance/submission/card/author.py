"""The author's part of a model card: the values of ``model_card.yaml``.

An empty text or tuple stands for what the author did not say. A text is one paragraph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

HUGGING_FACE = "hf:"


@dataclass(frozen=True)
class DataUse:
    """Why and on what ground one data set is used; ``name`` is the one logged with the run."""

    name: str
    purpose: str = ""
    legal_basis: str = ""
    personal_data: str = ""
    source: str = ""
    licence: str = ""
    retention: str = ""


@dataclass(frozen=True)
class Terms:
    """Under which licence a base model may be used, and for what it is used here.

    ``name`` is one of the card's ``base_models``; ``use`` is ``fine-tuning`` or ``inference``.
    """

    name: str
    licence: str = ""
    use: str = ""


@dataclass(frozen=True)
class Metric:
    """A target, a result measured elsewhere than in the run, or both."""

    name: str
    target: str = ""
    """Such as ``>= 0.9``."""
    value: float | None = None
    dataset: str = ""


@dataclass(frozen=True)
class Fairness:
    """One group the model may treat worse."""

    group: str
    harms: str = ""
    mitigation: str = ""
    benefits: str = ""
    results: str = ""


@dataclass(frozen=True)
class Footprint:
    """What one activity cost: kilowatt hours, and kilograms of CO2 equivalent."""

    activity: str = ""
    energy_kwh: float | None = None
    co2_kg: float | None = None
    provider: str = ""
    energy_source: str = ""
    hardware: str = ""
    region: str = ""
    note: str = ""


class Risk(NamedTuple):
    """A risk with its safeguard; ``severity`` is low, medium, high, critical or not stated."""

    name: str
    safeguard: str
    severity: str


@dataclass(frozen=True)
class AuthorCard:
    """``model_card.yaml``; ``attestations/model_card.schema.json`` says what each field means.

    ``safeguards`` and ``severities`` are matched to ``risks`` by position; a single safeguard
    answers them all.
    """

    purpose: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    safeguards: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    owner: str = ""
    risk_tier: str = ""
    """low, medium or high. The registry may demand more, never less."""
    licence: str = ""
    """An SPDX licence expression."""
    base_models: tuple[str, ...] = ()
    """Package URLs, or ``hf:organisation/name@revision``; see :func:`purl`."""
    base_model_terms: tuple[Terms, ...] = ()
    task: str = ""
    approach: str = ""
    language: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    data: tuple[DataUse, ...] = ()
    metrics: tuple[Metric, ...] = ()
    fairness: tuple[Fairness, ...] = ()
    environmental: tuple[Footprint, ...] = ()
    monitoring: tuple[str, ...] = ()
    human_oversight: tuple[str, ...] = ()
    annex_iv: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Point of Annex IV → its texts; empty points are left out."""

    @property
    def answered(self) -> tuple[Risk, ...]:
        """Each risk with its safeguard and severity, empty where there is none."""
        if len(self.safeguards) == 1:
            answers = self.safeguards * len(self.risks)
        else:
            answers = self.safeguards + ("",) * len(self.risks)
        severities = self.severities + ("",) * len(self.risks)
        return tuple(map(Risk, self.risks, answers, severities))


def purl(base_model: str) -> str:
    """A base model as a package URL (``pkg:huggingface/organisation/name@revision``)."""
    if base_model.startswith(HUGGING_FACE):
        return "pkg:huggingface/" + base_model.removeprefix(HUGGING_FACE)
    return base_model
