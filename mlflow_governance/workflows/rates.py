"""How often checks that do not count yet would have denied, and how often waivers were used.

Enforcing a check should surprise nobody: what it would have denied was recorded all along.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mlflow_governance.workflows.recorded import Looked, Recorded, Scope, model_name
from mlflow_governance.workflows.validation.books import DecisionRow


class Relaxed(NamedTuple):
    """A check of a gate in a mode that does not deny."""

    gate: str
    code: str
    mode: str


class Waiver(NamedTuple):
    """A waiver, and the check of a gate it was used for."""

    waiver: str
    gate: str
    code: str


@dataclass
class Rate:
    """Of one relaxed check.

    Args:
        asked: decisions that were asked about it in that mode.
        denies: those it would have denied.
        alone: those of them that nothing else denied: enforced, it would have been the only
            reason.
        models: those it would have denied, by model.
    """

    asked: int = 0
    denies: int = 0
    alone: int = 0
    models: Counter[str] = field(default_factory=Counter)

    def add(self, other: Rate) -> None:
        """Take another part in."""
        self.asked += other.asked
        self.denies += other.denies
        self.alone += other.alone
        self.models.update(other.models)


@dataclass
class Rates(Looked):
    """What a look at modes and waivers found; ``decisions`` are those in scope."""

    decisions: int = 0
    checks: dict[Relaxed, Rate] = field(default_factory=dict)
    waivers: dict[Waiver, Counter[str]] = field(default_factory=dict)

    def count(self, recorded: Recorded) -> None:
        """Take one decision in."""
        self.decisions += 1
        document, model = recorded.document, model_name(recorded.dossier)
        for code, mode in document.get("modes", {}).items():
            rate = self.checks.setdefault(Relaxed(document["gate"], code, mode), Rate())
            rate.asked += 1
            if document["checks"].get(code) is False:
                rate.denies += 1
                rate.alone += recorded.verdict.allow
                rate.models[model] += 1
        for used in document.get("waived", []):
            key = Waiver(used["waiver"], document["gate"], used["code"])
            self.waivers.setdefault(key, Counter())[model] += 1

    def add(self, other: Rates) -> None:
        """Take another part in."""
        self.add_looked(other)
        self.decisions += other.decisions
        for relaxed, rate in other.checks.items():
            self.checks.setdefault(relaxed, Rate()).add(rate)
        for waiver, models in other.waivers.items():
            self.waivers.setdefault(waiver, Counter()).update(models)

    def to_document(self) -> dict[str, Any]:
        """The rates as JSON; ``rate`` is a share of 1."""
        return {
            **self.looked_document(),
            "decisions": self.decisions,
            "checks": [
                {
                    **relaxed._asdict(),
                    "asked": rate.asked,
                    "would_deny": rate.denies,
                    "only_reason": rate.alone,
                    "rate": rate.denies / rate.asked,
                    "models": _models(rate.models),
                }
                for relaxed, rate in sorted(self.checks.items())
            ],
            "waivers": [
                {**waiver._asdict(), "used": models.total(), "models": _models(models)}
                for waiver, models in sorted(self.waivers.items())
            ],
        }


def rates(rows: Iterable[DecisionRow], scope: Scope) -> Rates:
    """Count modes and waivers in recorded decisions; what was changed is an alarm."""
    found = Rates()
    for recorded in found.sound(rows, scope):
        found.count(recorded)
    return found


def _models(counter: Counter[str]) -> list[dict[str, Any]]:
    ordered = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    return [{"model": model, "decisions": count} for model, count in ordered]
