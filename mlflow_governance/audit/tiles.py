"""Tiled transparency logs (c2sp.org/tlog-tiles): the names of tiles, and entry bundles.

A tile holds 256 consecutive hashes of one level; level 0 are leaf hashes, and a hash above is the
root of the full tile below it. The tile at the right edge of a level may be *partial*.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from mlflow_governance.ledger.entry import MAX_BYTES
from mlflow_governance.ledger.merkle import HASH_BYTES, node_hash

WIDTH = 256
"""Hashes of a full tile, and entries of a full bundle."""

FULL_BYTES = WIDTH * HASH_BYTES

_LENGTH = struct.Struct(">H")


def tile_path(level: int, number: int, width: int = WIDTH) -> str:
    """``tile/<L>/<N>[.p/<W>]``: where the tile with this number on its level stands."""
    return f"tile/{level}/{_place(number, width)}"


def bundle_path(number: int, width: int = WIDTH) -> str:
    """``tile/entries/<N>[.p/<W>]``: where the entries below a tile of level 0 stand."""
    return f"tile/entries/{_place(number, width)}"


def bundle(entries: Iterable[bytes]) -> bytes:
    """Entries, each behind its length as a big-endian uint16.

    Raises:
        ValueError: one is longer than such a number tells.
    """
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > MAX_BYTES:
            raise ValueError(f"an entry of {len(entry)} bytes")
        parts += (_LENGTH.pack(len(entry)), entry)
    return b"".join(parts)


def entries_of(data: bytes) -> list[bytes]:
    """The entries of a bundle; of one that was cut short, those before the cut."""
    found, at = [], 0
    while at + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + length
        if at > len(data):
            break
        found.append(data[at - length : at])
    return found


def hashes_of(tile: bytes) -> list[bytes]:
    """The hashes of a tile."""
    return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of hashes, such as those of a full tile."""
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def edge(size: int) -> list[tuple[int, int, int]]:
    """Level, number and width of each partial tile of a tree of this size."""
    found = []
    level = 0
    while size:
        size, width = divmod(size, WIDTH)
        if width:
            found.append((level, size, width))
        level += 1
    return found


def _place(number: int, width: int) -> str:
    groups = [f"{number % 1000:03d}"]
    while number := number // 1000:
        groups.append(f"x{number % 1000:03d}")
    return "/".join(reversed(groups)) + ("" if width == WIDTH else f".p/{width}")
