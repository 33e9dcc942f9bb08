"""What follows a commit and may be repeated: MLflow tags and attached files.

The server does it at once; if it dies first, the worker finds the ``mirror`` task and does it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from mlflow_governance.core.decision import remarks
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage, next_stage
from mlflow_governance.workflows.ports import Ports, VersionRecord

_log = logging.getLogger(__name__)
_MAX_TAG = 4500


def mirror(ports: Ports, version_uid: str) -> None:
    """Bring attachments and tags of a version in line with the store.

    A failure is logged and left to the worker: the decision itself is already committed.
    """
    try:
        mirror_now(ports, version_uid)
    except Exception:
        _log.exception("mirroring %s is left to the worker", version_uid)


def mirror_now(ports: Ports, version_uid: str) -> None:
    """Like :func:`mirror`, and a failure is raised."""
    with ports.store.read() as reading:
        record = reading.version_by_uid(version_uid)
        pending = reading.attachments(version_uid, pending_only=True)
    if record is None:
        return
    if pending:
        ports.artifacts.attach(record.location, record.ref.folder, pending)
    with ports.store.begin() as uow:
        # Read again inside the transaction: a slower mirror must not put an older stage back.
        now = uow.version_by_uid(version_uid)
        if now is None:
            return
        ports.catalogue.mirror(now, _tags(now, uow.last_decision(version_uid) or {}))
        uow.mirrored(version_uid, pending)


def _tags(record: VersionRecord, decision: Mapping[str, Any]) -> dict[str, str]:
    reasons = decision.get("reasons", []) if not decision.get("allow", True) else []
    missing = _lines(reasons)
    return {
        "governance.stage": record.stage.value,
        "governance.digest": record.digest or "",
        "governance.decision": str(decision.get("decision_id", "")),
        "governance.missing": missing,
        "governance.warnings": _lines(remarks(decision)),
        "governance.next": _next_step(record, bool(missing)),
    }


def _lines(told: Iterable[Mapping[str, str]]) -> str:
    lines = [
        f"{one['code']} {one['message']}" + (f" | fix: {one['fix']}" if one.get("fix") else "")
        for one in told
    ]
    return "\n".join(lines)[:_MAX_TAG]


def _next_step(record: VersionRecord, missing: bool) -> str:
    target = next_stage(record.stage)
    if record.stage is Stage.NONE:
        return f"mend what governance.missing names, most of it with: {_submit(record.ref)}"
    if target is None or target is Stage.DEPRECATED:
        return ""
    verb = "mend what governance.missing names, then " if missing else ""
    arguments = f"{record.ref.name!r}, {record.ref.version}, {target.value!r}"
    return f"{verb}transition_model_version_stage({arguments})"


def _submit(ref: VersionRef) -> str:
    return f"mlflow-governance submit models:/{ref} --key KEY.pem"
