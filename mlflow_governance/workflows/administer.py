"""Acts on registered models and webhooks as such: no gate decides them, the ledger keeps them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import Conflict
from mlflow_governance.workflows.ports import Ports, Reading, VersionRecord
from mlflow_governance.workflows.refuse import Refused, refuse

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ModelChange:
    """What is to happen to a registered model: ``act``, and the word for it in a refusal."""

    act: Act
    asked: str
    name: str
    workspace: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> dict[str, Any]:
        """The model as events name it."""
        return {"name": self.name, "workspace": self.workspace}


def change_model(ports: Ports, actor: Actor, change: ModelChange, apply: Callable[[], _T]) -> _T:
    """Delete or rename a registered model that has no governed version.

    Args:
        ports: everything a workflow needs.
        actor: who asks.
        change: what is asked.
        apply: changes MLflow's rows inside the transaction.

    Raises:
        Denied: it has governed versions; names and histories stay together. Recorded.
        Conflict: it got one meanwhile.
    """
    with ports.store.read() as reading:
        versions = _governed(reading, change)
    if versions:
        refuse(
            ports,
            actor,
            Refused(change.asked, change.subject),
            f"the model {change.name!r} has {len(versions)} governed versions: "
            f"{change.asked} is refused",
            "Delete versions that were never released one by one; withdraw the others: "
            f"mlflow-governance revoke {versions[0].ref} --reason WHY",
        )
    with ports.store.begin() as uow:
        if _governed(uow, change):
            raise Conflict(f"a version of {change.name!r} was registered meanwhile")
        done = apply()
        uow.record(_event(ports, actor, change.act, change.subject, change.facts))
    return done


def _governed(reading: Reading, change: ModelChange) -> list[VersionRecord]:
    return reading.versions(name=change.name, workspace=change.workspace)


def change_webhook(
    ports: Ports, actor: Actor, asked: str, apply: Callable[[], tuple[_T, Mapping[str, Any]]]
) -> _T:
    """Change one of MLflow's own webhooks, and record it.

    Args:
        ports: everything a workflow needs.
        actor: who asks.
        asked: ``create``, ``update`` or ``delete``.
        apply: changes MLflow's rows inside the transaction; returns what MLflow returned, and
            the facts worth a record. The address and the secret are not among them.
    """
    with ports.store.begin() as uow:
        done, facts = apply()
        uow.record(_event(ports, actor, Act.WEBHOOK_CHANGED, {}, {"asked": asked, **facts}))
    return done


def register_ungoverned(
    ports: Ports, actor: Actor, pattern: str, create: Callable[[], tuple[VersionRef, _T]]
) -> _T:
    """Leave a new version to MLflow, since its name is excluded; the exclusion is recorded.

    Args:
        ports: everything a workflow needs.
        actor: who registers.
        pattern: what excludes the name.
        create: makes MLflow's row inside the transaction; returns its name and what MLflow did.
    """
    with ports.store.begin() as uow:
        ref, done = create()
        subject = {"name": ref.name, "version": ref.version, "workspace": ref.workspace}
        facts = {"pattern": pattern}
        uow.record(_event(ports, actor, Act.MODEL_UNGOVERNED, subject, facts))
    return done


def _event(
    ports: Ports, actor: Actor, act: Act, subject: Mapping[str, Any], facts: Mapping[str, Any]
) -> Event:
    return Event(act=act, person=actor.person, at=ports.clock(), subject=subject, facts=facts)
