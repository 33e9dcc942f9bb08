"""A ledger entry in one line, for whoever reads what happened."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mlflow_governance.core.event import Act
from mlflow_governance.core.model_ref import DEFAULT_WORKSPACE

_MOST = 120
"""Characters of facts that have no words of their own; --json has all."""


def person(name: str | None) -> str:
    """Who it was, as far as that is still known."""
    return "somebody erased" if name is None else plain(name) or "nobody known"


def plain(text: str) -> str:
    """What somebody wrote, on one line and without what steers a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def line(entry: Mapping[str, Any], about: bool = True) -> str:
    """``12  2026-11-01T09:30:00  churn/3  version.transitioned  pia  Staging → Approved …``.

    Args:
        entry: as the timeline or ``as-of`` tells it.
        about: name what it is about, too.
    """
    subject = f"{_subject(entry)}  " if about and _subject(entry) else ""
    words = map(plain, (*_change(entry), *_why(entry)))
    told = "".join(f"  {word}" for word in words)
    return (
        f"{entry['index']:>6}  {entry['at'][:19]}Z  {subject}{entry['act']:<22} "
        f"{person(entry['actor'])}{told}"
    )


def _subject(entry: Mapping[str, Any]) -> str:
    subject = entry["subject"]
    if subject.get("name") is None:
        return ""
    number = subject.get("version")
    where = subject.get("workspace")
    place = "" if where in (None, DEFAULT_WORKSPACE) else f" in {where}"
    return f"{subject['name']}{'' if number is None else f'/{number}'}{place}"


def _change(entry: Mapping[str, Any]) -> Iterator[str]:
    act, facts, before, after = entry["act"], entry["facts"], entry["before"], entry["after"]
    asked = facts.get("action") or {}
    if act in (Act.ALIAS_MOVED, Act.ALIAS_DELETED):
        alias = asked.get("as_written", asked.get("alias"))
        yield f"@{alias}: {_number(asked.get('from_version'))} → {_number(asked.get('to_version'))}"
    elif act in (Act.APPROVAL_GIVEN, Act.APPROVAL_REFUSED, Act.APPROVAL_WITHDRAWN):
        again = facts.get("repeats")  # summed up, whatever the role
        said = facts.get("decision")
        yield f"{said}, {again} times more" if again else f"{said} for {facts.get('role')}"
    elif act == Act.EVIDENCE_ATTACHED:
        yield f"{facts.get('name')} {facts.get('digest')}"
    elif act in (Act.POLICY_CHANGED, Act.TRUST_CHANGED):
        key = "policy_digest" if act == Act.POLICY_CHANGED else "trust_digest"
        yield f"{before.get(key) or 'none'} → {after.get(key)}"
    elif before.get("stage") != after.get("stage"):
        yield " → ".join(stage for stage in (before.get("stage"), after.get("stage")) if stage)
    elif not entry["allowed"] and asked.get("to"):
        yield f"{asked.get('from')} → {asked['to']}"
    elif not entry["decision_id"] and facts and not _is_said_elsewhere(facts):
        told = ", ".join(f"{key} {_shown(value)}" for key, value in facts.items())
        yield told if len(told) <= _MOST else f"{told[:_MOST]}…"


def _is_said_elsewhere(facts: Mapping[str, Any]) -> bool:
    return facts.keys() <= {"location_digest", "adopted"}


def _why(entry: Mapping[str, Any]) -> Iterator[str]:
    if not entry["allowed"]:
        failed = entry["facts"].get("failed") or []
        yield "REFUSED" + (f" ({', '.join(failed)})" if failed else "")
    if entry["reason"]:
        yield f"“{entry['reason']}”"
    if entry["decision_id"]:
        yield f"decision {entry['decision_id']}"


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(version: int | None) -> str:
    return "nowhere" if version is None else str(version)
