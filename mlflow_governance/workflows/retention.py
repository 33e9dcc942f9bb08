"""Retention: what of the record is past its time, and letting it go.

An entry may go when it is older than the retention and nothing of today rests on it:

* it tells of something that changed nothing (a denied download, a refused request, a start of the
  registry, an export …), or
* it is about a version that was deleted, whose whole history is past its time, whose name and
  number nobody uses again, which no alias ever pointed at and whose content is not withdrawn under
  any name.

Everything else stays, however old: what a living version was decided by, every move of an alias,
every change of policy, trust and keys, every erasure, and the very first entry. What goes is the
entry's bytes, the name and reason behind it, and the decision and dossier it names. Its leaf hash
stays, so every proof of every other entry is as good as before; and the entry ``ledger.expired``
says which are gone.

Old is what the ledger itself shows to be old (:mod:`~mlflow_governance.ledger.elapsed`), and the
clock as well. One that runs years ahead makes nothing old, not even when it wrote an entry.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from mlflow_governance.core import canonical, moment
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.event import Act, Event
from mlflow_governance.ledger import gone
from mlflow_governance.ledger.elapsed import PAUSE, Elapsed
from mlflow_governance.ledger.entry import commitments_of
from mlflow_governance.ledger.told import Ref
from mlflow_governance.workflows.retention_options import Retention, holds

_PASSING = frozenset({
    Act.DOWNLOAD_DENIED, Act.DOWNLOADS_COUNTED, Act.REQUEST_REFUSED, Act.APPROVAL_REFUSED,
    Act.MODEL_UNGOVERNED, Act.WEBHOOK_CHANGED, Act.ACCOUNT_CHANGED, Act.ADVISORIES_CHANGED,
    Act.REGISTRY_STARTED, Act.EVIDENCE_EXPORTED, Act.PERSON_EXPORTED, Act.LEDGER_EXPORTED,
})  # fmt: skip
"""Acts that leave the state of the registry as it was."""
_ALIASES = (Act.ALIAS_MOVED, Act.ALIAS_DELETED)
AT_ONCE = gone.MOST_RANGES
"""Entries let go in one transaction: others wait for it, and one entry has to name them all."""

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Passing:
    """An entry that may go, with what goes with it.

    Args:
        position: in the ledger.
        act: what it tells of.
        commitments: to the name and reason behind it, and to further people.
        decision_id: of the decision it names; empty without one.
        uid: of the version it is about, if all of that version goes; else empty.
        documents: digests of what was kept for it.
    """

    position: int
    act: str
    commitments: tuple[str, ...]
    decision_id: str
    uid: str
    documents: tuple[str, ...] = ()


Group = Sequence[Passing]
"""What goes together or stays together: of a version half a history would be a contradiction."""


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
class _Version:
    """One version, as far as retention is concerned."""

    refs: set[Ref] = field(default_factory=set)
    last: timedelta = timedelta()
    at: str = ""
    living: bool = False
    stays: bool = False
    telling: int = 0
    """Entries about it that are not let go one by one."""
    documents: set[str] = field(default_factory=set)


class Review:
    """What of a ledger may go at a moment.

    Args:
        retention: how long, and what is held.
        now: the moment.
        blocked: digests that are withdrawn.
        certain: that it is this moment, whatever the ledger shows: to ask what would go then.

    What :meth:`read` leaves: ``entries``, how many there are; ``oldest``, the moment of the first;
    ``uncounted``, how much time the ledger does not show passing; ``unused``, the holds that name
    no model of it.
    """

    def __init__(
        self,
        retention: Retention,
        now: datetime,
        blocked: Iterable[str] = (),
        *,
        certain: bool = False,
    ) -> None:
        self.retention = retention
        self.before = now - retention.period
        self.entries, self.oldest, self.uncounted = 0, "", timedelta()
        self._now, self._limit, self._certain = now, moment.to_text(self.before), certain
        self._blocked = frozenset(map(str, blocked))
        self._versions: dict[str, _Version] = defaultdict(_Version)
        self.unused = retention.holds
        self._models: set[tuple[str, str]] = set()
        self._pointed: set[Ref] = set()
        self._settings: dict[str, timedelta] = {}
        self._start = (-1, "")
        self._newest = ""
        self._cut = timedelta()
        self._dead: dict[str, int] = {}
        self._kept: set[str] = set()

    def read(self, entries: Iterable[tuple[int, bytes]]) -> Review:
        """Take the whole ledger in, which was verified; returns itself.

        Raises:
            InvalidRequest: an entry cannot be read.
        """
        time, last, known, following = Elapsed(), self._now, timedelta(), 0
        for index, data in entries:
            entry = canonical.decode_object(data)
            last = moment.parse(entry["at"])
            lost = time.lost
            self._take(index, entry, time.to(last))
            if index != following:  # entries that were deleted stood in that pause
                known += time.lost - lost
            following = index + 1
            self.entries, self.oldest = self.entries + 1, self.oldest or entry["at"]
        # That it is now is the clock's word alone.
        since = self._now - last
        believed = timedelta() <= since <= PAUSE or self._certain
        self.uncounted = time.lost - known + (since if since > PAUSE else timedelta())
        self._cut = time.total + (since if believed else timedelta()) - self.retention.period
        self._weigh()
        self.unused = tuple(
            hold
            for hold in self.retention.holds
            if not any(holds(hold, *model) for model in self._models)
        )
        return self

    def groups(self, entries: Iterable[tuple[int, bytes]]) -> Iterator[Group]:
        """What may go.

        Args:
            entries: the same ledger once more: whether an entry may go depends on later ones.

        Raises:
            InvalidRequest: an entry cannot be read.
        """
        waiting: dict[str, list[Passing]] = defaultdict(list)
        time = Elapsed()
        for index, data in entries:
            entry = canonical.decode_object(data)
            # One that is dated later than this makes those behind it as young as itself.
            if time.to(moment.parse(entry["at"])) > self._cut or entry["at"] >= self._limit:
                return
            uid = str(entry["subject"]["uid"] or "")
            # Who verifies an export reads the age of the others from before them; who verifies a
            # bundle, from the newest start, which key is the registry's.
            if index in (0, self._start[0]):
                continue
            if entry["act"] in _PASSING:
                if not self._is_held(entry):
                    yield (self._passing(index, entry, ""),)
            elif uid in self._dead:
                waiting[uid].append(self._passing(index, entry, uid))
                if len(waiting[uid]) == self._dead[uid]:
                    yield waiting.pop(uid)

    def told(self, batch: Sequence[Passing], actor: Actor, reason: str) -> Event:
        """The act of letting them go."""
        facts = {
            "entries": gone.write(gone.ranges_of(sorted(entry.position for entry in batch))),
            "count": len(batch),
            "before": self._limit,
            "years": self.retention.years,
            "holds": list(self.retention.holds),
        }
        return Event(Act.LEDGER_EXPIRED, actor.person, self._now, reason=reason, facts=facts)

    def _take(self, index: int, entry: Entry, passed: timedelta) -> None:
        subject, act, allowed = entry["subject"], entry["act"], entry["allowed"]
        self._newest = max(self._newest, entry["at"])
        if act == Act.REGISTRY_STARTED:
            self._settings[_settings(entry)] = passed
            self._start = index, _settings(entry)
        if subject["name"]:
            self._models.add((str(subject["workspace"] or ""), str(subject["name"])))
        if not subject["uid"]:
            return
        version = self._versions[str(subject["uid"])]
        ref = Ref(str(subject["workspace"]), str(subject["name"]), int(subject["version"] or 0))
        version.refs.add(ref)
        version.last, version.at = passed, self._newest
        version.stays |= not index or self._is_held(entry)
        version.telling += act not in _PASSING
        if allowed and act in (Act.VERSION_REGISTERED, Act.VERSION_DELETED):
            version.living = act == Act.VERSION_REGISTERED
        if allowed and act in _ALIASES:
            version.stays = True
            before = entry["facts"]["action"].get("from_version")
            self._pointed.add(ref._replace(version=int(before or 0)))
        version.documents.update(_documents(entry))

    def _weigh(self) -> None:
        living = {ref for v in self._versions.values() if v.living for ref in v.refs}
        for uid, version in self._versions.items():
            if self._is_past(version) and not version.refs & (living | self._pointed):
                self._dead[uid] = version.telling
            else:
                self._kept |= version.documents

    def _is_past(self, version: _Version) -> bool:
        return (
            not (version.living or version.stays)
            and version.last <= self._cut
            and version.at < self._limit
            and version.telling <= AT_ONCE
            and not version.documents & self._blocked
        )

    def _is_held(self, entry: Entry) -> bool:
        subject = entry["subject"]
        return self.retention.held(str(subject["workspace"] or ""), str(subject["name"] or ""))

    def _passing(self, index: int, entry: Entry, uid: str) -> Passing:
        commitments = tuple(commitments_of(entry).values())
        named = _documents(entry) - self._kept if uid else set()
        if entry["act"] == Act.REGISTRY_STARTED:
            settings = _settings(entry)
            used = settings == self._start[1] or self._settings[settings] > self._cut
            named = set() if used else {settings}
        return Passing(
            index, entry["act"], commitments, entry["decision_id"], uid, tuple(sorted(named))
        )


def _documents(entry: Entry) -> set[str]:
    attached = entry["facts"].get("digest") if entry["act"] == Act.EVIDENCE_ATTACHED else None
    return {str(one) for one in (entry["subject"]["digest"], attached) if one}


def _settings(entry: Entry) -> str:
    return str(entry["after"].get("configuration_digest") or "")


def expire(
    store: ExpiringStore, review: Review, groups: Iterable[Group], actor: Actor, reason: str = ""
) -> int:
    """Let entries go, some thousands in a transaction, each with the entry that says so.

    Stopped anywhere, it has let go exactly what entries say is gone; repeating it goes on.

    Args:
        store: the registry's.
        review: what they were found by.
        groups: from it.
        actor: who lets them go.
        reason: why, e.g. the number of a ticket.

    Returns:
        How many entries went.

    Raises:
        Conflict: somebody else did the same at this moment.
    """
    count = 0
    for batch in _batches(groups):
        with store.begin() as uow:
            uow.let_go(batch)
            uow.record(review.told(batch, actor, reason))
        count += len(batch)
    return count


def _batches(groups: Iterable[Group]) -> Iterator[list[Passing]]:
    batch: list[Passing] = []
    for group in groups:
        if len(batch) + len(group) > AT_ONCE:
            yield batch
            batch = []
        batch.extend(group)
    if batch:
        yield batch
