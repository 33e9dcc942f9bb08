"""The model card for people, before it is Markdown or HTML: headings over texts and tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mlflow_governance.evidence.model_card import ANNEX_IV
from mlflow_governance.submission.card.author import AuthorCard
from mlflow_governance.submission.card.build import footprint, measured, number, with_author
from mlflow_governance.submission.facts import Facts

Row = tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """A heading over texts or a table; with neither of them it is not stated."""

    title: str
    texts: Row = ()
    columns: Row = ()
    rows: tuple[Row, ...] = ()
    level: int = 2
    """Of the heading; 1 is the title of the card."""


def sections(author: AuthorCard, facts: Facts) -> tuple[Section, ...]:
    """The whole card. What nobody said is there as an empty section."""
    risks = [(r.name, r.safeguard or "no safeguard", r.severity) for r in author.answered]
    metrics = [(m.name, number(m.value), m.dataset, m.target) for m in measured(author, facts)]
    fairness = [(f.group, f.harms, f.mitigation, f.benefits, f.results) for f in author.fairness]
    return (
        Section("Purpose", author.purpose),
        Section("Audience", author.audience),
        Section("Limits", author.limits),
        _table("Risks and safeguards", ("Risk", "Safeguard", "Severity"), risks),
        _table(
            "Metrics", ("Metric", "Value", "Data", "Target"), [*metrics, *_unmet(author, facts)]
        ),
        _data(author, facts),
        _table("Fairness", ("Group", "Harms", "Mitigation", "Benefits", "Results"), fairness),
        Section(
            "Environmental impact",
            tuple(
                ", ".join(f"{name.replace('_', ' ')}: {text}" for name, text in said.items())
                for said in map(footprint, author.environmental)
                if said
            ),
        ),
        Section("Human oversight", author.human_oversight),
        Section("Monitoring", author.monitoring),
        _table("Model", ("Field", "Value"), _about(author, facts)),
        _table("Parameters", ("Parameter", "Value"), sorted(facts.parameters.items())),
        *_annex(author),
    )


def _table(title: str, columns: Row, rows: Iterable[Sequence[str]]) -> Section:
    return Section(title, columns=columns, rows=tuple(map(tuple, rows)))


def _unmet(author: AuthorCard, facts: Facts) -> Iterator[Row]:
    """Targets nothing was measured for."""
    known = {metric.name for metric in measured(author, facts)}
    for metric in author.metrics:
        if metric.target and metric.name not in known:
            yield metric.name, "", metric.dataset, metric.target


def _data(author: AuthorCard, facts: Facts) -> Section:
    columns = ("Name", "Digest", "Context", "Purpose", "Legal basis", "Personal data", "Source")
    rows = [
        (d.name, d.digest, d.context, d.purpose, d.legal_basis, d.personal_data, d.source)
        for d in with_author(facts, author).datasets
    ]
    logged = {found.name for found in facts.datasets}
    described = [
        (use.name, "", "", use.purpose, use.legal_basis, use.personal_data, use.source)
        for use in author.data
        if use.name not in logged
    ]
    return _table("Data", columns, [*rows, *described])


def _about(author: AuthorCard, facts: Facts) -> list[Row]:
    values = {
        "Description": facts.description,
        "Logged by": facts.author,
        "Licence": author.licence,
        "Task": author.task,
        "Approach": author.approach,
        "Architecture": facts.architecture,
        "Format": ", ".join(facts.flavors),
        "Base models": ", ".join(author.base_models),
        "Languages": ", ".join(author.language),
        "Tags": ", ".join(author.tags),
        "Inputs": "; ".join(facts.inputs),
        "Outputs": "; ".join(facts.outputs),
    }
    return [(name, text) for name, text in values.items() if text]


def _annex(author: AuthorCard) -> list[Section]:
    """One heading when no point is stated, else each point under its own."""
    title = "EU AI Act, Annex IV"
    if not author.annex_iv:
        return [Section(title)]
    points = [
        Section(f"{index}. {name}", author.annex_iv.get(point, ()), level=3)
        for index, (point, name) in enumerate(ANNEX_IV.items(), 1)
    ]
    return [Section(title, (f"{len(author.annex_iv)} of {len(ANNEX_IV)} points",)), *points]
