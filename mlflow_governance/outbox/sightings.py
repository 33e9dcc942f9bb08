"""What places outside have seen of the ledger, held against the ledger as it is.

A database cannot show by itself that it is not an older or another one. What left the host can.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mlflow_governance.errors import GovernanceError, LedgerError
from mlflow_governance.ledger import checkpoint as checkpoints
from mlflow_governance.ledger.checkpoint import Checkpoint
from mlflow_governance.ledger.note import LedgerKey
from mlflow_governance.ledger.recovery import contradiction, note_digest
from mlflow_governance.outbox.destinations import Destination
from mlflow_governance.workflows.checkpoints import Kept, Ledger

WAY_OUT = (
    "Restore a newer backup of the database. If there is none, stop every server and say so: "
    "mlflow-governance ledger recover --reason TEXT. A new registry has a home folder of its own: "
    "--home DIR"
)
_DEADLINE = 30.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A checkpoint signed by the ledger's key, and where it was found."""

    place: str
    kept: Kept
    checkpoint: Checkpoint


@dataclass
class Sightings:
    """What was found. ``unread``: places that could not be read, and why; ``foreign``: how many
    files a place has that the ledger's key did not sign."""

    found: list[Sighting] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, int] = field(default_factory=dict)


def look(
    destinations: Iterable[Destination],
    key: LedgerKey,
    at_least: int,
    deadline_seconds: float = _DEADLINE,
) -> Sightings:
    """Read places, all at once.

    Args:
        destinations: those that cannot be read are passed over.
        key: the ledger key.
        at_least: the size of ledgers that are looked for; see ``Destination.seen``.
        deadline_seconds: a place that takes longer counts as unread.
    """
    seen = Sightings()
    readers = [(one.name, _Reader(one, key, at_least)) for one in destinations if one.readable]
    latest = time.monotonic() + deadline_seconds
    for name, reader in readers:
        reader.thread.join(max(0.0, latest - time.monotonic()))
        if reader.thread.is_alive():
            seen.unread[name] = f"it does not answer within {deadline_seconds:g} s"
        elif reader.error:
            seen.unread[name] = reader.error
        else:
            seen.found += reader.found
            if reader.foreign:
                seen.foreign[name] = reader.foreign
    return seen


class _Reader:
    def __init__(self, destination: Destination, key: LedgerKey, at_least: int) -> None:
        self._given = destination, key, at_least
        self.found: list[Sighting] = []
        self.foreign = 0
        self.error = ""
        # A file system that hangs must hang nobody else: this thread is left behind.
        self.thread = threading.Thread(target=self._run, name=destination.name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        destination, key, at_least = self._given
        try:
            for kept in destination.seen(at_least):
                self._take(destination.name, kept, key)
        except GovernanceError as error:
            self.error = error.message
        except Exception as error:
            _log.exception("%s could not be read", destination.name)
            self.error = type(error).__name__

    def _take(self, place: str, kept: Kept, key: LedgerKey) -> None:
        try:
            self.found.append(Sighting(place, kept, checkpoints.verify(kept.note, key)))
        except LedgerError:
            self.foreign += 1


def contradictions(
    sightings: Iterable[Sighting], ledger: Ledger, key: LedgerKey
) -> list[tuple[Sighting, str]]:
    """The sightings the ledger does not continue, and why; but for those it says it lost.

    Raises:
        LedgerError: the head of the ledger does not verify, or a recovery is none.
    """
    found = list(sightings)
    if not found:
        return []
    # Read after the sightings: whatever left the host is not larger than this, unless lost.
    note = ledger.head()
    head = checkpoints.verify(note, key) if note else None
    verdicts: dict[Checkpoint, str] = {}
    for one in found:
        if one.checkpoint not in verdicts:
            verdicts[one.checkpoint] = contradiction(head, one.checkpoint, ledger.consistency_proof)
    wrong = [(one, verdicts[one.checkpoint]) for one in found if verdicts[one.checkpoint]]
    if not wrong:
        return []
    acknowledged = {one.note for one in ledger.recoveries(key)}
    return [(one, why) for one, why in wrong if note_digest(one.kept.note) not in acknowledged]


def require_current(
    destinations: Sequence[Destination], ledger: Ledger, key: LedgerKey
) -> Sightings:
    """Refuse a database that is older than, or another than, what places outside have seen.

    A place that cannot be read is told of and stops nothing.

    Raises:
        LedgerError: the database was rolled back or forked.
    """
    note = ledger.head()
    size = checkpoints.parse(note).size if note else 0
    seen = look(destinations, key, size)
    for place, why in seen.unread.items():
        _log.warning("the ledger is not held against %s: %s", place, why)
    for one, why in contradictions(seen.found, ledger, key):
        raise LedgerError(
            f"the database is not the ledger that was signed: {why} "
            f"(checkpoint of {one.checkpoint.size} entries in {one.place})",
            advice=WAY_OUT,
            size=one.checkpoint.size,
            place=one.place,
        )
    return seen
