"""People's rights to what the registry keeps of them: to see it, and to have it erased.

An erasure puts one random pseudonym in a person's place everywhere, so that who submitted is still
somebody else than who approved; their own words go altogether. It is one transaction and an entry
of the ledger itself, which proves what was replaced and does not say whom. The entries before it
stay as they are: what they commit to can be opened no more.

A login that is used again afterwards is a new person to the registry, since nothing is left to
recognise the old one by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from mlflow_governance.approval.request import MAX_REASON
from mlflow_governance.core import canonical, moment
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import new_salt, of_bytes
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.person import Person, new_pseudonym
from mlflow_governance.errors import InvalidRequest, NotFound
from mlflow_governance.ledger.redaction import Redaction, commit
from mlflow_governance.workflows.ports import Reading, Signer, UnitOfWork
from mlflow_governance.workflows.privacy_options import NOBODY_HELD, Holds
from mlflow_governance.workflows.redact import Redactor


@dataclass(frozen=True)
class Trace:
    """One value in the database that names a person.

    ``key`` are the columns that name the row, ``path`` the place inside the value, ``text`` what
    stands there; ``at`` is a moment the row bears, if it bears one.
    """

    table: str
    column: str
    key: Mapping[str, Any]
    path: str
    text: str
    at: str = ""


@dataclass(frozen=True)
class ActOf:
    """A ledger entry a person made."""

    index: int
    act: str
    at: str
    subject: Mapping[str, Any]
    reason: str | None


@dataclass
class Replaced:
    """What an erasure did: rows by table and column, and documents that were redacted."""

    rows: dict[str, int] = field(default_factory=dict)
    redactions: list[Redaction] = field(default_factory=list)
    texts: int = 0
    unsalted: int = 0
    """Documents recorded before there were salts: their digests in the ledger stay guessable."""

    def count(self, place: str, number: int = 1) -> None:
        """So many more rows of a place were changed."""
        if number:
            self.rows[place] = self.rows.get(place, 0) + number

    @property
    def documents(self) -> int:
        """How many documents were redacted."""
        return len(self.redactions) - self.texts


class PersonalReading(Reading, Protocol):
    """The database, for what it keeps of people."""

    def traces(self, person: Person) -> Iterator[Trace]:
        """Every value that names them, of every table, MLflow's among them."""

    def acts_of(self, person: Person) -> list[ActOf]:
        """The ledger entries they made, oldest first."""


class PersonalWriting(PersonalReading, UnitOfWork, Protocol):
    """The same for writing."""

    def erase_person(self, redactor: Redactor) -> Replaced:
        """Put the pseudonym in their place; what is signed or hashed by others stays.

        Raises:
            VerificationError: a document or text is not the one that was recorded: redacted, nobody
                could tell any more.
        """

    def keep_erasure(self, position: int, redactions: Iterable[Redaction]) -> None:
        """Keep what was replaced, with the index of the entry that proves it."""

    def keep_private(self, person: str) -> str:
        """Commit to the person an act is about; returns what stands in the entry for them."""


class PersonalStore(Protocol):
    """Opens them."""

    def begin(self) -> AbstractContextManager[PersonalWriting]:
        """A writing transaction."""

    def read(self) -> AbstractContextManager[PersonalReading]:
        """A reading transaction."""


@dataclass(frozen=True)
class Erasure:
    """Who asks for whose erasure, and why.

    Raises:
        InvalidRequest: no reason, one that names the person, or their own login asks.
    """

    person: Person
    operator: Actor
    reason: str

    def __post_init__(self) -> None:
        if not self.reason.strip() or len(self.reason) > MAX_REASON:
            raise InvalidRequest(
                f"an erasure needs a reason of at most {MAX_REASON} characters",
                advice="Add --reason WHY, such as the number of the request.",
            )
        if self.person.in_(self.reason):
            raise InvalidRequest(
                "the reason names the person", advice="Name the request instead, by its number."
            )
        if self.person.in_(self.operator.person):
            raise InvalidRequest(
                f"{self.operator.person} would stand in the record of the erasure",
                advice="Have somebody with another login run it.",
            )


@dataclass(frozen=True)
class Erased:
    """What came of an erasure. ``index`` is None for a trial."""

    pseudonym: str
    replaced: Replaced
    index: int | None
    remains: tuple[Trace, ...] = ()
    """Of a trial: what would still name them."""


@dataclass(frozen=True)
class Office:
    """What an erasure needs of the registry: where the data are, who signs, and what is held."""

    store: PersonalStore
    signer: Signer
    clock: Callable[[], datetime] = moment.now
    holds: Holds = NOBODY_HELD


def erase(office: Office, erasure: Erasure) -> Erased:
    """Erase a person in one transaction, and record that.

    Raises:
        NotFound: nothing that could be replaced names them; nothing is recorded.
        Denied: what is known of them must be kept.
        VerificationError: a document about them was changed; nothing is erased over it.
    """
    with office.store.begin() as uow:
        return _erased(office, uow, erasure)


def rehearse(office: Office, erasure: Erasure) -> Erased:
    """Erase a person, look at what would still name them, and take everything back.

    Raises:
        NotFound, Denied, VerificationError: as :func:`erase`.
    """
    with suppress(_Over), office.store.begin() as uow:
        found = _erased(office, uow, erasure)
        found = replace(found, index=None, remains=tuple(uow.traces(erasure.person)))
        raise _Over
    return found


class _Over(Exception):
    """Takes back what was done."""


def _erased(office: Office, uow: PersonalWriting, erasure: Erasure) -> Erased:
    now = office.clock()
    office.holds.refuse(erasure.person, [act.at for act in uow.acts_of(erasure.person)], now)
    redactor = Redactor(erasure.person, new_pseudonym(), office.signer.sign_statement)
    replaced = uow.erase_person(redactor)
    if not replaced.rows and not replaced.redactions:
        raise NotFound(
            "nothing that the registry could replace names this person",
            advice="See what does, if anything: mlflow-governance privacy export PERSON",
        )
    index = uow.record(
        Event(
            act=Act.PERSON_ERASED,
            person=erasure.operator.person,
            at=now,
            reason=erasure.reason,
            facts={
                "pseudonym": redactor.pseudonym,
                "documents": replaced.documents,
                "texts": replaced.texts,
                "unsalted": replaced.unsalted,
                "replaced": commit(replaced.redactions),
            },
        )
    )
    uow.keep_erasure(index, replaced.redactions)
    return Erased(redactor.pseudonym, replaced, index)


def export(
    store: PersonalStore, person: Person, operator: Actor, *, clock: Callable[[], datetime]
) -> dict[str, Any]:
    """Everything kept about a person, as JSON; that it was handed out is recorded.

    The entry holds a salted commitment to whom it is about and the digest of the export, which
    has a salt of its own.

    Raises:
        NotFound: nothing names them; nothing is recorded.
    """
    with store.read() as reading:
        traces, acts = list(reading.traces(person)), reading.acts_of(person)
    if not traces and not acts:
        raise NotFound("nothing is kept about this person")
    now = clock()
    document = {
        "schema": 1,
        "person": person.name,
        "also": list(person.names[1:]),
        "made_at": moment.to_text(now),
        "salt": new_salt(),
        "kept": [section.to_document() for section in _sections(traces)],
        "acts": [_act(act) for act in acts],
    }
    with store.begin() as uow:
        commitment = uow.keep_private(person.name)
        uow.record(
            Event(
                act=Act.PERSON_EXPORTED,
                person=operator.person,
                at=now,
                facts={"person": commitment, "digest": of_bytes(canonical.encode(document))},
            )
        )
    return document


def _act(act: ActOf) -> dict[str, Any]:
    return {
        "entry": act.index,
        "act": act.act,
        "at": act.at,
        "subject": dict(act.subject),
        "reason": act.reason,
    }


@dataclass(frozen=True)
class Section:
    """What one column of one table keeps about a person."""

    table: str
    column: str
    traces: tuple[Trace, ...]

    def to_document(self) -> dict[str, Any]:
        """As JSON: where, why, how long, since when, and each value."""
        why, until = _PURPOSES.get(self.table, _MLFLOW)
        moments = sorted(trace.at for trace in self.traces if trace.at)
        return {
            "where": f"{self.table}.{self.column}",
            "why": why,
            "kept_until": until,
            "since": moments[0] if moments else None,
            "values": [
                {"row": dict(t.key), "path": t.path, "text": t.text, "at": t.at or None}
                for t in self.traces
            ],
        }


def _sections(traces: Iterable[Trace]) -> list[Section]:
    grouped: dict[tuple[str, str], list[Trace]] = {}
    for trace in traces:
        grouped.setdefault((trace.table, trace.column), []).append(trace)
    return [Section(*place, tuple(found)) for place, found in sorted(grouped.items())]


_RECORD = "until they are erased on request, else as long as the record of decisions is kept"
_MLFLOW = ("MLflow keeps it with what they did there", "until it is deleted in MLflow, or erased")
_PURPOSES: Mapping[str, tuple[str, str]] = {
    "governance_private": ("who did what and why, behind the ledger's commitments", _RECORD),
    "governance_versions": ("who submits a model may not approve it", _RECORD),
    "governance_approvals": ("who vouches for a model, and that they may", _RECORD),
    "governance_decisions": ("what was decided, told to who asked", _RECORD),
    "governance_blobs": ("what decisions rest on: dossiers, evidence, releases", _RECORD),
    "governance_policy_proposals": ("who proposes a policy may not approve it", _RECORD),
    "governance_policy_words": ("who approved or rejected a policy", _RECORD),
    "governance_policy_differences": ("what a policy to come would decide otherwise", _RECORD),
    "governance_deliveries": ("what a receiver of events answered", _RECORD),
    "governance_tasks": ("what the worker could not do", _RECORD),
    "governance_log_places": ("what a receiver of the decision log answered", _RECORD),
    "governance_inspections": ("what was found in a model's own files", "as long as the model"),
    "governance_files": ("names of evidence somebody chose", _RECORD),
    "governance_ledger_entries": ("names of evidence and models, in the ledger itself", _RECORD),
    "users": ("their login", "until it is removed: mlflow-governance users remove NAME"),
}
