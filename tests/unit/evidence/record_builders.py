"""What others say of a model in service: tickets, objectives, evaluations, rebuilds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mlflow_governance.evidence.attestation import SUFFIX
from mlflow_governance.evidence.keys import PrivateKey
from tests.unit.evidence.builders import HOUR, MANIFEST, NOW, attest, key

EARLIER = NOW - HOUR


def window(begin: datetime = EARLIER - HOUR, end: datetime = EARLIER) -> dict[str, str]:
    """Two instants, an hour apart unless told otherwise."""
    return {"from": begin.isoformat(), "to": end.isoformat()}


def ticket_body(state: str = "approved", at: datetime = EARLIER, **more: Any) -> dict[str, Any]:
    """A change ticket whose window is around now."""
    return {
        "id": "CHG-1", "system": "jira", "state": state, "at": at.isoformat(),
        "window": window(NOW - HOUR, NOW + HOUR), **more,
    }  # fmt: skip


def objective(name: str = "availability", measured: Any = 0.999, **more: Any) -> dict[str, Any]:
    """An objective that wants at least 0.99."""
    return {"name": name, "target": 0.99, "measured": measured, "comparison": ">=", **more}


def slo_body(
    *objectives: Mapping[str, Any], profile: str = "online", at: datetime = EARLIER, **more: Any
) -> dict[str, Any]:
    """What was measured in the hour before."""
    return {
        "profile": profile, "window": window(at - HOUR, at), "at": at.isoformat(),
        "objectives": [*objectives] or [objective()], **more,
    }  # fmt: skip


def part(group: str = "18-25", metrics: Any = None, size: Any = 100) -> dict[str, Any]:
    """A slice by age."""
    return {"attribute": "age", "group": group, "size": size, "metrics": metrics or {"auc": 0.9}}


def evaluation_body(
    metrics: Any = None,
    *slices: Mapping[str, Any],
    dataset: str = "holdout",
    at: datetime = EARLIER,
    **more: Any,
) -> dict[str, Any]:
    """How it did on a data set."""
    return {
        "dataset": {"name": dataset}, "metrics": {"auc": 0.91} if metrics is None else metrics,
        "slices": [*slices], "at": at.isoformat(), **more,
    }  # fmt: skip


def reproduction_body(
    rebuilt: str = MANIFEST.digest,
    at: datetime = EARLIER,
    builder: str = "urn:rebuilder",
    **more: Any,
) -> dict[str, Any]:
    """A rebuild that came out the same."""
    return {
        "builder": {"id": builder}, "rebuiltDigest": rebuilt, "at": at.isoformat(), **more,
    }  # fmt: skip


def attached(
    kind: str, *bodies: Mapping[str, Any] | tuple[Mapping[str, Any], PrivateKey]
) -> list[tuple[str, bytes]]:
    """A signed statement for each body, by ``pipeline`` unless a key is given beside it."""
    pairs = [body if isinstance(body, tuple) else (body, key()) for body in bodies]
    return [
        (f"attestations/{number}{SUFFIX}", attest(kind, body, by=[by]))
        for number, (body, by) in enumerate(pairs)
    ]
