"""Retention: what of the record is past its time, and letting it go.

An entry may go when it is older than the retention and nothing of today rests on it:

* it tells of something that changed nothing (a denied download, a refused request, a start of the
  registry, an export …), or
* it is about a version that was deleted, whose whole history is past its time, which no alias ever
  pointed at and whose content is not withdrawn under any name.

Everything else stays, however old: what a living version was decided by, every move of an alias,
every change of policy, trust and keys, every erasure. What goes is the entry's bytes, the name and
reason behind it, and the decision and dossier it names. Its leaf hash stays, so every proof of
every other entry is as good as before; and the entry ``ledger.expired`` says which are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from mlflow_governance.core import moment
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.event import Act, Event
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.ledger import gone
from mlflow_governance.ledger.entry import read_entry
from mlflow_governance.workflows.retention_options import Retention

_PASSING = frozenset({
    Act.DOWNLOAD_DENIED, Act.DOWNLOADS_COUNTED, Act.REQUEST_REFUSED, Act.APPROVAL_REFUSED,
    Act.MODEL_UNGOVERNED, Act.WEBHOOK_CHANGED, Act.ACCOUNT_CHANGED, Act.ADVISORIES_CHANGED,
    Act.REGISTRY_STARTED, Act.QUARANTINE_PROPOSED, Act.EVIDENCE_EXPORTED, Act.PERSON_EXPORTED,
    Act.LEDGER_EXPORTED, Act.LEDGER_ARCHIVED,
})  # fmt: skip
"""Acts that leave the state of the registry as it was."""
_ALIASES = (Act.ALIAS_MOVED, Act.ALIAS_DELETED)
_IDLE = timedelta(days=400)
"""A registry that recorded nothing for longer is taken for one whose clock is wrong."""


@dataclass(frozen=True)
class Passing:
    """An entry that may go, with what goes with it.

    Args:
        position: in the ledger.
        commitments: to the name and reason behind it.
        decision_id: of the decision it names; empty without one.
        uid: of the version it is about, if all of that version goes; else empty.
        documents: digests of what was kept for that version: its manifest, its evidence.
    """

    position: int
    commitments: tuple[str, ...]
    decision_id: str
    uid: str
    documents: tuple[str, ...] = ()


class Expiring(Protocol):
    """A unit of work that can let entries go."""

    def let_go(self, entries: Iterable[Passing]) -> None:
        """Delete the bytes of entries, and what only they refer to.

        Raises:
            Conflict: an entry is not there, or its bytes are gone already.
        """

    def record(self, event: Event) -> int:
        """Append an entry."""


class ExpiringStore(Protocol):
    """Opens such units of work."""

    def begin(self) -> AbstractContextManager[Expiring]:
        """A writing transaction."""


@dataclass
class _History:
    """One version, as far as retention is concerned."""

    last: str = ""
    deleted: bool = False
    stays: bool = False
    digests: set[str] = field(default_factory=set)


def passing(
    entries: Iterable[tuple[int, bytes]], again: Iterable[tuple[int, bytes]],
    before: datetime, retention: Retention, blocked: Iterable[str] = (),
) -> Iterator[Passing]:  # fmt: skip
    """The entries that may go, ascending.

    Args:
        entries: the whole ledger.
        again: the same, to be read a second time: whether an entry may go can depend on later
            ones.
        before: only what is older than this.
        retention: names what is held.
        blocked: digests that are withdrawn.

    Raises:
        LedgerError: an entry cannot be read.
    """
    limit = moment.to_text(before)
    versions = _histories(entries, retention)
    withdrawn = frozenset(map(str, blocked))
    dead = {
        uid for uid, version in versions.items()
        if version.deleted and not version.stays and version.last < limit
        and not version.digests & withdrawn
    }  # fmt: skip
    for index, data in again:
        entry = read_entry(data)
        if entry["at"] >= limit:
            return
        uid = entry["subject"]["uid"] or ""
        held = retention.held(str(entry["subject"]["name"] or ""))
        if uid in dead or (entry["act"] in _PASSING and not held):
            yield _passing(index, entry, uid if uid in dead else "")


def _passing(index: int, entry: Mapping[str, Any], uid: str) -> Passing:
    sealed = tuple(entry[key] for key in ("actor", "reason") if entry[key])
    attached = entry["facts"].get("digest") if entry["act"] == Act.EVIDENCE_ATTACHED else None
    named = (entry["subject"]["digest"], attached) if uid else ()
    documents = tuple(digest for digest in named if digest)
    return Passing(index, sealed, entry["decision_id"], uid, documents)


def _histories(
    entries: Iterable[tuple[int, bytes]], retention: Retention
) -> Mapping[str, _History]:
    found: dict[str, _History] = {}
    for _, data in entries:
        entry = read_entry(data)
        subject = entry["subject"]
        if not subject["uid"]:
            continue
        version = found.setdefault(subject["uid"], _History())
        # The newest moment, should the clock have gone back.
        version.last = max(version.last, entry["at"])
        version.deleted |= entry["act"] == Act.VERSION_DELETED and entry["allowed"]
        version.stays |= entry["act"] in _ALIASES or retention.held(str(subject["name"]))
        if subject["digest"]:
            version.digests.add(subject["digest"])
    return found


def refuse_odd_clock(now: datetime, newest: datetime | None) -> None:
    """Refuse to judge age by a clock that the ledger contradicts: it may run years ahead.

    Args:
        now: what the clock says.
        newest: when the newest entry was made; None where there is none.

    Raises:
        ConfigurationError: the clock is before the newest entry, or more than 400 days after it.
    """
    if newest is not None and not newest <= now <= newest + _IDLE:
        raise ConfigurationError(
            f"the clock says {moment.to_text(now)}, and the newest entry of the ledger is of "
            f"{moment.to_text(newest)}: nothing is deleted by a clock that may be wrong",
            advice="Set the clock. Where it is right, start the server once: that is an entry.",
        )


def expire(
    store: ExpiringStore, found: Iterable[Passing], retention: Retention, actor: Actor,
    now: datetime, reason: str = "",
) -> int:  # fmt: skip
    """Let entries go, some thousands in a transaction, each with the entry that says so.

    Stopped anywhere, it has let go exactly what entries say is gone; repeating it goes on.

    Args:
        store: the registry's.
        found: from :func:`passing`.
        retention: what it was found by.
        actor: who lets them go.
        now: the moment.
        reason: why, e.g. the number of a ticket.

    Returns:
        How many entries went.

    Raises:
        Conflict: somebody else did the same at this moment.
    """
    wanted = {entry.position: entry for entry in found}
    for batch in gone.batches(sorted(wanted)):
        positions = [position for part in batch for position in part]
        with store.begin() as uow:
            chosen = [wanted[position] for position in positions]
            uow.let_go(chosen)
            facts = {
                "entries": gone.write(batch),
                "count": len(positions),
                "before": moment.to_text(retention.before(now)),
                "years": retention.years,
                "holds": list(retention.holds),
            }
            uow.record(Event(Act.LEDGER_EXPIRED, actor.person, now, reason=reason, facts=facts))
    return len(wanted)
