"""The model card for machines: the ``modelCard`` object of CycloneDX 1.6.

What CycloneDX has no field for becomes properties named ``mlflow-governance:card:<heading>``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mlflow_governance.evidence.model_card import ANNEX_PROPERTY, CARD_PROPERTY, LICENCE
from mlflow_governance.submission.card.author import (
    AuthorCard,
    DataUse,
    Footprint,
    Metric,
    purl,
)
from mlflow_governance.submission.facts import Facts

_MAX_PARAMETERS = 500
_MAX_TEXT = 4096


def with_author(facts: Facts, author: AuthorCard) -> Facts:
    """The facts, with what the author says of the data sets; it goes before tags of the run.

    The author speaks of a data set by its name. What he says of others stays in the card.
    """
    uses = {use.name: use for use in author.data}
    stated = ("purpose", "legal_basis", "personal_data", "retention", "source")
    return replace(
        facts,
        datasets=tuple(
            replace(found, **_said(uses.get(found.name), stated)) for found in facts.datasets
        ),
    )


def model_card(author: AuthorCard, facts: Facts, dataset_refs: Sequence[str]) -> dict[str, Any]:
    """The ``modelCard`` object; ``dataset_refs`` are the bom-refs of the data sets of the run."""
    properties = [{"name": name, "value": value} for name, value in _properties(author, facts)]
    return _filled(
        {
            "modelParameters": {
                **_filled(_parameters(author, facts)),
                "datasets": [
                    *({"ref": ref} for ref in dataset_refs),
                    *(_dataset(use) for use in author.data),
                ],
            },
            "quantitativeAnalysis": {
                "performanceMetrics": [
                    _filled({"type": m.name, "value": number(m.value), "slice": m.dataset})
                    for m in measured(author, facts)
                ]
            },
            "considerations": _filled(_considerations(author)),
            "properties": properties,
        },
        keep=("considerations",),
    )


def measured(author: AuthorCard, facts: Facts) -> list[Metric]:
    """Every metric with a value, sorted. What MLflow logged goes before what the author says."""
    of_model = {(m.name, m.dataset): m.value for m in facts.measurements}
    names = {name for name, _ in of_model}
    logged = {(k, ""): v for k, v in facts.metrics.items() if k not in names} | of_model
    known = {(name, "") for name, _ in logged} | set(logged)
    stated = {
        (metric.name, metric.dataset): metric.value
        for metric in author.metrics
        if metric.value is not None and (metric.name, metric.dataset) not in known
    }
    targets = {(metric.name, metric.dataset): metric.target for metric in author.metrics}
    return [
        Metric(name, targets.get((name, on)) or targets.get((name, ""), ""), value, on)
        for (name, on), value in sorted({**stated, **logged}.items())
    ]


def number(value: float | None) -> str:
    """A value as cards write it: six significant digits."""
    return "" if value is None else f"{value:.6g}"


def _said(use: DataUse | None, names: Iterable[str]) -> dict[str, str]:
    return {name: text for name in names if (text := getattr(use, name, ""))}


def _parameters(author: AuthorCard, facts: Facts) -> dict[str, Any]:
    return {
        "approach": {"type": author.approach} if author.approach else None,
        "task": author.task,
        "modelArchitecture": facts.architecture,
        "inputs": [{"format": text} for text in facts.inputs],
        "outputs": [{"format": text} for text in facts.outputs],
    }


def _considerations(author: AuthorCard) -> dict[str, Any]:
    return {
        "useCases": list(author.purpose),
        "users": list(author.audience),
        "technicalLimitations": list(author.limits),
        "ethicalConsiderations": [
            {"name": risk.name, "mitigationStrategy": risk.safeguard} for risk in author.answered
        ],
        "fairnessAssessments": [
            _filled(
                {
                    "groupAtRisk": entry.group,
                    "benefits": entry.benefits,
                    "harms": entry.harms,
                    "mitigationStrategy": entry.mitigation,
                }
            )
            for entry in author.fairness
        ],
        "environmentalConsiderations": _environment(author.environmental),
    }


def _environment(entries: Sequence[Footprint]) -> dict[str, Any]:
    """CycloneDX counts energy; carbon without energy, and the rest, are properties."""
    properties = [
        {"name": f"{CARD_PROPERTY}environmental:{name}", "value": text}
        for entry in entries
        for name, text in footprint(entry).items()
        if entry.energy_kwh is None or name in ("hardware", "region", "note")
    ]
    return _filled(
        {
            "energyConsumptions": [_energy(e) for e in entries if e.energy_kwh is not None],
            "properties": properties,
        }
    )


def _energy(entry: Footprint) -> dict[str, Any]:
    amount = {"value": entry.energy_kwh, "unit": "kWh"}
    providers = []
    if entry.provider or entry.energy_source:
        providers.append(
            {
                "organization": {"name": entry.provider or "not stated"},
                "energySource": entry.energy_source or "unknown",
                "energyProvided": amount,
            }
        )
    carbon = None
    if entry.co2_kg is not None:
        carbon = {"value": round(entry.co2_kg / 1000, 9), "unit": "tCO2eq"}
    return _filled(
        {
            "activity": entry.activity or "other",
            "energyProviders": providers,
            "activityEnergyCost": amount,
            "co2CostEquivalent": carbon,
        },
        keep=("energyProviders",),
    )


def footprint(entry: Footprint) -> dict[str, str]:
    """What a footprint says, as texts, in the order people read it."""
    values = {
        "activity": entry.activity,
        "energy": f"{entry.energy_kwh:.6g} kWh" if entry.energy_kwh is not None else "",
        "co2": f"{entry.co2_kg:.6g} kg CO2eq" if entry.co2_kg is not None else "",
        "provider": entry.provider,
        "energy_source": entry.energy_source,
        "hardware": entry.hardware,
        "region": entry.region,
        "note": entry.note,
    }
    return {name: text for name, text in values.items() if text}


def _dataset(use: DataUse) -> dict[str, Any]:
    """A data set as the author speaks of it (``componentData``)."""
    said = _said(use, ("purpose", "legal_basis", "licence", "retention", "source"))
    properties = [
        {"name": f"{CARD_PROPERTY}data:{name}", "value": text} for name, text in said.items()
    ]
    return _filled(
        {
            "type": "dataset",
            "name": use.name,
            "classification": use.personal_data,
            "contents": {"properties": properties} if properties else None,
        }
    )


def _properties(author: AuthorCard, facts: Facts) -> Iterator[tuple[str, str]]:
    """Headings CycloneDX has no field for, each text once: the schema refuses the same twice."""
    return iter(
        dict.fromkeys(
            (name, text[:_MAX_TEXT]) for name, text in _further(author, facts) if text.strip()
        )
    )


def _further(author: AuthorCard, facts: Facts) -> Iterator[tuple[str, str]]:
    yield LICENCE, author.licence
    lists: Mapping[str, Iterable[str]] = {
        "base_model": map(purl, author.base_models),
        "language": author.language,
        "tag": author.tags,
        "risk_severity": [f"{r.severity}: {r.name}" for r in author.answered if r.severity],
        "fairness_results": [f"{f.group}: {f.results}" for f in author.fairness if f.results],
        "human_oversight": author.human_oversight,
        "monitoring": author.monitoring,
        "description": [facts.description],
        "author": [facts.author],
    }
    for name, values in lists.items():
        for value in values:
            yield CARD_PROPERTY + name, value
    for metric in author.metrics:
        on = f" on {metric.dataset}" if metric.dataset else ""
        yield f"{CARD_PROPERTY}metric_target:{metric.name}{on}", metric.target
    for point, values in author.annex_iv.items():
        for value in values:
            yield ANNEX_PROPERTY + point, value
    for name, value in sorted(facts.parameters.items())[:_MAX_PARAMETERS]:
        yield f"{CARD_PROPERTY}parameter:{name}", value


def _filled(values: Mapping[str, Any], keep: Sequence[str] = ()) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value or key in keep}
