"""The very same denial again and again: told each time at first, then summed up.

Somebody who asks in a loop would otherwise bury the record, and every other act would wait for the
entries of it. The first denials of a period are entries of their own. Those that follow, of the
same person, about the same version, for the same reasons, are counted in the database, and the
period ends with one entry that has their number. None is lost, whichever process ends how.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from mlflow_governance.core import canonical, moment
from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.event import Act, Event
from mlflow_governance.workflows.ports import Ports, Repeat, UnitOfWork

FIRST = 3
"""Denials of a period that are entries of their own."""
PERIOD = timedelta(minutes=10)
_AT_ONCE = 100


@dataclass(frozen=True)
class Denial:
    """A denial as far as another one of the same kind repeats it.

    Args:
        act: e.g. ``download.denied``.
        person: who was denied.
        subject: the version, as events name it.
        state: what an event's before and after say of it.
        facts: what was asked and which checks failed.
        people: whom else it is about.
    """

    act: Act
    person: str
    subject: Mapping[str, Any]
    state: Mapping[str, Any]
    facts: Mapping[str, Any]
    people: Mapping[str, str] = field(default_factory=dict)

    @property
    def event(self) -> bytes:
        """The denial without who was denied."""
        return canonical.encode(
            {
                "act": self.act.value,
                "subject": dict(self.subject),
                "state": dict(self.state),
                "facts": dict(self.facts),
                "people": dict(self.people),
            }
        )

    @property
    def key(self) -> Digest:
        """Denials that repeat one another have the same."""
        return of_bytes(canonical.encode(self.person) + self.event)


def is_told(uow: UnitOfWork, denial: Denial, at: datetime) -> str | None:
    """Count a denial. None: it is to be told by an entry of its own; then say :func:`told`.

    Returns:
        Else the id of the decision it repeats, which may be empty.
    """
    known = uow.repeat(denial.key)
    if known is not None and at - known.first_at >= PERIOD:
        _sum_up(uow, known, at)
        known = None
    if known is None or known.told < FIRST:
        return None
    uow.save_repeat(replace(known, count=known.count + 1, last_at=at))
    return known.decision_id


def told(uow: UnitOfWork, denial: Denial, at: datetime, decision_id: str = "") -> None:
    """Note that a denial has an entry of its own."""
    known = uow.repeat(denial.key) or Repeat(
        denial.key, denial.event, denial.person, "", 0, 0, first_at=at, last_at=at
    )
    uow.save_repeat(
        replace(
            known,
            decision_id=decision_id,
            told=known.told + 1,
            count=known.count + 1,
            last_at=at,
        )
    )


def sum_up(ports: Ports) -> int:
    """Write the entries of periods that are over; returns how many denials they tell of."""
    now = ports.clock()
    with ports.store.read() as reading:
        if not reading.repeats_before(now - PERIOD, 1):
            return 0
    with ports.store.begin() as uow:
        return sum(_sum_up(uow, known, now) for known in uow.repeats_before(now - PERIOD, _AT_ONCE))


def _sum_up(uow: UnitOfWork, known: Repeat, at: datetime) -> int:
    uow.forget_repeat(known.key)
    untold = known.count - known.told
    if not untold:
        return 0
    said = canonical.decode_object(known.event)
    uow.record(
        Event(
            act=Act(said["act"]),
            person=known.person,
            at=at,
            subject=said["subject"],
            before=said["state"],
            after=said["state"],
            allowed=False,
            facts={
                **said["facts"],
                "repeats": untold,
                "first": moment.to_text(known.first_at),
                "last": moment.to_text(known.last_at),
            },
            people=said["people"],
        )
    )
    return untold
