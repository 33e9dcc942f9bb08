"""What stands in the tables counts only as far as the ledger proves it.

Whoever can write to the database can insert an approval, set a stage, or name another submitter.
So where such a row speaks for something (a transition, a release, a download, an alias), the
version's own entries are replayed, each is shown to be in the ledger our key signed, and what
they tell is compared with the row. A row that the ledger does not tell of is an alarm: nothing is
decided on it, and nothing of it is quietly left out.

For a name that was erased its pseudonym stands, by the entry of the erasure. An approval of nobody
known counts for nothing from then on, an objection stands, and a version whose submitter's name is
gone without a pseudonym is as one whose submitter is unknown.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mlflow_governance.approval.request import APPROVE
from mlflow_governance.core import canonical, moment
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import GovernanceError, LedgerError, VerificationError
from mlflow_governance.ledger.entry import act_of, opens
from mlflow_governance.ledger.replay import Replay
from mlflow_governance.ledger.told import Ref, ToldApproval, ToldVersion
from mlflow_governance.workflows.ports import (
    ApprovalRecord,
    Ports,
    Reading,
    Store,
    VersionRecord,
    subject_of,
)

_BEING = (
    Act.VERSION_REGISTERED, Act.VERSION_TRANSITIONED, Act.VERSION_REVOKED, Act.VERSION_REJUDGED,
    Act.VERSION_DELETED,
)  # fmt: skip
"""Acts that say what a version is."""
_COUNTING = (*_BEING, Act.EVIDENCE_ATTACHED, Act.APPROVAL_GIVEN, Act.APPROVAL_WITHDRAWN)
"""And those that say what counts for it."""


@dataclass(frozen=True)
class Account:
    """What the database holds of a version's entries, read at the moment its row was read.

    Args:
        entries: index and bytes of every one, oldest first.
        size: entries in the ledger at that moment.
        acts: what is replayed of them; the bytes name it, whatever their row says.
        sealed: salt and text by commitment, of those that were not erased.
        stand_ins: the pseudonym by commitment, of those that were.
        erasures: entries of the erasures that put them there.
        files: digest of each attached statement by its path.
        evidence: what was proved at the decision that binds the version, by the dossier of it.
    """

    entries: Sequence[tuple[int, bytes]]
    size: int
    acts: Sequence[Act]
    sealed: Mapping[str, tuple[bytes, str]]
    stand_ins: Mapping[str, str]
    erasures: Sequence[tuple[int, bytes]]
    files: Mapping[str, str]
    evidence: Mapping[str, object] | None

    def names(self, commitment: str) -> bool:
        """True where somebody stands behind a commitment, by name or by pseudonym."""
        return commitment in self.sealed or bool(self.stand_ins.get(commitment))

    def is_by(self, person: str, commitment: str) -> bool:
        """True when this person, or the pseudonym that this is, was committed to."""
        if commitment in self.sealed:
            salt, name = self.sealed[commitment]
            return name == person and opens(commitment, salt, name)
        return self.stand_ins.get(commitment) == person


def account(reading: Reading, record: VersionRecord, *, whole: bool = True) -> Account:
    """Read what :func:`proven_record` and :func:`proven_approvals` compare with.

    Args:
        reading: the moment the row was read at.
        record: the row.
        whole: False leaves approvals and attached evidence out, which say nothing of a download.
    """
    acts = _COUNTING if whole else _BEING
    entries = reading.entries_of((), about=record.uid)
    told = _replayed(entries, acts)
    version = told.versions.get(record.uid)
    people = {word.person for word in told.approvals}
    if version is not None and version.submitter is not None:
        people.add(version.submitter)
    sealed = reading.sealed(people)
    dossier = _bound_dossier([(i, data) for i, data in entries if act_of(data) in acts], version)
    gone = people - sealed.keys() | ({dossier} if dossier else set())
    stand_ins, erasures = reading.stand_ins(gone)
    return Account(
        entries=entries,
        size=reading.ledger_size(),
        acts=acts,
        sealed=sealed,
        stand_ins=stand_ins,
        erasures=erasures,
        files={item.name: of_bytes(item.data) for item in reading.evidence(record.uid)}
        if told.evidence
        else {},
        evidence=_evidence(reading, dossier),
    )


def proven_record(store: Store, record: VersionRecord, found: Account) -> VersionRecord:
    """The version as its row says, if the ledger proves it.

    Its submitter is unknown where the name was erased from behind the ledger.

    Raises:
        LedgerError: the ledger says something else, or does not prove what it says.
    """
    told = _proven(store, record, found)
    version = told.versions.get(record.uid)
    if version is None:
        raise _alarm(record, "no entry registered it")
    for difference in _differences(record, version, found):
        raise _alarm(record, difference)
    for attached in told.evidence:
        stored = found.files.get(attached.name)
        if stored is None or (stored != attached.digest and not attached.replaceable):
            raise _alarm(record, f"{attached.name} was attached and is not there any more")
    if version.submitter is not None and not found.names(version.submitter):
        return record.with_(submitter="")
    return record


def proven_approvals(
    store: Store, record: VersionRecord, given: Sequence[ApprovalRecord], found: Account
) -> tuple[ApprovalRecord, ...]:
    """The approvals that count, each as the entry about it has it.

    Raises:
        LedgerError: one stands in no proven entry, or one of an entry is not there.
    """
    told = _proven(store, record, found)
    standing = {word.approval: word for word in told.approvals}
    standing = {uid: word for uid, word in standing.items() if uid not in told.withdrawn}
    for row in given:
        word = standing.get(row.uid)
        if word is None or not _same(row, word):
            raise _alarm(record, f"an {row.decision} as {row.role} counts that nobody gave")
        if found.names(word.person) and not found.is_by(row.person, word.person):
            raise _alarm(record, f"the {row.decision} as {row.role} was given by somebody else")
    for lost in standing.keys() - {row.uid for row in given}:
        word = standing[lost]
        raise _alarm(record, f"the {word.decision} as {word.role} is gone that somebody gave")
    return tuple(
        row for row in given if row.decision != APPROVE or standing[row.uid].person in found.sealed
    )


@contextmanager
def alarmed(ports: Ports, record: VersionRecord) -> Iterator[None]:
    """Record what the ledger does not prove, once an hour for each kind of it, and go on raising.

    Raises:
        LedgerError: as it was raised inside.
    """
    try:
        yield
    except LedgerError as error:
        alarm(ports, subject_of(record), str(error.details.get("found", error.message)))
        raise


def alarm(ports: Ports, subject: Mapping[str, Any], found: str) -> None:
    """Record that what is stored contradicts the ledger, once an hour a process.

    Args:
        ports: everything a workflow needs.
        subject: the version, as events name it; empty for the registry itself.
        found: what was found, without names of people.
    """
    now, key = ports.clock(), (id(ports.store), subject.get("uid"), found)
    if key in _told and now - _told[key] < _AGAIN:
        return
    _log.error("the ledger does not prove what is stored: %s", found)
    if len(_told) >= _MANY:
        _told.clear()
    _told[key] = now
    event = Event(
        act=Act.REGISTRY_ALARMED,
        person=Actor.system("server").person,
        at=now,
        subject=subject,
        allowed=False,
        facts={"found": found},
    )
    try:
        with ports.store.begin() as uow:
            uow.record(event)
    except GovernanceError:
        # What was done to the ledger may keep it from growing; the act is refused all the same.
        _log.exception("an alarm could not be recorded")


_log = logging.getLogger(__name__)
_AGAIN = timedelta(hours=1)
_MANY = 10_000
_told: dict[tuple[int, str | None, str], datetime] = {}
"""When each alarm of a store was recorded last."""


def _proven(store: Store, record: VersionRecord, found: Account) -> Replay:
    try:
        store.prove(found.erasures)
        store.prove(found.entries, about=record.uid, below=found.size)
    except LedgerError as error:
        raise _alarm(record, error.message) from error
    told = _replayed(found.entries, found.acts)
    for problem in told.problems:
        raise _alarm(record, f"entry {problem.place}: {problem.message}")
    return told


def _replayed(entries: Sequence[tuple[int, bytes]], acts: Sequence[Act]) -> Replay:
    told = Replay()
    for index, data in entries:
        if act_of(data) in acts:
            told.apply(index, data)
    return told


def _differences(record: VersionRecord, told: ToldVersion, found: Account) -> Iterator[str]:
    if told.deleted or told.ref != Ref(record.ref.workspace, record.ref.name, record.ref.version):
        yield "the ledger knows it by another name"
    if told.stage != record.stage:
        yield f"it stands at {record.stage}, and the ledger says {told.stage}"
    # At None the files may be hashed anew at any time, and nothing is bound to them yet; of what
    # was withdrawn unhashed the digest is told when it is known.
    if told.digest not in (None, record.digest) and record.stage is not Stage.NONE:
        yield "its digest is not the ledger's"
    said = {
        **told.state,
        "quarantined_from": told.quarantined_from,
        "decision_id": told.decision_id,
    }
    for name in ("policy_digest", "trust_digest", "quarantined_from", "decision_id"):
        if said[name] != getattr(record, name):
            yield f"its {name} is not the ledger's"
    if told.location_digest not in (None, of_bytes(record.location.encode())):
        yield "its place is not the one it was registered with"
    if not _submitted(record, told, found):
        yield "somebody else submitted it"
    if record.facts is not None and record.stage is not Stage.NONE:
        proved = {kind.value: outcome.to_document() for kind, outcome in record.facts.items()}
        if proved != found.evidence:
            yield "the facts proved for it are not those of the decision they come from"


def _submitted(record: VersionRecord, told: ToldVersion, found: Account) -> bool:
    if told.submitter is None:  # adopted: nobody is known
        return not record.submitter
    return not found.names(told.submitter) or found.is_by(record.submitter, told.submitter)


def _bound_dossier(
    entries: Sequence[tuple[int, bytes]], version: ToldVersion | None
) -> Digest | None:
    if version is None or not version.bound:
        return None
    for _, data in reversed(entries):
        entry = canonical.decode_object(data)
        if entry["decision_id"] == version.bound:
            return Digest(entry["facts"]["dossier_digest"])
    return None


def _evidence(reading: Reading, dossier: Digest | None) -> Mapping[str, object] | None:
    try:
        data = reading.document(dossier) if dossier else None
    except VerificationError:
        return None
    evidence = None if data is None else canonical.decode_object(data)["evidence"]
    return evidence if isinstance(evidence, Mapping) else None


def _same(row: ApprovalRecord, word: ToldApproval) -> bool:
    stored = (row.version_uid, row.role, row.decision, moment.to_text(row.at))
    seen = (row.model_digest, row.policy_digest)
    return stored == (word.uid, word.role, word.decision, word.at) and seen == (
        word.model_digest,
        word.policy_digest,
    )


def _alarm(record: VersionRecord, message: str) -> LedgerError:
    return LedgerError(
        f"the ledger does not prove what the registry holds of {record.ref}: {message}",
        advice="Nothing is decided on it. Find out what was changed: mlflow-governance validate",
        version=str(record.ref),
        found=message,
    )
