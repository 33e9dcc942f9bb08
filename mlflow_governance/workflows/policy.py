"""The policy bundle in force, of which the database is the arbiter: every process judges by the
one it names, and what was judged by another is not written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.event import Act, Event
from mlflow_governance.errors import Conflict
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.interface import PolicyInForce
from mlflow_governance.workflows.policy_ports import KeptPolicy
from mlflow_governance.workflows.ports import Ports, UnitOfWork

POLICY = "policy"
FIRST, SOURCE, PROPOSAL, ACTIVATION = "first start", "source", "proposal", "activation"
"""How a bundle came into force."""

_TRIES = 4
_P = ParamSpec("_P")
_R = TypeVar("_R")


class PolicyChanged(Conflict):
    """What was judged under one bundle would be written while another is in force."""


@dataclass(frozen=True)
class Change:
    """A bundle on its way into force.

    Args:
        bundle: the bundle.
        before: what it takes the place of; None at the first start.
        how: one of the words above.
        decision: the decision document that allows it.
        person: who brings it.
        reason: why, personal.
        proposal: the proposal it stood in.
    """

    bundle: Bundle
    before: Digest | None
    how: str
    decision: Mapping[str, Any] = field(default_factory=dict)
    person: str = Actor.system("server").person
    reason: str = ""
    proposal: str = ""


def bring_into_force(uow: UnitOfWork, at: datetime, change: Change) -> None:
    """Put a bundle into force and record it, in one transaction.

    Raises:
        PolicyChanged: what it would take the place of is not in force any more.
    """
    # That it takes its own place is said by whoever looked before and asks after another process.
    if uow.in_force(POLICY) != change.before or change.before == change.bundle.digest:
        raise PolicyChanged("another policy came into force meanwhile", advice="Look again.")
    archive, bundle = change.bundle.archive(), change.bundle
    position = uow.record(
        Event(
            act=Act.POLICY_CHANGED,
            person=change.person,
            at=at,
            before={"policy_digest": change.before},
            after={"policy_digest": bundle.digest},
            reason=change.reason,
            facts={
                "archive_digest": of_bytes(archive),
                "files": len(bundle.files),
                "modules": len(bundle.modules),
                "how": change.how,
                "proposal": change.proposal,
                "decision": dict(change.decision),
            },
        )
    )
    uow.keep_policy(KeptPolicy(bundle.digest, of_bytes(archive), at, position), archive)


def note_policy(ports: Ports, uow: UnitOfWork, policy: PolicyInForce) -> None:
    """Refuse what was judged under a bundle that is not in force; the very first comes into force.

    Raises:
        PolicyChanged: another bundle is in force by now.
    """
    said = uow.in_force(POLICY)
    if said == policy.digest:
        return
    if said is not None:
        raise PolicyChanged(
            "another policy came into force while this was being decided", advice="Repeat it."
        )
    bring_into_force(uow, ports.clock(), Change(policy.bundle, None, FIRST))


def under_one_policy(act: Callable[_P, _R]) -> Callable[_P, _R]:
    """Do a whole act again where policy changed in the midst of it: nothing of it was written.

    So a change of policy is nobody's error: whoever asks is answered by the new one.
    """

    @wraps(act)
    def again(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        for _ in range(_TRIES - 1):
            try:
                return act(*args, **kwargs)
            except PolicyChanged:
                continue
        return act(*args, **kwargs)

    return again
