"""Logins, roles and permissions: who may approve. MLflow keeps them, the ledger what was done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.event import Act, Event
from mlflow_governance.workflows.ports import Ports
from mlflow_governance.workflows.repeats import Denial, is_told, told


@dataclass(frozen=True)
class AccountChange:
    """What was asked of an account, a role or a permission.

    Args:
        asked: the end of the route, e.g. ``users/update-admin``.
        account: whose account; empty where it is about a role as such.
        facts: what was asked for; never a password.
        before: what is known of the account before, ``{admin, roles}``.
        after: and after.
    """

    asked: str
    account: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)

    @property
    def people(self) -> dict[str, str]:
        """Whom it is about, for the event."""
        return {"account": self.account} if self.account else {}


def require_ledger(ports: Ports) -> None:
    """Refuse what could not be recorded, before MLflow does it.

    Raises:
        GovernanceError: the ledger cannot be written now.
    """
    with ports.store.begin():
        """Our turn came, so the database takes writes."""


def record_account(ports: Ports, actor: Actor, change: AccountChange) -> None:
    """Record what MLflow did."""
    with ports.store.begin() as uow:
        uow.record(
            Event(
                act=Act.ACCOUNT_CHANGED,
                person=actor.person,
                at=ports.clock(),
                before=change.before,
                after=change.after,
                facts={"asked": change.asked, **change.facts},
                people=change.people,
            )
        )


def record_account_refused(ports: Ports, actor: Actor, change: AccountChange) -> None:
    """Record what MLflow refused; what is asked again and again is summed up."""
    now, facts = ports.clock(), {"asked": change.asked, **change.facts}
    denial = Denial(Act.ACCOUNT_CHANGED, actor.person, {}, {}, facts, change.people)
    with ports.store.begin() as uow:
        if is_told(uow, denial, now) is not None:
            return
        uow.record(
            Event(
                act=Act.ACCOUNT_CHANGED,
                person=actor.person,
                at=now,
                allowed=False,
                facts=facts,
                people=change.people,
            )
        )
        told(uow, denial, now)
