"""The stored event document as a CloudEvent: version 1.0, JSON format, structured mode.

The contract with consumers is ``webhooks/events/event.schema.json``; this module is its only
author. The same document always gives the same bytes (RFC 8785), so every retry carries one body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from mlflow_governance.core import canonical, moment
from mlflow_governance.core.event import Act
from mlflow_governance.core.model_ref import DEFAULT_WORKSPACE
from mlflow_governance.errors import InvalidRequest

CONTENT_TYPE = "application/cloudevents+json"
"""CloudEvents JSON format 1.0, section 3: the media type of one structured event."""

TYPE_PREFIX = "io.mlflow-governance."
DATA_SCHEMA = "urn:mlflow-governance:event:v1#data"
"""Changes with every change of ``data`` that a consumer could trip over."""

_DATA = (
    "actor", "reason", "subject", "before", "after", "allowed", "decision_id", "ledger_index",
    "ledger_root", "facts",
)  # fmt: skip
_ACTS = tuple(act.value for act in Act)


def source_of(registry_name: str) -> str:
    """The ``source`` attribute: ``/mlflow-governance/<registry name>``, percent-encoded."""
    return f"/mlflow-governance/{quote(registry_name, safe='')}"


def type_of(act: str) -> str:
    """The ``type`` attribute, e.g. ``io.mlflow-governance.version.transitioned``."""
    return TYPE_PREFIX + act


def encode(document: bytes, source: str) -> bytes:
    """The CloudEvent of one stored event.

    Args:
        document: JSON ``{id, act, at, actor, reason, subject, before, after, allowed,
            decision_id, ledger_index, ledger_root, facts}``, as the queue hands it out.
        source: from :func:`source_of`.

    Raises:
        InvalidRequest: the document is not of that form, or its act is unknown.
    """
    stored = canonical.decode_object(document)
    missing = [name for name in ("id", "act", "at", *_DATA) if name not in stored]
    if missing:
        raise InvalidRequest(f"the stored event lacks {', '.join(missing)}")
    if stored["act"] not in _ACTS:
        raise InvalidRequest(f"{str(stored['act'])[:60]!r} is not an act of this registry")
    event = {
        "specversion": "1.0",
        "id": stored["id"],
        "source": source,
        "type": type_of(stored["act"]),
        "time": moment.to_text(moment.parse(stored["at"])),
        "datacontenttype": "application/json",
        "dataschema": DATA_SCHEMA,
        "data": {name: stored[name] for name in _DATA},
    }
    subject = _subject_of(stored["subject"])
    # "subject" is optional and may not be empty: what concerns the registry itself has none.
    return canonical.encode({**event, "subject": subject} if subject else event)


def _subject_of(subject: object) -> str:
    """``models/churn/versions/3``, below ``workspaces/<name>/`` outside the default workspace."""
    if not isinstance(subject, Mapping):
        raise InvalidRequest("the stored event's subject is not an object")
    parts = [("models", subject.get("name")), ("versions", subject.get("version"))]
    workspace = subject.get("workspace") or DEFAULT_WORKSPACE
    if workspace != DEFAULT_WORKSPACE:
        parts.insert(0, ("workspaces", workspace))
    # Percent-encoded: names may hold what CloudEvents forbids in an attribute.
    return "/".join(f"{noun}/{_segment(value)}" for noun, value in parts if value is not None)


def _segment(value: Any) -> str:
    return quote(str(value), safe="", errors="replace")
