"""Roots of subtrees that are kept as they fill, so that a proof reads little of a long ledger.

Kept are the perfect subtrees of 256, 65 536, … leaves. Of level L the one at position p covers the
leaves from p·256^L up to (p+1)·256^L; level 0 is the leaf hashes themselves. These are the tiles
of c2sp.org/tlog-tiles. Every range of leaves a proof is made of splits into perfect subtrees, and
each of those is made of at most 128 neighbours of the level below it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger import merkle
from mlflow_governance.ledger.merkle import CompactRange, node_hash

HEIGHT = 8
WIDTH = 1 << HEIGHT
"""Hashes a tile, and leaves below a hash of level 1."""
_TILES = 256
"""Tiles that are remembered: some five megabytes."""


class Node(NamedTuple):
    """The root of a perfect subtree of 256^level leaves, level being 1 or more."""

    level: int
    position: int
    hash: bytes

    @property
    def leaves(self) -> range:
        """The leaves it covers."""
        return covered(self.level, self.position)


def covered(level: int, position: int) -> range:
    """The leaves below a node."""
    width = HEIGHT * level
    return range(position << width, (position + 1) << width)


def count(level: int, size: int) -> int:
    """How many nodes of this level a ledger of ``size`` entries keeps."""
    return size >> (HEIGHT * level)


def completed(before: CompactRange, leaf: bytes) -> list[Node]:
    """The nodes that one more leaf completes: mostly none, each 256th time one, seldom more."""
    size = before.size
    if (size + 1) % WIDTH:
        return []
    found, root = [], leaf
    for height, left in enumerate(reversed(before.nodes), 1):
        if not size >> (height - 1) & 1:
            break
        root = node_hash(left, root)
        if height % HEIGHT == 0:
            found.append(Node(height // HEIGHT, size >> height, root))
    return found


def split(leaves: range) -> Iterator[tuple[int, int]]:
    """The perfect subtrees that make up a range of leaves, as ``(height, position)``.

    From left to right; each is the largest that begins there. Where the range begins at a
    multiple of a power of two that is not smaller than itself, as in every proof, they only get
    smaller, and :func:`~mlflow_governance.ledger.merkle.fold` makes them one.
    """
    start = leaves.start
    while start < leaves.stop:
        height = (leaves.stop - start).bit_length() - 1
        if start:
            height = min(height, (start & -start).bit_length() - 1)
        yield height, start >> height
        start += 1 << height


Reader = Callable[[int, int, int], Sequence[bytes]]
"""``(level, first, end)``: the hashes kept from ``first`` up to ``end``; fewer where some lack."""


class Tiles:
    """What is kept, read a tile at a time and remembered; entries never change.

    Args:
        read: reads neighbouring hashes of a level.
    """

    def __init__(self, read: Reader) -> None:
        self._read = read
        self._known: OrderedDict[tuple[int, int, int], Sequence[bytes]] = OrderedDict()

    def hashes(self, level: int, first: int, end: int, size: int) -> Sequence[bytes]:
        """Hashes of one tile.

        Args:
            level: 0 for leaf hashes.
            first: the first position.
            end: one more than the last position, which is in the same tile.
            size: of the ledger the proof is for.

        Raises:
            LedgerError: one of them is not kept, or is no hash.
        """
        start = first - first % WIDTH
        stop = min(start + WIDTH, count(level, size))
        key = (level, start, stop)
        tile = self._known.pop(key, None)
        if tile is None:
            tile = self._read(level, start, stop)
            if len(tile) != stop - start or any(len(h) != merkle.HASH_BYTES for h in tile):
                what = "leaf hashes" if level == 0 else f"nodes of level {level}"
                raise LedgerError(
                    f"{what} {start} to {stop - 1} of the ledger are not all there",
                    advice="Nothing can be proved by them. Run: mlflow-governance ledger verify",
                )
        self._known[key] = tile
        if len(self._known) > _TILES:
            self._known.popitem(last=False)
        return tile[first - start : end - start]


class Tree:
    """The tree of the first ``size`` entries, over what is kept of a ledger of as many or more."""

    def __init__(self, tiles: Tiles, size: int) -> None:
        self._tiles = tiles
        self.size = size

    def leaf(self, index: int) -> bytes:
        """The leaf hash of an entry."""
        return self._tiles.hashes(0, index, index + 1, self.size)[0]

    def compact(self, size: int) -> CompactRange:
        """The roots of the perfect subtrees of the first ``size`` entries."""
        return CompactRange(size, tuple(self._subtrees(range(size))))

    def inclusion(self, index: int) -> list[bytes]:
        """PATH(index, D[size]) of RFC 6962, 2.1.1.

        Raises:
            LedgerError: there is no such entry, or something that is needed is not kept.
        """
        return [self._root(part) for part in merkle.inclusion_ranges(index, self.size)]

    def consistency(self, old: int) -> list[bytes]:
        """PROOF(old, D[size]) of RFC 6962, 2.1.2.

        Raises:
            LedgerError: there is no such earlier state, or something that is needed is not kept.
        """
        return [self._root(part) for part in merkle.consistency_ranges(old, self.size)]

    def _root(self, leaves: range) -> bytes:
        return merkle.fold(self._subtrees(leaves))

    def _subtrees(self, leaves: range) -> list[bytes]:
        return [self._perfect(height, position) for height, position in split(leaves)]

    def _perfect(self, height: int, position: int) -> bytes:
        level, above = divmod(height, HEIGHT)
        first = position << above
        return merkle.perfect_root(
            self._tiles.hashes(level, first, first + (1 << above), self.size)
        )
