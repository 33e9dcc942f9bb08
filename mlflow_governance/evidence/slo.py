"""Whether a model keeps its service level objectives: what was measured beside what was promised.

The predicate is ``urn:mlflow-governance:slo:v1``. Whether an objective is met is worked out here
from its numbers; a statement that says so itself is not listened to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlflow_governance.core import moment
from mlflow_governance.evidence import instant
from mlflow_governance.evidence.attestation import find_statements
from mlflow_governance.evidence.instant import Dated
from mlflow_governance.evidence.interface import Case, Kind
from mlflow_governance.evidence.predicate import SLO, Purpose


@dataclass(frozen=True, slots=True)
class _Word:
    """What one signer measured of one objective."""

    profile: str
    signer: str
    at: datetime
    window: Mapping[str, str]
    name: str
    target: float
    measured: float
    comparison: str
    unit: str | None

    @property
    def met(self) -> bool:
        """``measured COMPARISON target``."""
        if self.comparison == ">=":
            return self.measured >= self.target
        return self.measured <= self.target

    @property
    def gravity(self) -> tuple[bool, datetime, float, str]:
        """Of two words the greater counts: what is not met, then what is newer.

        What else is said tells two apart that are alike: not which of their files is read first.
        """
        rest = json.dumps([self.to_fact(), self.window], sort_keys=True)
        return not self.met, self.at, self.measured, rest

    def to_fact(self) -> dict[str, Any]:
        """The objective as policy sees it."""
        return {
            "name": self.name, "target": self.target, "measured": self.measured,
            "comparison": self.comparison, "unit": self.unit, "met": self.met,
        }  # fmt: skip


class SloVerifier:
    """Proves which objectives are met.

    Facts: ``met`` (every objective of every profile is), ``profiles`` (``[{profile, window,
    objectives, met, at, signers}]``, sorted), and of the one that decides (the newest that is not
    met, else the newest) ``profile``, ``window`` (``from``, ``to``), ``objectives``, ``at`` and
    ``signers``. An objective is ``{name, target, measured, comparison, unit, met}``; ``unit`` is
    null where none is given. ``at`` and ``window`` are of the oldest measurement that counts.

    Of each signer the last word on each objective of each profile counts, and of several signers
    the worst. So nothing that was missed is made good but by who found it measuring it again: not
    by measuring less of the profile, nor another profile, nor by somebody else. The targets are
    the signer's; a policy that has its own should compare them.
    """

    kind = Kind.SLO

    def verify(self, case: Case) -> Mapping[str, Any]:
        """The facts of all measurements together.

        Raises:
            EvidenceMissing: nothing was measured.
            VerificationError: no statement counts, one is from the future, or all is met and
                fewer signers measured a profile than a threshold asks for.
        """
        found = instant.dated(find_statements(case, SLO), case.now)
        by_profile: dict[str, list[_Word]] = {}
        for word in _last(found):
            by_profile.setdefault(word.profile, []).append(word)
        profiles = [_profile(name, by_profile[name]) for name in sorted(by_profile)]
        met = all(profile["met"] for profile in profiles)
        if met:
            for profile in profiles:
                case.trust.require(Purpose.SLO, case.model_name, profile["signers"])
        deciding = max(profiles, key=lambda one: (not one["met"], one["at"], one["profile"]))
        return {**deciding, "met": met, "profiles": profiles}


def _last(found: Iterable[Dated]) -> Iterable[_Word]:
    """The last word of each signer on each objective of each profile."""
    last: dict[tuple[str, str, str], _Word] = {}
    for word in _words(found):
        key = (word.profile, word.name, word.signer)
        known = last.get(key, word)
        last[key] = max(known, word, key=lambda one: (one.at, one.gravity))
    return last.values()


def _words(found: Iterable[Dated]) -> Iterator[_Word]:
    for at, entry in found:
        body = entry.statement.predicate
        window = {
            side: moment.to_text(moment.parse(body["window"][side])) for side in ("from", "to")
        }
        for said in body["objectives"]:
            for signer in entry.signers:
                yield _Word(
                    body["profile"], signer, at, window, said["name"], said["target"],
                    said["measured"], said["comparison"], said.get("unit"),
                )  # fmt: skip


def _profile(name: str, words: Iterable[_Word]) -> dict[str, Any]:
    worst: dict[str, _Word] = {}
    signers = set()
    for word in words:
        signers.add(word.signer)
        worst[word.name] = max(worst.get(word.name, word), word, key=lambda one: one.gravity)
    oldest = min(worst.values(), key=lambda one: (one.at, one.window["from"], one.window["to"]))
    return {
        "profile": name,
        "window": dict(oldest.window),
        "objectives": [worst[objective].to_fact() for objective in sorted(worst)],
        "met": all(word.met for word in worst.values()),
        "at": moment.to_text(oldest.at),
        "signers": sorted(signers),
    }
