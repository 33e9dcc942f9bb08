"""The ledger as files: a tiled transparency log (c2sp.org/tlog-tiles) that proves itself.

::

    checkpoint                       the signed head
    tile/<L>/<N>[.p/<W>]             the tree
    tile/entries/<N>[.p/<W>]         the entries, byte for byte
    keys/ledger.vkeys                the keys that signed, oldest first
    checkpoints/<size>-<8 hex>.checkpoint   every checkpoint kept, ``.tsr`` its RFC 3161 stamp

The ledger is verified on the way out: nothing is published unless every entry, each checkpoint
kept and what the folder held before lead to the signed head. An entry that was deleted after its
retention stays in a folder that has it: such a folder is the archive of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

from mlflow_governance.audit import tiles
from mlflow_governance.audit.folder import ExportFolder, root_of
from mlflow_governance.errors import InvalidRequest, LedgerError, NotFound
from mlflow_governance.ledger import checkpoint as checkpoints
from mlflow_governance.ledger.checkpoint import Checkpoint
from mlflow_governance.ledger.entry import MAX_BYTES, carries_index
from mlflow_governance.ledger.gone import ranges_of
from mlflow_governance.ledger.handover import KeyHistory
from mlflow_governance.ledger.merkle import leaf_hash

KEYS = "keys/ledger.vkeys"


class StoredEntry(NamedTuple):
    """One row of the ledger. ``data`` is empty once its bytes were deleted after retention."""

    place: int
    data: bytes
    leaf: bytes


class KeptCheckpoint(NamedTuple):
    """A checkpoint signed earlier, and its RFC 3161 time stamp (DER) if it has one."""

    note: str
    stamp: bytes = b""


class StoredLedger(Protocol):
    """The ledger of a registry, for reading."""

    def head(self) -> str:
        """The signed note of the head; empty when nothing was ever recorded."""

    def stored(self, start: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Index, bytes and leaf hash of entries, ascending."""

    def first_untold(self, gone: Sequence[range], key: KeyHistory, size: int) -> int | None:
        """The first of these entries of which the first ``size`` do not say that it was deleted."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What a folder holds now: ``root`` in hexadecimal, ``added`` of ``size`` entries anew."""

    origin: str
    size: int
    root: str
    added: int
    checkpoints: int


def export_ledger(
    ledger: StoredLedger,
    path: Path,
    keys: KeyHistory,
    kept: Iterable[KeptCheckpoint],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Exported:
    """Write the ledger into a folder, or add to the folder what is new since.

    Args:
        ledger: where entries come from.
        path: the folder; new, empty, or an earlier export of the same ledger.
        keys: the ledger's keys with their handovers; the last one signs now.
        kept: every checkpoint that is known besides the head.
        progress: told how many of how many entries are done.

    Raises:
        NotFound: nothing was ever recorded.
        LedgerError: the ledger does not verify, or does not continue what the folder holds.
        InvalidRequest: the folder holds something else.
        Conflict: another export into it is at work.
    """
    note = ledger.head()
    if not note:
        raise NotFound("nothing is recorded in this ledger yet")
    head = checkpoints.verify(note, keys)
    with ExportFolder(path) as folder:
        before = _before(folder, head, keys)
        marks = _marks(kept, head, keys)
        known = [mark for mark, _, _ in marks] + ([before] if before else [])
        writing = _Writing(folder, head, known)
        done = before.size if before else 0
        for batch in _batches(ledger.stored(writing.size, head.size)):
            writing.add(batch)
            progress(writing.size, head.size)
        _refuse_missing(ledger, ranges_of(writing.gone), head, keys)
        writing.finish(head)
        for mark, one, stem in marks:
            name = f"checkpoints/{mark.size}-{stem}"
            folder.write(f"{name}.checkpoint", one.note.encode())
            if one.stamp:
                folder.write(f"{name}.tsr", one.stamp)
        folder.write(KEYS, keys.encode().encode())
        folder.publish(note.encode(), _outdated(before, head))
    return Exported(head.origin, head.size, head.root.hex(), head.size - done, len(marks))


def require_place(ledger: StoredLedger, path: Path, keys: KeyHistory) -> None:
    """Refuse a folder this ledger cannot be exported into, before the export is an entry of it.

    Raises:
        LedgerError: the ledger does not continue what the folder holds.
        InvalidRequest: the folder holds something else, or cannot be written.
        Conflict: another export into it is at work.
    """
    note = ledger.head()
    with ExportFolder(path) as folder:
        if note:
            _before(folder, checkpoints.verify(note, keys), keys)


def _before(folder: ExportFolder, head: Checkpoint, keys: KeyHistory) -> Checkpoint | None:
    if not folder.exists:
        return None
    try:
        before = checkpoints.verify(folder.note(), keys)
    except LedgerError as error:
        raise InvalidRequest(
            f"{folder.path} is no export of this ledger: {error.message}",
            advice="Name a new or an empty folder.",
        ) from error
    if before.size > head.size:
        raise LedgerError(
            f"the ledger was truncated or rolled back: it ends at {head.size} entries, and "
            f"{folder.path} holds {before.size}",
            advice="Keep both as they are and compare the database with its backups.",
        )
    return before


def _marks(
    kept: Iterable[KeptCheckpoint], head: Checkpoint, keys: KeyHistory
) -> list[tuple[Checkpoint, KeptCheckpoint, str]]:
    """Each checkpoint with what names its file, smallest ledger first."""
    found = {}
    for one in kept:
        mark = checkpoints.verify(one.note, keys)
        if mark.size > head.size:
            raise LedgerError(
                f"the ledger was truncated or rolled back: it ends at {head.size} entries, and "
                f"{mark.size} were signed before",
                advice="Run: mlflow-governance ledger verify",
            )
        stem = hashlib.sha256(one.note.encode()).hexdigest()[:8]
        if one.stamp or (mark.size, stem) not in found:
            found[mark.size, stem] = (mark, one, stem)
    return [found[key] for key in sorted(found)]


def _refuse_missing(
    ledger: StoredLedger, gone: Sequence[range], head: Checkpoint, keys: KeyHistory
) -> None:
    missing = ledger.first_untold(gone, keys, head.size) if gone else None
    if missing is not None:
        raise LedgerError(
            f"entry {missing} is missing: its bytes were deleted, and no entry before {head.size} "
            "says so",
            advice="If entries were let go meanwhile, export again. Else run: "
            "mlflow-governance ledger verify",
            index=missing,
        )


def _batches(rows: Iterator[tuple[int, bytes, bytes]]) -> Iterator[list[StoredEntry]]:
    entries = map(StoredEntry._make, rows)
    while batch := list(islice(entries, tiles.WIDTH)):
        yield batch


def _outdated(before: Checkpoint | None, head: Checkpoint) -> Iterator[str]:
    """Tiles that were partial and are full now; nobody need keep the parts (tlog-tiles)."""
    for level, number, _ in tiles.edge(before.size if before else 0):
        if head.size >> 8 * (level + 1) > number:
            yield tiles.tile_path(level, number)
            if level == 0:
                yield tiles.bundle_path(number)


class _Writing:
    """A tree that grows by whole tiles from where the folder ends, and is compared on its way."""

    def __init__(self, folder: ExportFolder, head: Checkpoint, marks: list[Checkpoint]) -> None:
        self._folder = folder
        most = head.size // tiles.WIDTH
        if folder.has(tiles.tile_path(0, most)):
            raise LedgerError(
                f"the ledger was truncated or rolled back: it ends at {head.size} entries, and "
                f"{folder.path} holds more",
                advice="Export into a new folder, and compare the two.",
            )
        self.size = folder.full_tiles(most) * tiles.WIDTH
        self.gone: list[int] = []
        self._rows = folder.rows(self.size)
        self._waiting = sorted(marks, key=lambda mark: -mark.size)
        while self._waiting and self._waiting[-1].size < self.size:
            mark = self._waiting.pop()
            _compare(mark, root_of(folder.rows(mark.size)))

    def add(self, batch: list[StoredEntry]) -> None:
        """Take the entries of one tile, of which only the last may be partial."""
        leaves = [self._leaf(entry, self.size + at) for at, entry in enumerate(batch)]
        while self._waiting and self._waiting[-1].size < self.size + len(batch):
            mark = self._waiting.pop()
            _compare(mark, root_of([leaves[: mark.size - self.size], *self._rows[1:]]))
        number = self.size // tiles.WIDTH
        self.size += len(batch)
        data = tiles.bundle(self._archived(batch, number))
        self._folder.write(tiles.bundle_path(number, len(batch)), data)
        if len(batch) == tiles.WIDTH:
            self._complete(0, number, leaves)
        else:
            self._rows[0] = leaves

    def finish(self, head: Checkpoint) -> None:
        """Write the right edge.

        Raises:
            LedgerError: this is not the tree that was signed.
        """
        if self.size != head.size:
            raise LedgerError(f"entry {self.size} is missing: the signed head counts {head.size}")
        root = root_of(self._rows)
        for mark in reversed(self._waiting):
            _compare(mark, root)
        _compare(head, root)
        for level, number, width in tiles.edge(self.size):
            self._folder.write(tiles.tile_path(level, number, width), b"".join(self._rows[level]))

    def _archived(self, batch: list[StoredEntry], number: int) -> list[bytes]:
        here = [entry.place for entry in batch if not entry.data]
        self.gone += here
        kept = self._folder.entries(number) if here else []
        # A partial bundle is the beginning of those that follow it: what it has stays in it.
        return [
            kept[at] if not data and at < len(kept) and leaf_hash(kept[at]) == leaf else data
            for at, (_, data, leaf) in enumerate(batch)
        ]

    def _complete(self, level: int, number: int, row: list[bytes]) -> None:
        if len(self._rows) == level + 1:
            self._rows.append([])
        above = self._rows[level + 1]
        above.append(tiles.perfect_root(row))
        if len(above) == tiles.WIDTH:
            self._complete(level + 1, number // tiles.WIDTH, above)
        self._rows[level] = []
        # Behind those above it: a full tile of level 0 says that all it brings is there.
        self._folder.write(tiles.tile_path(level, number), b"".join(row))

    def _leaf(self, entry: StoredEntry, expected: int) -> bytes:
        index, data, leaf = entry
        if index != expected:
            raise LedgerError(f"entry {expected} is missing: {index} follows", index=expected)
        if not data:  # deleted after retention
            return leaf
        if leaf_hash(data) != leaf or not carries_index(data, index):
            raise LedgerError(f"entry {index} was edited or moved", index=index)
        if len(data) > MAX_BYTES:
            raise LedgerError(f"entry {index} has {len(data)} bytes, and a tile tells {MAX_BYTES}")
        return leaf


def _compare(mark: Checkpoint, root: bytes) -> None:
    if mark.root != root:
        raise LedgerError(
            f"the ledger is not the one signed at {mark.size} entries: it was changed or forked, "
            "or the folder holds another one",
            advice="Run: mlflow-governance ledger verify",
        )
