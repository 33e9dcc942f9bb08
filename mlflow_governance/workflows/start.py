"""The registry's first word in each run: what it was configured with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.event import Act, Event
from mlflow_governance.workflows.policy import note_policy, under_one_policy
from mlflow_governance.workflows.policy_ports import Quorum
from mlflow_governance.workflows.ports import Ports, Reading
from mlflow_governance.workflows.trust import note_trust

CONFIGURATION = "configuration"


@under_one_policy
def record_start(
    ports: Ports, facts: Mapping[str, Any], configuration: Mapping[str, Any] | None = None
) -> None:
    """Record that the registry started, under which policy, engine, trust policy and settings.

    What the settings say is kept by the digest in the entry, and the entry names those that say
    something else than at the start before.

    Args:
        ports: everything a workflow needs.
        facts: further public facts worth a record.
        configuration: every setting without secrets, a JSON value.
    """
    policy = ports.policy.refresh()
    with ports.store.begin() as uow:
        note_policy(ports, uow, policy)
        note_trust(ports, uow, ports.examiner.trust_digest)
        before = uow.in_force(CONFIGURATION)
        data = canonical.encode(dict(configuration or {}))
        changed = _changed(uow, before, configuration or {})
        uow.put_in_force(CONFIGURATION, of_bytes(data), data)
        uow.record(
            Event(
                act=Act.REGISTRY_STARTED,
                person=Actor.system("server").person,
                at=ports.clock(),
                before={"configuration_digest": before},
                after={"configuration_digest": of_bytes(data)},
                facts={
                    "changed": changed,
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


def _changed(reading: Reading, before: Digest | None, now: Mapping[str, Any]) -> list[str] | None:
    """The settings that say something else than before; None at the first start, or when what
    they said before is not kept any more."""
    data = None if before is None else reading.document(before)
    if data is None:
        return None
    then = canonical.decode_object(data)
    return sorted(name for name in {*then, *now} if then.get(name) != now.get(name))


def _asked(quorum: Quorum | None) -> dict[str, Any] | None:
    return None if quorum is None else {"count": quorum.count, "roles": list(quorum.roles)}
