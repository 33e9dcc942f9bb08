"""Takes checkpoints off the host: cosigned, stamped, to every destination, again until it is there.

Only the newest checkpoint has to arrive: it commits to all before it, and a place that was away
for days gets the one of that day. Nothing here is waited for by a change of the registry. A place
that has seen another ledger than ours gets nothing and raises an alarm, until somebody restores the
right database or says that entries are lost.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from mlflow_governance.errors import GovernanceError, LedgerError, VerificationError
from mlflow_governance.ledger import checkpoint as checkpoints
from mlflow_governance.ledger import cosignature
from mlflow_governance.ledger import note as notes
from mlflow_governance.ledger.cosignature import WitnessKey
from mlflow_governance.ledger.note import LedgerKey
from mlflow_governance.outbox import sightings
from mlflow_governance.outbox.checkpoint_options import CheckpointOptions, StampOptions
from mlflow_governance.outbox.decision_log import delay
from mlflow_governance.outbox.destinations import Destination
from mlflow_governance.outbox.witness_client import Contradicted, WitnessClient
from mlflow_governance.workflows.checkpoints import CheckpointBook, Kept, Ledger, Place

GATHERING, STAMPING = "checkpoint:", "timestamping:"
"""Places of our own, which no destination can be called."""
_LEASE_SECONDS = 180.0
_log = logging.getLogger(__name__)


def witness_place(key: WitnessKey) -> str:
    """The place of a witness in the book."""
    return f"witness:{key.key_id.hex()}:{key.name}"[:64]


@dataclass(eq=False)
class Anchoring:
    """The job of one process; several may run.

    Args:
        options: the setting ``checkpoints``.
        key: the ledger key.
        ledger: the ledger.
        book: what is kept of checkpoints.
        home: the checkpoints in the home folder.
        destinations: the places the settings name.
    """

    options: CheckpointOptions
    key: LedgerKey
    ledger: Ledger
    book: CheckpointBook
    home: Destination
    destinations: Sequence[Destination]

    def __post_init__(self) -> None:
        self._witnesses = [WitnessClient(one) for one in self.options.witnesses]
        # By place, what was compared. The book is rolled back together with the ledger.
        self._compared: dict[str, str] = {}

    def run(self, stop: threading.Event) -> None:
        """Gather and deliver until told to stop; each place in a thread of its own."""
        acts: list[tuple[str, Callable[[], object]]] = [("gather", self.gather)]
        acts += [(one.name, partial(self.deliver, one)) for one in self.destinations]
        threads = [
            threading.Thread(target=self._loop, args=(act, stop), name=name, daemon=True)
            for name, act in acts
        ]
        for thread in threads:
            thread.start()
        stop.wait()
        for thread in threads:
            thread.join(5)  # a place that hangs is left to the lease

    def _loop(self, act: Callable[[], object], stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                act()
            except Exception:
                _log.exception("checkpoints: again in %.0f s", self.options.every_seconds)
            stop.wait(self.options.every_seconds)

    def gather(self) -> Kept | None:
        """Sign off the head of now: keep it, have it cosigned and stamped; what is kept of it.

        None: nothing was ever recorded, another worker is at it, or the head contradicts what
        the home folder has seen.
        """
        place = self.book.hold(GATHERING, _LEASE_SECONDS)
        if place is None:
            return None
        try:
            kept = self._gathered()
        except GovernanceError as error:
            self._failed(place, error)
            return None
        if kept is None:
            self.book.release(place)
        else:
            self.book.took(place, checkpoints.parse(kept.note).size, kept.content)
        return kept

    def deliver(self, destination: Destination) -> bool:
        """Take the newest checkpoint to a place; False: it has it, or cannot have it now."""
        kept = self.newest()
        if kept is None:
            return False
        place = self.book.hold(destination.name, _LEASE_SECONDS)
        if place is None:
            return False
        size, has = checkpoints.parse(kept.note).size, place.content == kept.content
        try:
            self._compare(destination, size, kept.content)
            if not has:
                destination.put(kept)
        except Exception as error:
            self._failed(place, error)
            return False
        if has and not place.alarm:
            self.book.release(place)
            return False
        self.book.took(place, size, kept.content)
        return not has

    def newest(self) -> Kept | None:
        """The newest checkpoint that is kept, verifies and is not beyond the ledger."""
        note = self.ledger.head()
        size = checkpoints.parse(note).size if note else 0
        for kept in self.book.newest():
            try:
                signed = checkpoints.verify(kept.note, self.key)
            except LedgerError:
                continue  # a row somebody else wrote
            if signed.size <= size:
                return max(self._variants(kept), key=self._worth)
        return None

    def _gathered(self) -> Kept | None:
        note = self.ledger.head()
        if not note:
            return None
        size = checkpoints.verify(note, self.key).size
        best = max(self._variants(Kept(note)), key=self._worth)
        self._compare(self.home, size, checkpoints.parse(note).root.hex())
        cosigned = self._cosigned(best)
        if cosigned != best.note:
            best = Kept(cosigned)
        self.book.keep(best.note)
        if best.stamp is None and self.options.timestamping is not None:
            best = self._stamped(best, self.options.timestamping)
        self.home.put(best)
        return best

    def _variants(self, kept: Kept) -> list[Kept]:
        text, _ = notes.split(kept.note)
        size = checkpoints.parse(kept.note).size
        found = [one for one in self.book.newest(size) if one.note.startswith(text + "\n")]
        return [kept, *(one for one in found if self._worth(one) >= (0, False))]

    def _worth(self, kept: Kept) -> tuple[int, bool]:
        try:
            checkpoints.verify(kept.note, self.key)
            vouch = cosignature.cosigned(kept.note, [one.key for one in self.options.witnesses])
        except LedgerError:
            return (-1, False)
        return (len(vouch), kept.stamp is not None)

    def _cosigned(self, kept: Kept) -> str:
        have = cosignature.cosigned(kept.note, [one.key for one in self.options.witnesses])
        missing = [one for one in self._witnesses if one.key not in have]
        lines: list[str] = []
        threads = [
            threading.Thread(target=self._ask, args=(one, kept.note, lines), daemon=True)
            for one in missing
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_LEASE_SECONDS / 3)
        return cosignature.with_lines(kept.note, sorted(lines))

    def _ask(self, witness: WitnessClient, note: str, lines: list[str]) -> None:
        place = self.book.hold(witness_place(witness.key), _LEASE_SECONDS)
        if place is None:
            return
        try:
            lines.append(witness.cosign(note, self.ledger.consistency_proof, self._size))
        except Exception as error:
            self._failed(place, error)
        else:
            self.book.took(place, checkpoints.parse(note).size, "")

    def _stamped(self, kept: Kept, options: StampOptions) -> Kept:
        place = self.book.hold(STAMPING, _LEASE_SECONDS)
        if place is None:
            return kept
        try:
            token = stamp(kept.note, options)
        except GovernanceError as error:
            self._failed(place, error)
            return kept
        self.book.stamp(kept.note, token)
        self.book.took(place, checkpoints.parse(kept.note).size, "")
        return Kept(kept.note, token)

    def _compare(self, destination: Destination, size: int, content: str) -> None:
        if not destination.readable or self._compared.get(destination.name) == content:
            return
        seen = sightings.look([destination], self.key, size)
        if destination.name in seen.unread:
            raise VerificationError(seen.unread[destination.name])
        for one, why in sightings.contradictions(seen.found, self.ledger, self.key):
            raise Contradicted(
                f"{one.place} has a checkpoint of {one.checkpoint.size} entries that this "
                f"ledger does not continue: {why}",
                advice=sightings.WAY_OUT,
            )
        self._compared[destination.name] = content

    def _size(self) -> int:
        note = self.ledger.head()
        return checkpoints.parse(note).size if note else 0

    def _failed(self, place: Place, error: Exception) -> None:
        alarm = error.message if isinstance(error, Contradicted) else ""
        pause = max(delay(place.failures + 1), 0.0)
        if alarm:
            _log.error("ALARM: %s", alarm)
        else:
            _log.warning("%s: %s; again in %.0f s", place.name, error, pause)
        self.book.failed(place, str(error), pause, alarm=alarm)


def stamp(note: str, options: StampOptions) -> bytes:
    """A time stamp over the bytes of a note, by the authority of the settings.

    Raises:
        Unavailable: the authority does not answer.
        VerificationError: what it answers is not its time stamp over these bytes.
        ConfigurationError: its certificates are not usable.
    """
    from mlflow_governance.evidence import timestamp

    authority = timestamp.load_authority(options.url, options.chain)
    token = timestamp.request(options.url, note.encode())
    if timestamp.stamped_at([token], note.encode(), [authority]) is None:
        raise VerificationError(
            f"{options.url} is not the time stamp authority whose certificates are configured"
        )
    return token
