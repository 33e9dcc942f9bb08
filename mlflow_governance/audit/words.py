"""Small words of a report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from mlflow_governance.audit.content import listed as names
from mlflow_governance.core import moment
from mlflow_governance.errors import InvalidRequest

__all__ = ["day", "facts_in_words", "many", "names", "of_name", "short", "size"]

_MOST = 8
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*")
_ELSEWHERE = ("signer", "signers", "owner", "count", "scanner", "serial_number")
"""Facts that have a place of their own, and those no reader looks for here."""


def day(at: object) -> str:
    """``2026-11-21 03:04 UTC``."""
    try:
        return moment.parse(at).strftime("%Y-%m-%d %H:%M UTC")
    except InvalidRequest:
        return str(at)


def short(digest: object) -> str:
    """The first twelve digits of a digest."""
    return str(digest or "unknown").removeprefix("sha256:")[:12]


def many(count: int, what: str) -> str:
    """``1 act``, ``2 acts``, ``3 entries``."""
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{count} {what if count == 1 else plural}"


def size(count: int) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count //= 1024
    return f"{count} {unit}"


def of_name(name: str) -> str:
    """``test_result`` as words."""
    return name.replace("_", " ").replace(".", " ")


def facts_in_words(facts: Mapping[str, Any]) -> str:
    """What was proved, in a line: values that are short, and how many of what is a list."""
    said = [f"{of_name(k)} {_value(v)}" for k, v in sorted(facts.items()) if k not in _ELSEWHERE]
    return "; ".join(said[:_MOST]) + (f"; {len(said) - _MOST} more" if len(said) > _MOST else "")


def _value(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not said"}[value]
    if isinstance(value, Mapping):
        return _entries(len(value))
    if isinstance(value, list):
        called = [_called(each) for each in value]
        return names(called) if all(called) and 0 < len(called) <= 3 else _entries(len(value))
    return day(value) if _INSTANT.fullmatch(str(value)) else str(value)


def _entries(count: int) -> str:
    return many(count, "entry") if count else "none"


def _called(value: object) -> str:
    if isinstance(value, Mapping):
        value = value.get("name") or value.get("id") or value.get("profile")
    return value if isinstance(value, str) else ""


def signers_of(facts: Mapping[str, Any]) -> list[str]:
    """Who signed what was proved, as trust.yaml names them."""
    found: list[str] = []
    for key in ("signer", "signers"):
        value = facts.get(key)
        found += [value] if isinstance(value, str) else value if isinstance(value, list) else []
    for value in facts.values():
        for inner in value if isinstance(value, list) else ():
            if isinstance(inner, Mapping):
                found += signers_of(inner)
    return unique(str(name) for name in found)


def unique(texts: Iterable[str]) -> list[str]:
    """Each once, in order."""
    return list(dict.fromkeys(texts))
