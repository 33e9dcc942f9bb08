"""A stored decision that is still what was stored: the start of replay, rates and explanation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.core.digest import of_bytes
from mlflow_governance.core.dossier import Dossier
from mlflow_governance.core.model_ref import DEFAULT_WORKSPACE
from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.policy.replay import Verdict
from mlflow_governance.workflows.validation.books import DecisionRow

ALARMS = 100
"""Alarms that are named; all are counted."""
_ADVICE = "Find out what else was changed: mlflow-governance validate"
_MEMBERS: Mapping[str, type] = {
    "checks": dict, "reasons": list, "warnings": list, "obligations": list, "details": dict,
    "engine": str, "error": str, "policy_digest": str,
}  # fmt: skip
_LATER: Mapping[str, type] = {"modes": dict, "waived": list, "shadow": list}
"""Decisions recorded before there were modes do not have these."""
_MOST_BYTES = 256 * 1024 * 1024
"""The registry made it itself; the bound for documents from outside is not for it."""


@dataclass(frozen=True)
class Recorded:
    """A decision, and the dossier it was made from.

    ``document`` is the decision as stored; ``verdict`` what of it counts; ``redacted``: somebody
    it named was erased since, and a pseudonym stands for them.
    """

    document: Mapping[str, Any]
    verdict: Verdict
    dossier: Dossier
    redacted: bool = False

    @property
    def decision_id(self) -> str:
        """The decision's id."""
        return str(self.document["decision_id"])


def read(row: DecisionRow) -> Recorded:
    """Read a row back, if every part of it is what the others say.

    Raises:
        VerificationError: bytes were changed or lost, or row, decision and dossier disagree.
    """
    try:
        return _read(row)
    except InvalidRequest as error:
        raise _alarm(row, f"cannot be read: {error.message}") from error


def _read(row: DecisionRow) -> Recorded:
    if of_bytes(row.document) != (row.document_now or row.digest):
        raise _alarm(row, "the decision was changed: its bytes are not of its digest")
    if row.dossier is None:
        raise _alarm(row, "the dossier was removed")
    if of_bytes(row.dossier) != (row.dossier_now or row.dossier_digest):
        raise _alarm(row, "the dossier was changed: its bytes are not of its digest")
    document = canonical.decode_object(row.document, max_bytes=_MOST_BYTES)
    dossier = Dossier.from_encoded(row.dossier)
    said = {
        "decision_id": document.get("decision_id"),
        "gate": document.get("gate"),
        "allow": document.get("allow"),
        "dossier_digest": document.get("dossier_digest"),
        "version_uid": dossier.subject.uid,
    }
    for name, value in said.items():
        if getattr(row, name) != value:
            raise _alarm(row, f"the row says another {name.replace('_', ' ')} than what it holds")
    if dossier.gate.value != row.gate:
        raise _alarm(row, "decision and dossier are of two gates")
    for name, kind in {**_MEMBERS, **_LATER}.items():
        if not isinstance(document.get(name, kind() if name in _LATER else None), kind):
            raise _alarm(row, f"the decision has no usable {name}")
    return Recorded(document, Verdict.from_document(document), dossier, row.redacted)


def _alarm(row: DecisionRow, what: str) -> VerificationError:
    return VerificationError(
        f"decision {row.decision_id}: {what}", advice=_ADVICE, decision_id=str(row.decision_id)
    )


@dataclass(frozen=True)
class Scope:
    """Which recorded decisions are looked at, by what their dossiers say.

    Args:
        since: not before this instant.
        until: before this instant.
        model: a glob over names of models.
    """

    since: datetime | None = None
    until: datetime | None = None
    model: str = "*"

    def holds(self, dossier: Dossier) -> bool:
        """True when the dossier is looked at."""
        return (
            (self.since is None or dossier.now >= self.since)
            and (self.until is None or dossier.now < self.until)
            and fnmatchcase(dossier.subject.ref.name, self.model)
        )


@dataclass
class Looked:
    """What every look at the history counts; looks at its parts add up.

    Args:
        looked: rows that were read.
        alarms: what is not as it was stored, the first of them in words.
        corrupt: how many are not.
        newest: the newest instant among what was read.
    """

    looked: int = 0
    alarms: list[str] = field(default_factory=list)
    corrupt: int = 0
    newest: datetime | None = None

    def sound(self, rows: Iterable[DecisionRow], scope: Scope) -> Iterator[Recorded]:
        """The decisions in scope that are as they were stored; the others are alarms."""
        for row in rows:
            self.looked += 1
            try:
                recorded = read(row)
            except VerificationError as error:
                self.alarm(error.message)
                continue
            now = recorded.dossier.now
            self.newest = max(now, self.newest or now)
            if scope.holds(recorded.dossier):
                yield recorded

    def alarm(self, message: str) -> None:
        """Something is not as it was stored."""
        self.corrupt += 1
        self.alarms = [*self.alarms, message][:ALARMS]

    def add_looked(self, other: Looked) -> None:
        """Take a look at another part in."""
        self.looked += other.looked
        self.corrupt += other.corrupt
        self.alarms = (self.alarms + other.alarms)[:ALARMS]
        self.newest = max(filter(None, (self.newest, other.newest)), default=None)

    def looked_document(self) -> dict[str, Any]:
        """The same as members of a JSON object."""
        return {"looked_at": self.looked, "corrupt": self.corrupt, "alarms": list(self.alarms)}


def model_name(dossier: Dossier) -> str:
    """The model's name, behind its workspace unless that is the default."""
    ref = dossier.subject.ref
    return ref.name if ref.workspace == DEFAULT_WORKSPACE else f"{ref.workspace}:{ref.name}"
