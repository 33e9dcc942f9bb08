"""A ledger of millions of entries, of which there is only what proofs read.

Every node is there and is the true one. Of the leaf hashes there are those of the tiles that are
asked for, in rows as long as those of entries, so that as many pages are read.
"""

from __future__ import annotations

import hashlib
import random

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.databases import batches
from mlflow_governance.core import moment
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.merkle import fold, perfect_root
from mlflow_governance.ledger.nodes import WIDTH, split
from mlflow_governance.ledger.note import Ed25519Signer
from mlflow_governance.store.sessions import Sessions
from mlflow_governance.store.tables import ledger_entries, ledger_head, ledger_nodes

_ENTRY = b"x" * 1300
_BATCH = 5000


def sparse_ledger(sessions: Sessions, size: int, sample: int) -> list[int]:
    """Fill an empty ledger; returns entries that can be proved, one a tile."""
    chance = random.Random(6)
    tiles = sorted(chance.sample(range(size // WIDTH), sample))
    levels = [[perfect_root(_leaves(tile)) for tile in range(size // WIDTH)]]
    while len(levels[-1]) >= WIDTH:
        below = levels[-1]
        whole = range(0, len(below) - len(below) % WIDTH, WIDTH)
        levels.append([perfect_root(below[at : at + WIDTH]) for at in whole])
    nodes = (
        {"level": level, "position": position, "hash": root}
        for level, roots in enumerate(levels, 1)
        for position, root in enumerate(roots)
    )
    last = size // WIDTH
    rows = (
        _row(tile * WIDTH + place, leaf)
        for tile in ([*tiles, last] if size % WIDTH else tiles)
        for place, leaf in enumerate(_leaves(tile)[: size - tile * WIDTH])
    )
    key = Ed25519Signer("bench/ledger", Ed25519PrivateKey.generate())
    note = checkpoint.make(size, _root(size, levels), key)
    with sessions.engine.begin() as connection:
        for table, found in ((ledger_nodes, nodes), (ledger_entries, rows)):
            for batch in batches(found, _BATCH):
                connection.execute(sa.insert(table), batch)
        connection.execute(sa.update(ledger_head).values(size=size, note=note))
    chance.shuffle(tiles)
    return [tile * WIDTH + chance.randrange(WIDTH) for tile in tiles]


def _root(size: int, levels: list[list[bytes]]) -> bytes:
    roots = []
    for height, position in split(range(size)):
        level, above = divmod(height, 8)
        first, count = position << above, 1 << above
        if level:
            roots.append(perfect_root(levels[level - 1][first : first + count]))
        else:
            tile, place = divmod(first, WIDTH)
            roots.append(perfect_root(_leaves(tile)[place : place + count]))
    return fold(roots)


def _leaves(tile: int) -> list[bytes]:
    first = tile * WIDTH
    return [hashlib.sha256(b"%d" % index).digest() for index in range(first, first + WIDTH)]


def _row(index: int, leaf: bytes) -> dict[str, object]:
    return {
        "position": index,
        "entry": _ENTRY,
        "leaf_hash": leaf,
        "act": "version.transitioned",
        "version_uid": f"{index:032x}",
        "at": moment.now(),
    }
