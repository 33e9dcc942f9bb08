"""Recorded decisions under other rules, counted by what turned them.

A part of the history gives a :class:`Report`; reports of parts add up to the report of the whole,
so parts may be replayed at once, wherever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mlflow_governance.core import moment
from mlflow_governance.core.dossier import Dossier, Gate
from mlflow_governance.policy.interface import PolicyEngine
from mlflow_governance.policy.replay import Change, Turn, replay
from mlflow_governance.workflows.recorded import Looked, Scope, model_name
from mlflow_governance.workflows.validation.books import DecisionRow

EXAMPLES = 5
"""Decisions that are named for each group."""


class Turned(NamedTuple):
    """A group of decisions that turned alike: one code of one gate.

    ``denies``: the code denies now; else it denies no longer.
    """

    change: Change
    gate: Gate
    code: str
    denies: bool


class Example(NamedTuple):
    """A decision that turned. Standing questions have no id."""

    decision_id: str
    model: str
    version: int
    actor: str
    at: str


@dataclass
class Group:
    """Decisions of a group, by model, and the first examples."""

    models: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)

    @property
    def decisions(self) -> int:
        """How many."""
        return self.models.total()

    def add(self, other: Group) -> None:
        """Take another part's group in."""
        self.models.update(other.models)
        self.examples = (self.examples + other.examples)[:EXAMPLES]


@dataclass
class Report(Looked):
    """What a replay found.

    Args:
        asked: decisions in scope that were asked again.
        changes: how many by what became of them.
        groups: those that turned, by what turned them. A decision is in several groups when
            several codes turned it.
    """

    asked: int = 0
    changes: Counter[Change] = field(default_factory=Counter)
    groups: dict[Turned, Group] = field(default_factory=dict)

    def count(self, turn: Turn, dossier: Dossier, decision_id: str = "") -> None:
        """One decision was asked again."""
        example = Example(
            decision_id,
            model_name(dossier),
            dossier.subject.ref.version,
            dossier.actor.person,
            moment.to_text(dossier.now),
        )
        self.tally(turn, dossier.gate, example)

    def tally(self, turn: Turn, gate: Gate, example: Example, times: int = 1) -> None:
        """So many decisions of one version were asked again, and turned alike."""
        self.asked += times
        self.changes[turn.change] += times
        for codes, denies in ((turn.now, True), (turn.no_longer, False)):
            for code in codes:
                group = self.groups.setdefault(Turned(turn.change, gate, code, denies), Group())
                group.models[example.model] += times
                if len(group.examples) < EXAMPLES:
                    group.examples.append(example)

    def add(self, other: Report) -> None:
        """Take the report of another part in."""
        self.add_looked(other)
        self.asked += other.asked
        self.changes.update(other.changes)
        for turned, group in other.groups.items():
            self.groups.setdefault(turned, Group()).add(group)

    def to_document(self) -> dict[str, Any]:
        """The report as JSON, the groups that hit most first."""
        return {
            **self.looked_document(),
            "decisions": self.asked,
            "same": self.changes[Change.SAME],
            "newly_denied": self.changes[Change.DENIED],
            "newly_allowed": self.changes[Change.ALLOWED],
            "other_reasons": self.changes[Change.REASONS],
            "groups": [
                {
                    "change": turned.change.value,
                    "gate": turned.gate.value,
                    "code": turned.code,
                    "denies": turned.denies,
                    "decisions": group.decisions,
                    "models": [
                        {"model": model, "decisions": count}
                        for model, count in sorted(
                            group.models.items(), key=lambda item: (-item[1], item[0])
                        )
                    ],
                    "examples": [example._asdict() for example in group.examples],
                }
                for turned, group in self.sorted_groups()
            ],
        }

    def sorted_groups(self) -> list[tuple[Turned, Group]]:
        """The groups: newly denied first, and what hits most first."""
        order = list(Change)
        return sorted(
            self.groups.items(),
            key=lambda item: (order.index(item[0].change), -item[1].decisions, item[0]),
        )


def replay_rows(rows: Iterable[DecisionRow], engine: PolicyEngine, scope: Scope) -> Report:
    """Ask a bundle again what these rows record; what was changed is an alarm and not asked."""
    report = Report()
    for recorded in report.sound(rows, scope):
        turn, _ = replay(engine, recorded.dossier, recorded.verdict)
        report.count(turn, recorded.dossier, recorded.decision_id)
    return report
