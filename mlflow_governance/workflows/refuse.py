"""Refusals that no gate decides, because no policy may allow what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.event import Act, Event
from mlflow_governance.errors import Denied
from mlflow_governance.workflows.ports import Ports


@dataclass(frozen=True, slots=True)
class Refused:
    """What was asked in a word or two, and about what (``{name, version, …}`` as known)."""

    asked: str
    subject: Mapping[str, Any] = field(default_factory=dict)


def refuse(ports: Ports, actor: Actor, refused: Refused, message: str, advice: str) -> NoReturn:
    """Record a refusal, then raise it.

    Raises:
        Denied: always.
    """
    with ports.store.begin() as uow:
        uow.record(
            Event(
                act=Act.REQUEST_REFUSED,
                person=actor.person,
                at=ports.clock(),
                subject=refused.subject,
                allowed=False,
                facts={"asked": refused.asked},
            )
        )
    raise Denied(message, advice=advice)
