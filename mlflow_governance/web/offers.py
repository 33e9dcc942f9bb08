"""What a page offers a person to do, asked of the rules that will decide when they do it.

Nothing here permits anything: a button that is offered may still be refused, and says so then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow_governance.approval.duties import refuse_unfit
from mlflow_governance.approval.request import APPROVE, ApprovalRequest
from mlflow_governance.core import canonical
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.stage import Stage, exists
from mlflow_governance.errors import Denied, InvalidRequest
from mlflow_governance.workflows.judge import judge
from mlflow_governance.workflows.ports import Ports, Request, VersionRecord

_POLICY_DATA = "registry/config/data.json"
_REASON = "to be given"


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing to do: whether it is open to this person, and why not."""

    allowed: bool
    why: str = ""


def approval_roles(ports: Ports, actor: Actor) -> list[str]:
    """The actor's roles that policy asks for; all of them where policy does not list any."""
    asked = _asked_roles(ports)
    return sorted(set(actor.roles) & set(asked) if asked else actor.roles)


def approval(
    ports: Ports, actor: Actor, record: VersionRecord, given: Sequence[Mapping[str, Any]]
) -> tuple[list[str], Offer]:
    """The roles in which the actor may approve now, and why there are none.

    Args:
        ports: everything a workflow needs.
        actor: who looks at the page.
        record: the version.
        given: approvals recorded already, as policy sees them.
    """
    roles = approval_roles(ports, actor)
    why = f"Approving takes one of the roles {', '.join(_asked_roles(ports))}."
    fit = []
    for role in roles or [""]:
        try:
            asked = ApprovalRequest(actor, role or "none", APPROVE, _REASON)
            refuse_unfit(asked, record.subject(blocked=False), given)
        except Denied as error:
            if roles or not actor.authenticated:
                why = error.message
        except InvalidRequest as error:
            why = error.message
        else:
            fit.append(role)
    return fit, Offer(bool(fit), "" if fit else why)


def withdrawal(ports: Ports, actor: Actor, record: VersionRecord, target: Stage) -> Offer:
    """Whether the withdraw gate would let this actor take the version to ``target``."""
    if not exists(record.stage, target, record.quarantined_from):
        return Offer(False, f"There is no way from {record.stage} to {target}.")
    action = {"from": record.stage.value, "to": target.value, "reason": _REASON}
    request = Request(actor, record.ref, _REASON)
    decision = judge(ports, Gate.WITHDRAW, request, action, record.facts or {}).decision
    return Offer(decision.allow, "\n".join(reason.message for reason in decision.reasons))


def _asked_roles(ports: Ports) -> list[str]:
    # Other policies may keep their roles elsewhere; then duties and policy alone say who may.
    files = ports.policy.current().bundle.files
    try:
        document = canonical.decode_object(files.get(_POLICY_DATA, b"{}"))
    except InvalidRequest:
        return []
    quorum = document.get("quorum")
    tiers = quorum.values() if isinstance(quorum, Mapping) else ()
    roles = {role for asked in tiers if isinstance(asked, Mapping) for role in asked}
    return sorted(role.strip().lower() for role in roles)
