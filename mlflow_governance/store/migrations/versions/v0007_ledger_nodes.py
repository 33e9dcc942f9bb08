"""Roots of the ledger's subtrees, also of the ledger there is."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

from mlflow_governance.ledger.merkle import HASH_BYTES, CompactRange
from mlflow_governance.ledger.nodes import WIDTH, completed

revision = "0007"
down_revision = "0006"

_STEP = 64 * WIDTH
"""Leaf hashes a statement: half a megabyte."""


def upgrade() -> None:
    """Create the table and fill it."""
    table = op.create_table(
        "governance_ledger_nodes",
        sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    tree = CompactRange()
    for leaves in _leaves(op.get_bind()):
        rows = []
        for leaf in leaves:
            rows += [node._asdict() for node in completed(tree, leaf)]
            tree = tree.append(leaf)
        if rows:
            op.bulk_insert(table, rows)


def downgrade() -> None:
    """Refuse, as the first migration does."""
    raise NotImplementedError("restore a backup instead")


def _leaves(connection: sa.Connection) -> Iterator[list[bytes]]:
    """Leaf hashes, as far as they are whole; what is wrong behind is for the verification."""
    query = sa.text(
        "SELECT position, leaf_hash FROM governance_ledger_entries "
        "WHERE position >= :start AND position < :end ORDER BY position"
    )
    start, whole = 0, True
    while whole:
        rows = connection.execute(query, {"start": start, "end": start + _STEP}).all()
        leaves = []
        for expected, (position, leaf) in enumerate(rows, start):
            whole = position == expected and _is_hash(leaf)
            if not whole:
                break
            leaves.append(bytes(leaf))
        yield leaves
        whole = whole and len(rows) == _STEP
        start += _STEP


def _is_hash(leaf: object) -> bool:
    return isinstance(leaf, bytes | memoryview) and len(leaf) == HASH_BYTES
