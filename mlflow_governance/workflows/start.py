"""The registry's first word in each run: what it was configured with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.event import Act, Event
from mlflow_governance.workflows.policy import note_policy, under_one_policy
from mlflow_governance.workflows.policy_ports import Quorum
from mlflow_governance.workflows.ports import Ports
from mlflow_governance.workflows.trust import note_trust


@under_one_policy
def record_start(ports: Ports, facts: Mapping[str, Any]) -> None:
    """Record that the registry started, under which policy, engine and trust policy.

    Args:
        ports: everything a workflow needs.
        facts: further public settings worth a record.
    """
    policy = ports.policy.refresh()
    with ports.store.begin() as uow:
        note_policy(ports, uow, policy)
        note_trust(ports, uow, ports.examiner.trust_digest)
        uow.record(
            Event(
                act=Act.REGISTRY_STARTED,
                person=Actor.system("server").person,
                at=ports.clock(),
                facts={
                    "policy_digest": policy.digest,
                    "trust_digest": ports.examiner.trust_digest,
                    "engine": policy.engine.name,
                    "strict_registration": ports.rules.strict_registration,
                    "policy_approvals": _asked(ports.rules.policy_approvals),
                    "ungoverned_models": list(ports.rules.ungoverned_models),
                    **facts,
                },
            )
        )


def _asked(quorum: Quorum | None) -> dict[str, Any] | None:
    return None if quorum is None else {"count": quorum.count, "roles": list(quorum.roles)}
