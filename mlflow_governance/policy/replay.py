"""The same question under other rules: what a bundle would have said of a recorded dossier.

A dossier holds everything a decision knew, the time included, so this is exact and needs no
database. ``runtime.policy_digest``, ``runtime.accepted_policy_digests`` and
``subject.policy_digest`` stay as recorded: approvals and releases are bound to the digest of the
policy they were given under, and count here as they counted then. What putting a new bundle into
force does to them (they are bound to another digest from then on) is not a question of its rules,
and not answered here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mlflow_governance.core.decision import Decision
from mlflow_governance.core.dossier import Dossier
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.interface import PolicyEngine


class Change(StrEnum):
    """How two answers to one question stand to each other."""

    SAME = "same"
    DENIED = "newly denied"
    ALLOWED = "newly allowed"
    REASONS = "other reasons"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What of an answer counts: allowed or not, and the codes that deny."""

    allow: bool
    codes: frozenset[str]

    @classmethod
    def of(cls, decision: Decision) -> Verdict:
        """The verdict of a decision."""
        return cls(decision.allow, frozenset(reason.code for reason in decision.reasons))

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Verdict:
        """The verdict of a recorded decision.

        Raises:
            InvalidRequest: it is not the document of a decision.
        """
        try:
            allow, codes = document["allow"], [reason["code"] for reason in document["reasons"]]
        except (KeyError, TypeError) as error:
            raise InvalidRequest("not the document of a decision") from error
        if not isinstance(allow, bool) or not all(isinstance(code, str) for code in codes):
            raise InvalidRequest("not the document of a decision")
        return cls(allow, frozenset(codes))

    def to_document(self) -> dict[str, Any]:
        """The verdict as JSON."""
        return {"allow": self.allow, "codes": sorted(self.codes)}


@dataclass(frozen=True, slots=True)
class Turn:
    """From one verdict to another.

    Args:
        change: what became of the verdict.
        now: codes that deny now and did not before.
        no_longer: codes that denied before and do not now.
    """

    change: Change
    now: tuple[str, ...] = ()
    no_longer: tuple[str, ...] = ()

    @classmethod
    def between(cls, before: Verdict, after: Verdict) -> Turn:
        """What turned, and the codes that turned it."""
        now, gone = _sorted(after.codes - before.codes), _sorted(before.codes - after.codes)
        if before.allow is not after.allow:
            return cls(Change.ALLOWED if after.allow else Change.DENIED, now, gone)
        return cls(Change.REASONS if now or gone else Change.SAME, now, gone)


def replay(engine: PolicyEngine, dossier: Dossier, recorded: Verdict) -> tuple[Turn, Decision]:
    """Decide a recorded dossier again, and hold the answer against the recorded one.

    An engine that breaks denies with an ``ENG-…`` code, here as anywhere.
    """
    decision = decide(engine, dossier)
    return Turn.between(recorded, Verdict.of(decision)), decision


def _sorted(codes: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(codes))
