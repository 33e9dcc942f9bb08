"""What a bundle would say now about everything that is served.

Permitted downloads leave no record, so a replay of the history cannot tell who would lose a model
that is loaded every minute. This asks instead, of every version in a stage whose bytes are handed
out, what an anonymous reader would be told: by the bundle in force, and by another.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Dossier, Gate
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.interface import PolicyEngine
from mlflow_governance.policy.replay import Verdict, replay
from mlflow_governance.workflows.judge import Standing, standing
from mlflow_governance.workflows.ports import Reading
from mlflow_governance.workflows.recorded import Scope
from mlflow_governance.workflows.rejudge import ORIGINS
from mlflow_governance.workflows.replay import Report


@dataclass
class Served:
    """What was found about versions that are served.

    Args:
        report: both answers compared; its examples have no decision id.
        unproved: versions without proved facts, which the server would examine first.
        bound_elsewhere: versions bound to a policy that would count no longer, unless its
            digest is accepted when the new bundle comes into force.
    """

    report: Report = field(default_factory=Report)
    unproved: list[str] = field(default_factory=list)
    bound_elsewhere: int = 0

    def to_document(self) -> dict[str, Any]:
        """The same as JSON."""
        found = self.report.to_document()
        counts = {key: found[key] for key in ("same", "newly_denied", "newly_allowed")}
        return {
            "versions": found["decisions"],
            **counts,
            "other_reasons": found["other_reasons"],
            "unproved": self.unproved,
            "bound_to_another_policy": self.bound_elsewhere,
            "groups": found["groups"],
        }


@dataclass(frozen=True)
class Bundles:
    """The two that are asked, and the digests that are accepted beside the one in force."""

    current: PolicyEngine
    new: PolicyEngine
    accepted: Collection[Digest] = ()


def ask(reading: Reading, bundles: Bundles, now: datetime, scope: Scope) -> Served:
    """Ask both bundles about every version that is served; nothing is written.

    ``runtime`` is that of the bundle in force for both: it is the rules that are compared.
    """
    served = Served()
    for stage in ORIGINS:
        for record in reading.versions(stage=stage):
            found = standing(reading, record.ref, approvals=False)
            if record.facts is None:
                served.unproved.append(str(record.ref))
                continue
            dossier = _question(found, bundles, now)
            if scope.holds(dossier):
                served.report.looked += 1
                before = Verdict.of(decide(bundles.current, dossier))
                turn, _ = replay(bundles.new, dossier, before)
                served.report.count(turn, dossier)
                served.bound_elsewhere += record.policy_digest != bundles.new.policy_digest
    return served


def _question(found: Standing, bundles: Bundles, now: datetime) -> Dossier:
    record, current = found.record, bundles.current.policy_digest
    facts = record.facts or {}
    return Dossier(
        gate=Gate.DOWNLOAD,
        actor=Actor.anonymous(),
        action={"door": "registry"},
        subject=record.subject(blocked=found.blocked),
        evidence={kind.value: outcome for kind, outcome in facts.items()},
        approvals=(),
        runtime={
            "policy_digest": current,
            "accepted_policy_digests": sorted({current, *bundles.accepted}),
        },
        now=now,
    )
