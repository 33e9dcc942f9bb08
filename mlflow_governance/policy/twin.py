"""The same dossiers on the embedded engine and on a real OPA: do they answer alike?

The lint sees what a syntax tree shows; here both are asked, and whole decision documents compared
byte by byte, as they would be recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.core.dossier import Dossier, Gate
from mlflow_governance.errors import Unavailable
from mlflow_governance.policy.check import RULES
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.finding import Finding
from mlflow_governance.policy.interface import PolicyEngine
from mlflow_governance.policy.samples import Sample, as_dossier, paths, removed

_VOLATILE = ("engine", "error", "decision_id", "duration", "salt")
_ANSWERS = ("ENG-UNDEFINED", "ENG-SHAPE", "ENG-CONTRADICTION", "ENG-UNEXPLAINED")
_ERRORS = ("ENG-ERROR", "ENG-HTTP-500")
_SHRUNK = 10
"""So many differences are made small; more are only told."""


@dataclass(frozen=True)
class Difference:
    """One way in which the answers differ.

    ``members`` are what differs in the decision documents (``allow``, ``checks.DLD-002``),
    ``count`` of the dossiers show it, and ``dossier`` is the smallest found that does.
    """

    members: tuple[str, ...]
    changed: tuple[str, ...]
    dossier: Dossier
    embedded: Mapping[str, Any]
    opa: Mapping[str, Any]
    count: int = 1

    def as_finding(self) -> Finding:
        """The difference where findings are shown: at the gate."""
        gate = self.dossier.gate.value
        told = f"the engines disagree about {', '.join(self.members)}"
        if self.changed:
            told += f", for example with another {', '.join(self.changed)}"
        fix = RULES["engines-differ"]
        return Finding(f"registry/{gate}/{gate}.rego", 1, 1, "engines-differ", told, fix)

    def to_document(self) -> dict[str, Any]:
        """The difference as JSON."""
        return {
            "gate": self.dossier.gate.value,
            "members": list(self.members),
            "changed": list(self.changed),
            "count": self.count,
            "embedded": dict(self.embedded),
            "opa": dict(self.opa),
            "dossier": self.dossier.to_document(),
        }


def compare(
    embedded: PolicyEngine, opa: PolicyEngine, samples: Iterable[Sample]
) -> tuple[Difference, ...]:
    """The ways in which two engines differ about these dossiers, the most frequent first.

    Raises:
        Unavailable: one of them stopped answering.
    """
    found: dict[tuple[Gate, tuple[str, ...]], Difference] = {}
    for difference in _differences(embedded, opa, samples):
        key = (difference.dossier.gate, difference.members)
        known = found.get(key)
        if known is None or len(difference.changed) < len(known.changed):
            found[key] = replace(difference, count=known.count + 1 if known else 1)
        else:
            found[key] = replace(known, count=known.count + 1)
    ordered = sorted(found.values(), key=lambda d: (-d.count, d.dossier.gate, d.members))
    smallest = [_shrunk(d, embedded, opa) for d in ordered[:_SHRUNK]]
    return (*smallest, *ordered[_SHRUNK:])


def _differences(
    embedded: PolicyEngine, opa: PolicyEngine, samples: Iterable[Sample]
) -> Iterator[Difference]:
    # OPA answers in threads while this one, whose interpreter it is, asks the embedded engine.
    with ThreadPoolExecutor(2) as pool:
        asked = [(s, pool.submit(answer, opa, s.dossier)) for s in samples]
        try:
            for sample, future in asked:
                ours, theirs = answer(embedded, sample.dossier), future.result()
                members = differing(ours, theirs)
                if members:
                    yield Difference(members, sample.changed, sample.dossier, ours, theirs)
        finally:
            pool.shutdown(cancel_futures=True)


def answer(engine: PolicyEngine, dossier: Dossier) -> dict[str, Any]:
    """What an engine's decision records of its answer.

    Raises:
        Unavailable: there is no engine to answer.
    """
    document = decide(engine, dossier).to_document()
    failed = document["error"]
    code = document["reasons"][0]["code"] if failed else ""
    for member in _VOLATILE:
        del document[member]
    if not failed:
        return document
    if code in _ERRORS:
        return {"no answer": f"the evaluation fails: {failed}"}
    if code in _ANSWERS:
        return {"no answer": failed}
    raise Unavailable(f"{engine.name} cannot be compared with: {failed}")


def differing(left: Mapping[str, Any], right: Mapping[str, Any]) -> tuple[str, ...]:
    """The members in which two answers differ; engines word the same failure differently."""
    if "no answer" in left and "no answer" in right:
        kinds = [
            str(side["no answer"]).startswith("the evaluation fails") for side in (left, right)
        ]
        same = kinds[0] == kinds[1] and (kinds[0] or left == right)
        return () if same else ("no answer",)
    if canonical.encode(left) == canonical.encode(right):
        return ()
    if "no answer" in left or "no answer" in right:
        return ("no answer",)
    return tuple(_members(left, right))


def _members(left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(left.keys() | right.keys()):
        ours, theirs = left.get(key), right.get(key)
        if canonical.encode(ours) == canonical.encode(theirs):
            continue
        if key == "checks" and isinstance(ours, dict) and isinstance(theirs, dict):
            codes = sorted(ours.keys() | theirs.keys())
            yield from (f"checks.{code}" for code in codes if ours.get(code) != theirs.get(code))
        else:
            yield key


def _shrunk(difference: Difference, embedded: PolicyEngine, opa: PolicyEngine) -> Difference:
    gone: list[Difference] = [difference]

    def still_differs(value: dict[str, Any]) -> bool:
        dossier = as_dossier(value)
        if dossier is None:
            return False
        ours, theirs = answer(embedded, dossier), answer(opa, dossier)
        members = differing(ours, theirs)
        if members == difference.members:
            gone.append(replace(difference, dossier=dossier, embedded=ours, opa=theirs))
        return members == difference.members

    smallest(difference.dossier.to_document(), still_differs)
    return gone[-1]


def smallest(value: dict[str, Any], holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What is left of a document when everything is removed that is not needed for it to hold."""
    tried = True
    while tried:
        tried = False
        for path in sorted(paths(value), key=len):
            try:
                smaller: dict[str, Any] = removed(value, path)
            except (KeyError, IndexError):  # a part of what has just been removed
                continue
            if holds(smaller):
                value, tried = smaller, True
    return value
