"""Refusals that no gate decides, because no policy may allow what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.stage import Stage, exists, next_stage
from mlflow_governance.errors import Denied
from mlflow_governance.workflows.ports import Ports, Request, VersionRecord
from mlflow_governance.workflows.record import subject_of
from mlflow_governance.workflows.repeats import Denial, is_told, told


@dataclass(frozen=True, slots=True)
class Refused:
    """What was asked in a word or two, and about what (``{name, version, …}`` as known)."""

    asked: str
    subject: Mapping[str, Any] = field(default_factory=dict)


def refuse(ports: Ports, actor: Actor, refused: Refused, message: str, advice: str) -> NoReturn:
    """Record a refusal, or count it where it was recorded often enough; then raise it.

    Raises:
        Denied: always.
    """
    record_refused(ports, actor, Act.REQUEST_REFUSED, refused.subject, {"asked": refused.asked})
    raise Denied(message, advice=advice)


def record_refused(
    ports: Ports, actor: Actor, act: Act, subject: Mapping[str, Any], facts: Mapping[str, Any]
) -> None:
    """Record that something was refused which no gate was asked about.

    Args:
        ports: everything a workflow needs.
        actor: who asked.
        act: what they asked for.
        subject: about what, as events name it.
        facts: public values.
    """
    now = ports.clock()
    denial = Denial(act, actor.person, subject, {}, facts)
    with ports.store.begin() as uow:
        if is_told(uow, denial, now) is not None:
            return
        uow.record(
            Event(
                act=act,
                person=actor.person,
                at=now,
                subject=subject,
                allowed=False,
                facts=facts,
            )
        )
        told(uow, denial, now)


def refuse_impossible(ports: Ports, request: Request, record: VersionRecord, target: Stage) -> None:
    """Refuse a transition the life cycle does not have; no policy is asked, so none allows it.

    Raises:
        Denied: there is no way from the version's stage to the target; that is recorded.
    """
    if exists(record.stage, target, record.quarantined_from):
        return
    onward = next_stage(record.stage)
    refuse(
        ports,
        request.actor,
        Refused(f"transition to {target}", subject_of(record)),
        f"{request.ref} may not go from {record.stage} to {target}: the life cycle has no such way",
        f"The next stage is {onward}." if onward else f"mlflow-governance show {request.ref}",
    )
