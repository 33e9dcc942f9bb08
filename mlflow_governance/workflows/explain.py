"""A past decision, told and made again: from the same dossier, by the same bundle, bit for bit.

Policies are pure: a dossier and a bundle have one answer. So a recorded decision that is not the
answer its own dossier and bundle give was changed, or was never given. Everything that goes into
it is checked on the way: the bytes against their digests, the decision against the ledger, the
bundle against the digest the decision names.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Any

from mlflow_governance.core import canonical, moment
from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import GovernanceError, VerificationError
from mlflow_governance.policy import bundle as bundles
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.workflows.ports import Reading
from mlflow_governance.workflows.recorded import Recorded, read
from mlflow_governance.workflows.validation.books import DecisionRow

_SNAPSHOT = "release/policy_snapshot/"
_ITS_OWN = {"decision_id", "duration", "engine", "salt"}
"""What another run of the same decision has another of."""
_LATER: Mapping[str, Any] = {"modes": {}, "waived": [], "shadow": []}
"""Members that decisions recorded before there were modes do not have."""
_OF_THE_RULES = {
    "ENG-SCHEMA", "ENG-UNDEFINED", "ENG-SHAPE", "ENG-CONTRADICTION", "ENG-UNEXPLAINED",
}  # fmt: skip
"""Errors that dossier and bundle lead to again; the others came from outside."""
_REDACTED = (
    "somebody named in it was erased since, and a pseudonym stands for them: a policy that orders "
    "or names people may answer in other words now"
)
_NOWHERE = object()


class Again(StrEnum):
    """What became of making a decision again."""

    SAME = "the same answer"
    DIFFERENT = "another answer"
    NOT = "not re-executed"


@dataclass(frozen=True)
class Explanation:
    """A recorded decision, explained.

    Args:
        recorded: decision and dossier.
        index: of the ledger entry that names it.
        again: what making it again came to.
        bundle_from: where the bundle was found; empty when nowhere.
        differences: recorded and now, member by member.
        notes: what a reader has to know about it.
        bundle: what it was made again with.
    """

    recorded: Recorded
    index: int
    again: Again
    bundle_from: str
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    bundle: Bundle | None = None

    def to_document(self) -> dict[str, Any]:
        """The explanation as JSON."""
        decision, dossier = self.recorded.document, self.recorded.dossier
        return {
            "decision_id": decision["decision_id"],
            "gate": decision["gate"],
            "allow": decision["allow"],
            "at": moment.to_text(dossier.now),
            "actor": dossier.actor.to_document(),
            "action": dict(dossier.action),
            "subject": dossier.subject.to_document(),
            "engine": decision["engine"],
            "policy_digest": decision["policy_digest"],
            "dossier_digest": decision["dossier_digest"],
            "ledger_index": self.index,
            "checks": list(_checks(self.recorded)),
            "warnings": decision["warnings"],
            "obligations": decision["obligations"],
            "details": decision["details"],
            "error": decision["error"],
            "again": self.again.value,
            "bundle_from": self.bundle_from,
            "differences": list(self.differences),
            "notes": list(self.notes),
        }


def explain(
    reading: Reading, row: DecisionRow, at_hand: Iterable[tuple[str, Bundle]] = ()
) -> Explanation:
    """Explain a stored decision, and make it again.

    Args:
        reading: the registry's tables.
        row: the decision as stored.
        at_hand: further bundles to look for the right one in, each with where it is from.

    Raises:
        VerificationError: a stored part was changed or removed, or the ledger tells otherwise.
    """
    recorded = read(row)
    index = _in_ledger(reading, row)
    found = _bundle(reading, recorded, at_hand)
    outside = _from_outside(recorded.document)
    if outside:
        bundle = found[1] if found else None
        return Explanation(recorded, index, Again.NOT, "", notes=(outside,), bundle=bundle)
    if found is None:
        lost = f"no bundle of digest {recorded.document['policy_digest']} is at hand: --bundle"
        return Explanation(recorded, index, Again.NOT, "", notes=(lost,))
    origin, bundle = found
    return _again(recorded, index, origin, bundle)


def _again(recorded: Recorded, index: int, origin: str, bundle: Bundle) -> Explanation:
    engine = EmbeddedEngine(bundle)
    then = str(recorded.document["engine"])
    other = f"decided by {then}, made again by {engine.name}"
    notes: tuple[str, ...] = (_REDACTED,) if recorded.redacted else ()
    notes += () if then == engine.name else (other,)
    if then != engine.name and _error(recorded.document):
        notes += ("what an engine says of an error is its own",)
        return Explanation(recorded, index, Again.NOT, origin, notes=notes, bundle=bundle)
    answer = decide(engine, recorded.dossier).to_document()
    if _error(answer) == "ENG-SCHEMA" != _error(recorded.document):
        notes += ("this version of the program takes dossiers of another shape",)
        return Explanation(recorded, index, Again.NOT, origin, notes=notes, bundle=bundle)
    if recorded.redacted:  # the digest is that of the dossier as it was recorded
        answer["dossier_digest"] = recorded.document["dossier_digest"]
    differences = tuple(_differences({**_LATER, **recorded.document}, answer))
    again = Again.DIFFERENT if differences else Again.SAME
    if differences and recorded.redacted:
        # Its digests are proved; a policy that orders people by name, or names one, reads it
        # otherwise now. That is no alarm.
        again = Again.NOT
    return Explanation(recorded, index, again, origin, differences, notes, bundle)


def _in_ledger(reading: Reading, row: DecisionRow) -> int:
    for entry in reading.timeline(row.version_uid):
        if entry["decision_id"] == row.decision_id:
            if entry["decision_digest"] != row.digest:
                raise VerificationError(
                    f"decision {row.decision_id}: the ledger names {entry['decision_digest']}, "
                    f"stored is {row.digest}",
                    advice="Prove the ledger: mlflow-governance ledger verify",
                )
            return int(entry["index"])
    raise VerificationError(
        f"decision {row.decision_id}: the ledger has no entry about it",
        advice="Prove the ledger: mlflow-governance ledger verify",
    )


def _from_outside(document: Mapping[str, Any]) -> str:
    code = _error(document)
    if not code or code in _OF_THE_RULES:
        return ""
    return f"{code} came from outside the rules and cannot be made again: {document['error']}"


def _error(document: Mapping[str, Any]) -> str:
    codes: list[str] = [r["code"] for r in document["reasons"] if r["code"].startswith("ENG-")]
    return codes[0] if codes else ""


def _bundle(
    reading: Reading, recorded: Recorded, at_hand: Iterable[tuple[str, Bundle]]
) -> tuple[str, Bundle] | None:
    wanted = recorded.document["policy_digest"]
    kept = _kept(reading, wanted, recorded.dossier.subject.uid)
    return next(((o, b) for o, b in chain(kept, at_hand) if b.digest == wanted), None)


def _kept(reading: Reading, wanted: Digest, uid: str) -> Iterator[tuple[str, Bundle]]:
    own = kept_bundle(reading, wanted)
    if own is not None:
        yield "the registry", own
    released = {
        file.path.removeprefix(_SNAPSHOT): file.data
        for file in reading.attachments(uid)
        if file.path.startswith(_SNAPSHOT)
    }
    if released:
        yield "the release", bundles.from_files(released)


def kept_bundle(reading: Reading, wanted: Digest) -> Bundle | None:
    """A bundle that is or was in force, from what the registry keeps.

    Raises:
        VerificationError: what is kept is another one, or none.
    """
    archives: Callable[[Digest], bytes | None] | None
    archives = getattr(reading, "policy_archive", None)
    archive = archives(wanted) if archives else None
    if archive is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle.tar.gz"
        path.write_bytes(archive)
        try:
            found = bundles.load(path)
        except GovernanceError as error:
            raise VerificationError(f"the kept policy {wanted}: {error.message}") from error
    if found.digest != wanted:
        raise VerificationError(f"what is kept as policy {wanted} is {found.digest}")
    return found


def _differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted((recorded.keys() | now.keys()) - _ITS_OWN):
        then, again = recorded.get(name, _NOWHERE), now.get(name, _NOWHERE)
        if _bytes(then) != _bytes(again):
            yield from _difference(name, then, again)


def _difference(name: str, then: Any, again: Any) -> Iterator[str]:
    if isinstance(then, dict) and isinstance(again, dict):
        for key in sorted(then.keys() | again.keys()):
            one, other = then.get(key, _NOWHERE), again.get(key, _NOWHERE)
            if _bytes(one) != _bytes(other):
                yield f"{name}.{key}: recorded {shown(one)}, now {shown(other)}"
    else:
        yield f"{name}: recorded {shown(then)}, now {shown(again)}"


def _bytes(value: Any) -> bytes | None:
    return None if value is _NOWHERE else canonical.encode(value)


def shown(value: Any, most: int = 200) -> str:
    """A JSON value on a line."""
    text = "nothing" if value is _NOWHERE else canonical.encode(value).decode()
    return text if len(text) <= most else text[:most] + "…"


def _checks(recorded: Recorded) -> Iterator[dict[str, Any]]:
    document = {**_LATER, **recorded.document}
    waived = {entry["code"]: entry for entry in document["waived"]}
    said = _said(document)
    facts = recorded.dossier.to_document()
    for code, passed in document["checks"].items():
        reason = said.get(code)
        path = reason["path"] if reason else ""
        yield {
            "code": code,
            "passed": passed,
            "mode": document["modes"].get(code, "enforce"),
            "waiver": waived.get(code),
            "said": reason,
            "facts": _at(facts, path) if path else None,
        }


def _said(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    told = [*document["warnings"], *document["shadow"], *document["reasons"]]
    return {entry["code"]: entry for entry in told if "code" in entry and "path" in entry}


def _at(value: Any, path: str) -> Any:
    """What a reason's path points at; None where it points nowhere."""
    for step in path.split("."):
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            return None
    return value
