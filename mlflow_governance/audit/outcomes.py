"""What an outcome came to. That evidence verified does not say that what it says is good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mlflow_governance.audit.content import Tone

_SAYS: Mapping[str, tuple[str, object]] = {
    "test_result": ("result", "PASSED"),
    "canary": ("result", "PROCEED"),
    "malware": ("verdict", "clean"),
    "change_ticket": ("state", "approved"),
    "model_card": ("complete", True),
    "slo": ("met", True),
    "reproduction": ("matches", True),
}
"""Kind → the fact that carries its verdict, and the verdict that is good."""

_NO = {"complete": "incomplete", "met": "not met", "matches": "no match"}


class Verdict(NamedTuple):
    """An outcome in a word, its tone, and whether it speaks for the version."""

    word: str
    tone: Tone
    counts: bool


def verdict(kind: str, outcome: Mapping[str, Any]) -> Verdict:
    """What the outcome of one kind of evidence came to."""
    status, facts = str(outcome["status"]), outcome["facts"]
    if status != "passed":
        return Verdict(status, "plain" if status == "missing" else "bad", False)
    if kind == "vulnerabilities":
        return _vulnerabilities(facts)
    key, good = _SAYS.get(kind, ("", None))
    said = facts.get(key, good)
    if said != good:
        return Verdict(_NO[key] if isinstance(said, bool) else str(said), "bad", False)
    return Verdict("passed", "good", True)


def _vulnerabilities(facts: Mapping[str, Any]) -> Verdict:
    if not facts.get("advisories_at"):
        return Verdict("nothing looked up", "warn", False)
    known = len(facts.get("vulnerabilities", ()))
    return Verdict(f"{known} known", "warn", True) if known else _NONE_KNOWN


_NONE_KNOWN = Verdict("none known", "good", True)
