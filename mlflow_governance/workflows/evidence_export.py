"""Asking for an evidence bundle: who may, of what, and the ledger entry that says it was made.

The entry is appended first and names every entry the bundle will hold. It is the registry's own
word that nothing was left out, and whoever has the whole ledger can hold the bundle against it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlflow_governance.core import canonical, moment
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import of_bytes
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import (
    Denied,
    InvalidRequest,
    NotFound,
    Unauthenticated,
    VerificationError,
)
from mlflow_governance.ledger import gone as expiry
from mlflow_governance.ledger.entry import read_entry
from mlflow_governance.workflows.evidence_ports import (
    EvidenceReading,
    EvidenceStore,
    EvidenceWriting,
)
from mlflow_governance.workflows.repeats import Denial, is_told, told

AUDITOR = "auditor"
"""The role that may take bundles: they show who said what about whom."""

MAX_ENTRIES = 100_000
"""Entries one bundle holds."""
_LISTED = 4_000
"""Entries named one by one. A ledger entry has to stay below 64 KiB: in the C2SP layout, its
length is written in two bytes. More are named by the digest of their list, which the bundle holds.
"""
_CONTEXT = (Act.POLICY_CHANGED, Act.TRUST_CHANGED)
_KEYS = (Act.LEDGER_REKEYED, Act.REGISTRY_STARTED)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_ALIAS = (Act.ALIAS_MOVED, Act.ALIAS_DELETED)


@dataclass(frozen=True)
class OfVersion:
    """Everything about one version, and about those that had its name and number before."""

    ref: VersionRef

    def to_document(self) -> dict[str, Any]:
        """``{name, version, workspace}``."""
        ref = self.ref
        return {"name": ref.name, "version": ref.version, "workspace": ref.workspace}

    def __str__(self) -> str:
        return str(self.ref)


@dataclass(frozen=True)
class OfPeriod:
    """Every act from ``since`` on and before ``until``, and all about the versions concerned."""

    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        if self.since >= self.until:
            raise InvalidRequest("the period ends before it begins")

    def to_document(self) -> dict[str, Any]:
        """``{since, until}`` as instants."""
        return {"since": moment.to_text(self.since), "until": moment.to_text(self.until)}

    def __str__(self) -> str:
        return f"{_plain(self.since)} to {_plain(self.until)}"


def period(since: str, until: str) -> OfPeriod:
    """The period between two dates or instants; a date is its midnight in UTC.

    Raises:
        InvalidRequest: one of them is neither, or the end comes first.
    """
    return OfPeriod(_instant(since), _instant(until))


def _instant(text: str) -> datetime:
    try:
        return moment.parse(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)
    except InvalidRequest as error:
        raise InvalidRequest(
            f"not a moment: {text[:60]!r}",
            advice="A period is of dates or instants: 2026-10-01 or 2026-10-01T12:00:00Z.",
        ) from error


@dataclass(frozen=True)
class Asked:
    """Who asks for a bundle of what, and whether it may name people."""

    actor: Actor
    of: OfVersion | OfPeriod
    pseudonymous: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Exported:
    """An export the ledger has: its own entry, and the entries its bundle holds beside that."""

    asked: Asked
    at: datetime
    index: int
    entries: tuple[int, ...]


def require_auditor(store: EvidenceStore, asked: Asked, now: datetime) -> None:
    """Refuse whoever has neither the role nor is an administrator; that is recorded.

    Raises:
        Unauthenticated: nobody is logged in.
        Denied: somebody else is.
    """
    actor = asked.actor
    if may_take(actor):
        return
    _record_refused(store, asked, now)
    advice = (
        f"An administrator grants it: mlflow-governance users add NAME --role {AUDITOR}. On the "
        "registry's own host: mlflow-governance evidence"
    )
    if not actor.authenticated:
        raise Unauthenticated("an evidence bundle is for people who are logged in", advice=advice)
    raise Denied(f"an evidence bundle takes the role {AUDITOR}, or an administrator", advice=advice)


def _record_refused(store: EvidenceStore, asked: Asked, now: datetime) -> None:
    # Whatever they ask for, it is the same refusal: else each made-up name would be an entry.
    told_as = {"asked": "evidence bundle"}
    denial = Denial(Act.REQUEST_REFUSED, asked.actor.person, {}, {}, told_as)
    with store.begin() as uow:
        if is_told(uow, denial, now) is not None:
            return
        uow.record(
            Event(
                act=Act.REQUEST_REFUSED,
                person=asked.actor.person,
                at=now,
                subject=_subject(uow, asked),
                allowed=False,
                facts={**told_as, "of": asked.of.to_document()},
            )
        )
        told(uow, denial, now)


def may_take(actor: Actor) -> bool:
    """True for auditors and administrators who are logged in."""
    return actor.authenticated and (actor.admin or AUDITOR in actor.roles)


def record_export(store: EvidenceStore, asked: Asked, now: datetime) -> Exported:
    """Append the entry that says that the bundle was made.

    Raises:
        NotFound: there never was such a version.
        InvalidRequest: there is more than one bundle holds.
    """
    # Much may have to be read, and others write meanwhile: of that alone the writing turn reads.
    with store.read() as reading:
        found = _collect(reading, asked.of)
    with store.begin() as uow:
        entries = tuple(_with_newer(uow, asked.of, found))
        event = Event(
            act=Act.EVIDENCE_EXPORTED,
            person=asked.actor.person,
            at=now,
            subject=_subject(uow, asked),
            reason=asked.reason,
            facts={
                "of": asked.of.to_document(),
                "pseudonymous": asked.pseudonymous,
                **listed(entries),
            },
        )
        return Exported(asked, now, uow.record(event), entries)


def _plain(at: datetime) -> str:
    text = moment.to_text(at)
    return text[:10] if text[10:19] == "T00:00:00" else f"{text[:19]}Z"


def listed(entries: Sequence[int]) -> dict[str, Any]:
    """How the export's entry names the others: one by one, or where they are many by a digest."""
    if len(entries) <= _LISTED:
        return {"entries": list(entries)}
    return {"count": len(entries), "entries_digest": of_bytes(canonical.encode(list(entries)))}


def _subject(reading: EvidenceReading, asked: Asked) -> Mapping[str, Any]:
    if isinstance(asked.of, OfPeriod):
        return {}
    ref = asked.of.ref
    record = reading.version(ref)
    uid, digest = (record.uid, record.digest) if record else (None, None)
    named = {"name": ref.name, "version": ref.version, "workspace": ref.workspace}
    return {**named, "uid": uid, "digest": digest}


@dataclass
class _Found:
    """What a bundle is to hold of the first ``size`` entries."""

    size: int
    refs: set[VersionRef]
    uids: set[str]
    about: set[int] = field(default_factory=set)
    """Entries of the period, and about the versions."""
    beside: set[int] = field(default_factory=set)
    """Policies, trust and erasures these rest on."""
    rested: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)

    def add(self, reading: EvidenceReading, about: set[int]) -> None:
        """These entries are about it, too, with what they rest on; not those that were deleted."""
        _refuse_many(self.about | about)
        kept = about - _gone(reading, about)
        self.about |= kept
        rested, named = _names(reading, kept)
        self.rested |= rested
        self.named |= named
        self.add_beside(reading, _context(reading, rested))
        self.beside |= reading.erasures_of(named)

    def add_beside(self, reading: EvidenceReading, beside: set[int]) -> None:
        """These entries are what it rests on."""
        _, named = _names(reading, beside - self.beside)
        self.named |= named
        self.beside |= beside | reading.erasures_of(named)


def _collect(reading: EvidenceReading, of: OfVersion | OfPeriod) -> _Found:
    if isinstance(of, OfVersion):
        period: list[int] = []
        refs = {of.ref}
        if not reading.uids_of(of.ref):
            raise NotFound(f"the registry never governed a version {of.ref}")
    else:
        period = reading.indices_between(of.since, of.until)
        _refuse_many(period)
        refs = set(_versions_in(reading, period))
    found = _Found(reading.ledger_size(), refs, _uids(reading, refs))
    found.add(reading, _all_about(reading, set(period), refs))
    return found


def _with_newer(uow: EvidenceWriting, of: OfVersion | OfPeriod, found: _Found) -> list[int]:
    newer = dict(uow.entries_at(range(found.size, uow.ledger_size())))
    entries = {index: read_entry(data) for index, data in newer.items() if data}
    acts = {entry["act"] for entry in entries.values()}
    about: set[int] = set()
    if isinstance(of, OfPeriod):
        about = {i for i, e in entries.items() if of.since <= moment.parse(e["at"]) < of.until}
        others = set(_versions_in(uow, about)) - found.refs
        about = _all_about(uow, about, others)
    about |= {index for index, entry in entries.items() if _concerns(entry, found)}
    found.add(uow, about)
    if Act.LEDGER_EXPIRED in acts:
        found.about -= _gone(uow, found.about)
    if acts & set(_CONTEXT):
        found.add_beside(uow, _context(uow, found.rested))
    found.add_beside(uow, _keys(uow))
    if Act.PERSON_ERASED in acts:
        found.beside |= uow.erasures_of(found.named)
    return sorted(found.about | found.beside)


def _all_about(reading: EvidenceReading, about: set[int], refs: Iterable[VersionRef]) -> set[int]:
    for ref in refs:
        about |= entries_about(reading, ref)
        _refuse_many(about)
    return about


def _uids(reading: EvidenceReading, refs: Iterable[VersionRef]) -> set[str]:
    return {uid for ref in refs for uid in reading.uids_of(ref)}


def _concerns(entry: Mapping[str, Any], found: _Found) -> bool:
    subject = entry["subject"]
    if not subject["uid"]:
        return False
    versions = {subject["version"]}
    if entry["act"] in _ALIAS:
        versions.add((entry["facts"].get("action") or {}).get("from_version"))
    refs = {
        VersionRef(subject["name"], number, subject["workspace"]) for number in versions if number
    }
    return subject["uid"] in found.uids or bool(refs & found.refs)


def _names(reading: EvidenceReading, found: Iterable[int]) -> tuple[set[str], set[str]]:
    # The policies and trust policies entries rest on; and what they name by digest and commitment,
    # which an erasure may have replaced.
    rested, named = set(), set()
    for _, data in reading.entries_at(found):
        entry = read_entry(data)
        for state in (entry["before"], entry["after"], entry["facts"]):
            rested.update({state.get("policy_digest"), state.get("trust_digest")})
        named |= {entry["actor"], entry["reason"], entry["decision_digest"]}
        named.add(entry["facts"].get("dossier_digest"))
    return rested - {None}, {digest for digest in named if digest}


def _gone(reading: EvidenceReading, found: Iterable[int]) -> set[int]:
    """Those of which nothing is kept but their hash; a later entry says so of each."""
    gone = [index for index, data in reading.entries_at(found) if not data]
    if gone:
        said = [
            expiry.Teller(index, expiry.told(index, read_entry(data)))
            for index, data in reading.entries_at(reading.indices_of((Act.LEDGER_EXPIRED,)))
        ]
        missing = expiry.Deleted(said).first_untold(expiry.ranges_of(gone))
        if missing is not None:
            raise VerificationError(
                f"integrity alarm: entry {missing} was emptied, and no entry says that its time "
                "was over",
                advice="Find out what else was changed: mlflow-governance validate",
            )
    return set(gone)


def _keys(reading: EvidenceReading) -> set[int]:
    # How the ledger's key was handed on, and which key the registry last started with.
    rekeyed, started = (reading.indices_of((act,)) for act in _KEYS)
    return {*rekeyed, *started[-1:]}


def entries_about(reading: EvidenceReading, ref: VersionRef) -> set[int]:
    """Every entry about a version, with those that took an alias away from it."""
    found = set(reading.indices_about(reading.uids_of(ref)))
    siblings = reading.uids_of_model(ref.name, ref.workspace)
    aliases = reading.indices_about(siblings, _ALIAS)
    for index, data in reading.entries_at(aliases):
        action = read_entry(data)["facts"].get("action") or {}
        if action.get("from_version") == ref.version:
            found.add(index)
    return found


def _versions_in(reading: EvidenceReading, indices: Iterable[int]) -> Iterator[VersionRef]:
    seen = set()
    for _, data in reading.entries_at(indices):
        if not data:
            continue
        subject = read_entry(data)["subject"]
        key = (subject["name"], subject["version"], subject["workspace"])
        if subject["uid"] and key not in seen:
            seen.add(key)
            yield VersionRef(*key)


def _context(reading: EvidenceReading, rested: set[str]) -> set[int]:
    # How these policies and trust policies came into force.
    return {
        index
        for index, data in reading.entries_at(reading.indices_of(_CONTEXT))
        if rested & set(read_entry(data)["after"].values())
    }


def _refuse_many(found: Sequence[int] | set[int]) -> None:
    if len(found) > MAX_ENTRIES:
        raise InvalidRequest(
            f"that is {len(found)} entries; a bundle holds at most {MAX_ENTRIES}",
            advice="Ask for a shorter period.",
        )
