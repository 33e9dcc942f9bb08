"""How far a ledger is anchored: which of its checkpoints others have, vouch for and have dated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlflow_governance.core import moment
from mlflow_governance.errors import GovernanceError
from mlflow_governance.ledger.recovery import Recovery
from mlflow_governance.outbox.checkpoint_options import HOME, CheckpointOptions, StampOptions
from mlflow_governance.outbox.sightings import Sighting
from mlflow_governance.workflows.checkpoints import Kept

DATABASE = "database"
"""Checkpoints in the database itself, as a place; with the home folder, of this host."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The ledger at a size, proved by others to have been there at an instant."""

    size: int
    at: datetime

    def to_document(self) -> dict[str, Any]:
        """The mark as JSON."""
        return {"size": self.size, "at": moment.to_text(self.at)}


@dataclass(frozen=True)
class AnchorReport:
    """What is known outside of a ledger of ``size`` entries.

    ``places`` has the largest checkpoint of each place off the host, ``quorum`` the newest that
    enough witnesses have cosigned, ``stamped`` the newest with a time stamp that counts.
    ``unread`` are places that could not be read, ``foreign`` counts files of others.
    """

    size: int
    places: dict[str, int]
    quorum: Mark | None = None
    stamped: Mark | None = None
    recovered: Sequence[Recovery] = ()
    unread: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, int] = field(default_factory=dict)

    @property
    def anchored(self) -> int:
        """How many entries nobody of this host can change unnoticed any more."""
        marks = [mark.size for mark in (self.quorum, self.stamped) if mark is not None]
        return max([*self.places.values(), *marks], default=0)

    def to_document(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "places": self.places,
            "quorum": self.quorum.to_document() if self.quorum else None,
            "stamped": self.stamped.to_document() if self.stamped else None,
            "not_anchored": self.size - self.anchored,
            "recovered": [one.to_document() for one in self.recovered],
            "unread": self.unread,
            "foreign": self.foreign,
        }

    def lines(self, options: CheckpointOptions) -> list[str]:
        """The report as lines for people."""
        said = [f"{name}: has it up to {size} entries" for name, size in self.places.items()]
        if options.quorum is not None:
            asked = f"{options.quorum.count} of {len(options.witnesses)} witnesses"
            said.append(_mark(self.quorum, f"cosigned by {asked}", f"{asked}: no checkpoint yet"))
        if options.timestamping is not None:
            said.append(_mark(self.stamped, "time stamped", "no checkpoint has a time stamp yet"))
        said.append(f"not yet anchored outside: {self.size - self.anchored} entries")
        said += [
            f"RECOVERED: entry {one.index} of {one.at} says that the checkpoint of {one.size} "
            f"entries (root {one.root}) was lost; the ledger went on at {one.went_on}"
            for one in self.recovered
        ]
        said += [f"{name}: {n} files are not of this ledger" for name, n in self.foreign.items()]
        return said + [f"NOT COMPARED: {name}: {why}" for name, why in self.unread.items()]


def report_of(sightings: Iterable[Sighting], size: int, options: CheckpointOptions) -> AnchorReport:
    """What checkpoints of a ledger that verifies say of it.

    Args:
        sightings: checkpoints that the ledger continues.
        size: of the ledger.
        options: whose cosignatures and time stamps count.
    """
    newest_first = sorted(sightings, key=lambda one: -one.checkpoint.size)
    places: dict[str, int] = {}
    for one in newest_first:
        if one.place not in (HOME, DATABASE):
            places.setdefault(one.place, one.checkpoint.size)
    return AnchorReport(
        size,
        places,
        _newest(newest_first, lambda kept: cosigned_at(kept, options)),
        _newest(newest_first, lambda kept: stamped_at(kept, options.timestamping)),
    )


def cosigned_at(kept: Kept, options: CheckpointOptions) -> datetime | None:
    """Since when enough witnesses vouch for a checkpoint; None: they do not."""
    try:
        return options.quorum.reached_at(kept.note) if options.quorum is not None else None
    except GovernanceError:
        return None  # a forged line counts for nothing


def stamped_at(kept: Kept, options: StampOptions | None) -> datetime | None:
    """When a checkpoint existed, on the word of the authority; None: nothing is proved."""
    from mlflow_governance.evidence import timestamp

    if options is None or kept.stamp is None:
        return None
    try:
        authority = timestamp.load_authority(options.url, options.chain)
        return timestamp.stamped_at([kept.stamp], kept.note.encode(), [authority])
    except GovernanceError:
        return None


def _newest(newest_first: Sequence[Sighting], at: Any) -> Mark | None:
    best: Mark | None = None
    for one in newest_first:
        if best is not None and one.checkpoint.size < best.size:
            break
        moment_ = at(one.kept)
        if moment_ is not None and (best is None or moment_ < best.at):
            best = Mark(one.checkpoint.size, moment_)
    return best


def _mark(mark: Mark | None, said: str, otherwise: str) -> str:
    if mark is None:
        return otherwise
    return f"{said}: {mark.size} entries, since {moment.to_text(mark.at)}"
