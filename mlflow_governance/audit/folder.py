"""The folder of an export: what it holds already, and how more is added without a broken moment.

New files are written into ``<folder>.unfinished`` beside it. A first export is that folder,
renamed; a later one moves its files over, the signed ``checkpoint`` last. Whatever a crash leaves
behind is gone on with by the next export.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from mlflow_governance.audit import tiles
from mlflow_governance.errors import Conflict, InvalidRequest, LedgerError
from mlflow_governance.ledger.merkle import EMPTY_ROOT, HASH_BYTES, node_hash

CHECKPOINT = "checkpoint"
_SUFFIX = ".unfinished"


class ExportFolder:
    """A folder in the layout of a tiled log, open for one export at a time.

    Args:
        path: the folder; it need not exist.

    Raises:
        InvalidRequest: it holds something else, or cannot be written.
        Conflict: another export into it is at work.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._new = self.path.with_name(self.path.name + _SUFFIX)
        self.exists = (self.path / CHECKPOINT).is_file()
        if not self.exists and self.path.exists() and not _is_empty(self.path):
            raise InvalidRequest(
                f"{path} is no export of a ledger", advice="Name a new or an empty folder."
            )
        try:
            self._new.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._new, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise InvalidRequest(f"{self._new} cannot be written: {error.strerror}") from error

    def __enter__(self) -> ExportFolder:
        import fcntl

        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise Conflict(
                f"another export into {self.path} is at work", advice="Wait until it has ended."
            ) from error
        for part in list(self._new.rglob("*.p")):  # of a head that was never published
            shutil.rmtree(part)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, LedgerError | InvalidRequest):
            self.discard()  # what does not verify is nothing to go on from
        os.close(self._lock)

    def note(self) -> bytes:
        """The signed checkpoint of what is there; empty when nothing is."""
        return self._read(CHECKPOINT) or b""

    def has(self, name: str) -> bool:
        """True when a file of this name is there."""
        return any((root / name).is_file() for root in (self._new, self.path))

    def write(self, name: str, data: bytes) -> None:
        """Add a file, or write one anew."""
        path = self._new / name
        try:
            path.write_bytes(data)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def full_tiles(self, most: int) -> int:
        """How many full tiles of level 0 are there without a gap, at most ``most``.

        The tile of level 0 is written behind everything else that its entries bring.
        """
        low, high = 0, most
        while low < high:  # they were written in order
            middle = (low + high + 1) // 2
            if self._size(tiles.tile_path(0, middle - 1)) == tiles.FULL_BYTES:
                low = middle
            else:
                high = middle - 1
        return low

    def hashes(self, level: int, number: int, count: int) -> list[bytes]:
        """The first hashes of a tile, from the tile itself or from those below it.

        Raises:
            LedgerError: files are missing that an export writes.
        """
        if not count:
            return []
        whole = self._read(tiles.tile_path(level, number))
        if whole is not None and len(whole) == tiles.FULL_BYTES:
            return tiles.hashes_of(whole[: count * HASH_BYTES])
        if level:
            below = range(number * tiles.WIDTH, number * tiles.WIDTH + count)
            return [tiles.perfect_root(self.hashes(level - 1, n, tiles.WIDTH)) for n in below]
        for width in range(count, tiles.WIDTH):
            part = self._read(tiles.tile_path(0, number, width))
            if part is not None and len(part) == width * HASH_BYTES:
                return tiles.hashes_of(part[: count * HASH_BYTES])
        raise LedgerError(
            f"the export {self.path} is damaged: {tiles.tile_path(0, number)} is missing",
            advice="Export into a new folder.",
        )

    def entries(self, number: int) -> list[bytes]:
        """The entries that are there of a bundle that is not full yet."""
        for width in range(tiles.WIDTH - 1, 0, -1):
            part = self._read(tiles.bundle_path(number, width))
            if part is not None:
                return tiles.entries_of(part)
        return []

    def rows(self, size: int) -> list[list[bytes]]:
        """The hashes of each level that no full tile has taken up, for a tree of this size."""
        edge = tiles.edge(size)
        found: list[list[bytes]] = [[] for _ in range(edge[-1][0] + 1 if edge else 1)]
        for level, number, width in edge:
            found[level] = self.hashes(level, number, width)
        return found

    def publish(self, note: bytes, outdated: Iterable[str]) -> None:
        """Show what was added, its signed checkpoint last; then drop partial tiles of before.

        Args:
            note: the checkpoint.
            outdated: tiles that were partial and are full now.
        """
        self.write(CHECKPOINT, note)
        if not self.exists:
            with suppress(FileNotFoundError):
                self.path.rmdir()
            self._new.rename(self.path)
            return
        for folder, _, names in os.walk(self._new):
            inside = self.path / Path(folder).relative_to(self._new)
            inside.mkdir(exist_ok=True)
            for name in names:
                if (folder, name) != (str(self._new), CHECKPOINT):
                    Path(folder, name).replace(inside / name)
        (self._new / CHECKPOINT).replace(self.path / CHECKPOINT)
        for name in outdated:
            shutil.rmtree(self.path / f"{name}.p", ignore_errors=True)
        self.discard()

    def discard(self) -> None:
        """Drop what was added and not published."""
        shutil.rmtree(self._new, ignore_errors=True)

    def _read(self, name: str) -> bytes | None:
        for root in (self._new, self.path):
            with suppress(FileNotFoundError, NotADirectoryError):
                return (root / name).read_bytes()
        return None

    def _size(self, name: str) -> int:
        for root in (self._new, self.path):
            with suppress(FileNotFoundError, NotADirectoryError):
                return (root / name).stat().st_size
        return 0


def root_of(rows: list[list[bytes]]) -> bytes:
    """The root of a tree from its :meth:`~ExportFolder.rows`."""
    root: bytes | None = None
    for row in rows:
        end = len(row)
        while end:
            width = end & -end
            left = tiles.perfect_root(row[end - width : end])
            root = left if root is None else node_hash(left, root)
            end -= width
    return EMPTY_ROOT if root is None else root


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
