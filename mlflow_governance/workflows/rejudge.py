"""What is handed out, judged again by the advisories of now. It proposes and never acts.

A version whose vulnerabilities block it today stays where it stands: a person decides whether the
model goes out of use. What is written is the decision and a ledger entry ``quarantine.proposed``,
which webhooks tell; the same proposal is repeated after a week at the earliest.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

from mlflow_governance.core import moment
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.decision import Reason
from mlflow_governance.core.dossier import Gate, Status
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Conflict, GovernanceError, NotFound
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.workflows.judge import Judgement, judge
from mlflow_governance.workflows.policy import note_policy, under_one_policy
from mlflow_governance.workflows.ports import Ports, Request, VersionRecord
from mlflow_governance.workflows.record import (
    MIRROR,
    MIRROR_DELAY,
    refuse_moved,
    state_of,
    subject_of,
)

ORIGINS: Mapping[Stage, Stage] = {
    Stage.STAGING: Stage.CANDIDATE,
    Stage.APPROVED: Stage.STAGING,
    Stage.DEPRECATED: Stage.APPROVED,
}
"""The stages whose versions are handed out, and where each comes from."""

REPEATED_AFTER = timedelta(days=7)

# The registry asks on nobody's behalf and knows itself.
_ASKING = replace(Actor.system("rejudge"), authenticated=True)
_CONCERNED = "evidence.vulnerabilities"
_NAMED = "blocking_vulnerabilities"
_MOST = 10
_MAX_REASON = 1500


class Now(StrEnum):
    """What the advisories of now say of a version."""

    OK = "ok"
    PROPOSED = "quarantine proposed"
    STANDING = "quarantine proposed before"
    UNCHECKED = "unchecked"
    """Its vulnerabilities cannot be judged: evidence, advisories or policy must be mended."""
    CHANGED = "changed meanwhile"


@dataclass(frozen=True)
class Review:
    """One version, judged again.

    Args:
        ref: the version.
        stage: where it stands.
        now: what is said of it.
        vulnerabilities: what blocks it, for people.
        reasons: the failed checks about vulnerabilities.
        problem: why nothing can be said.
        others: codes of checks that fail for other causes; ``judge`` tells more.
    """

    ref: VersionRef
    stage: Stage
    now: Now
    vulnerabilities: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    problem: str = ""
    others: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """Why a quarantine is proposed, in a sentence."""
        named = ", ".join(self.vulnerabilities[:_MOST])
        rest = len(self.vulnerabilities) - _MOST
        more = f" and {rest} more" if rest > 0 else ""
        return f"known vulnerabilities block it: {named}"[:_MAX_REASON] + more

    @property
    def command(self) -> str:
        """The command that would act on the proposal; empty where there is none."""
        if self.now not in (Now.PROPOSED, Now.STANDING):
            return ""
        words = ("mlflow-governance", "quarantine", str(self.ref), "--reason", self.reason)
        return shlex.join(words)

    def to_document(self) -> dict[str, Any]:
        """The review as JSON."""
        return {
            "name": self.ref.name,
            "version": self.ref.version,
            "workspace": self.ref.workspace,
            "stage": self.stage.value,
            "now": self.now.value,
            "vulnerabilities": list(self.vulnerabilities),
            "reasons": [reason.to_document() for reason in self.reasons],
            "problem": self.problem,
            "others": list(self.others),
            "command": self.command,
        }


def rejudge_all(ports: Ports, stages: Sequence[Stage]) -> Iterator[Review]:
    """Judge every version at these stages again, one after the other; nothing is moved.

    Args:
        ports: everything a workflow needs; artifacts are not touched.
        stages: some of :data:`ORIGINS`.
    """
    with ports.store.read() as reading:
        records = [record for stage in stages for record in reading.versions(stage=stage)]
    for record in records:
        try:
            yield _review(ports, record)
        except (Conflict, NotFound) as error:
            yield Review(record.ref, record.stage, Now.CHANGED, problem=error.message)
        except GovernanceError as error:  # one that cannot be judged must not hide the others
            yield Review(record.ref, record.stage, Now.UNCHECKED, problem=error.message)


@under_one_policy
def _review(ports: Ports, record: VersionRecord) -> Review:
    origin = ORIGINS[record.stage]
    action = {"from": origin.value, "to": record.stage.value, "again": True}
    judgement = judge(ports, Gate.PROMOTE, Request(_ASKING, record.ref), action)
    if judgement.record.stage is not record.stage:
        raise Conflict(f"it was moved to {judgement.record.stage} meanwhile")
    review = _weighed(judgement)
    if review.now is Now.PROPOSED:
        return _proposed(ports, judgement, review)
    return review


def _weighed(judgement: Judgement) -> Review:
    record, decision = judgement.record, judgement.decision
    about = tuple(reason for reason in decision.reasons if _concerns(reason))
    others = tuple(sorted({r.code for r in decision.reasons} - {r.code for r in about}))
    review = Review(record.ref, record.stage, Now.OK, reasons=about, others=others)
    if decision.error:
        return replace(review, now=Now.UNCHECKED, problem=decision.error, others=())
    if not about:
        return review
    outcome = judgement.evidence.get(Kind.VULNERABILITIES)
    # Only what is known of the model speaks against it. Evidence that cannot be read today, or
    # advisories that are too old, would else propose to take the whole registry out of use.
    named = _named(decision.details.get(_NAMED), about)
    if outcome is None or outcome.status is not Status.PASSED or not named:
        problem = (outcome.problem if outcome else "") or about[0].message
        return replace(review, now=Now.UNCHECKED, problem=problem)
    return replace(review, now=Now.PROPOSED, vulnerabilities=named)


def _concerns(reason: Reason) -> bool:
    return reason.path == _CONCERNED or reason.path.startswith(f"{_CONCERNED}.")


def _named(told: object, about: Sequence[Reason]) -> tuple[str, ...]:
    if isinstance(told, list):
        return tuple(text for text in told if isinstance(text, str))
    return tuple(reason.message for reason in about)  # a policy that names them in words alone


def _proposed(ports: Ports, judgement: Judgement, review: Review) -> Review:
    """Write the proposal down, unless it stands already."""
    record, decision = judgement.record, judgement.decision
    with ports.store.begin() as uow:
        note_policy(ports, uow, judgement.policy)
        refuse_moved(uow, record)
        if _stands(uow.timeline(record.uid), judgement, review):
            return replace(review, now=Now.STANDING)
        decision_digest = uow.add_decision(decision, judgement.dossier.encoded, record.uid)
        uow.record(
            Event(
                act=Act.QUARANTINE_PROPOSED,
                person=judgement.request.actor.person,
                at=judgement.dossier.now,
                subject=subject_of(record),
                before=state_of(record),
                after=state_of(record),
                decision_id=decision.decision_id,
                decision_digest=decision_digest,
                reason=review.reason,
                facts={
                    "gate": decision.gate.value,
                    "policy_digest": decision.policy_digest,
                    "dossier_digest": decision.dossier_digest,
                    "failed": sorted(c for c, passed in decision.checks.items() if not passed),
                    "action": dict(judgement.dossier.action),
                    "vulnerabilities": list(review.vulnerabilities[:_MOST]),
                },
            )
        )
        uow.add_task(MIRROR, record.uid, delay_seconds=MIRROR_DELAY)
    return review


def _stands(timeline: Sequence[Mapping[str, Any]], judgement: Judgement, review: Review) -> bool:
    for entry in reversed(timeline):
        if entry["act"] == Act.QUARANTINE_PROPOSED:
            since = judgement.dossier.now - moment.parse(entry["at"])
            return entry["reason"] == review.reason and since < REPEATED_AFTER
        if entry["before"].get("stage") != entry["after"].get("stage"):
            return False  # it was moved since
    return False
