"""Events are told from the ledger's entries: no copy of them, with names in clear, is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_PRIVATE = """
CREATE TABLE governance_private_0011 (
    commitment VARCHAR(71) NOT NULL PRIMARY KEY, salt BLOB NOT NULL, text TEXT NOT NULL,
    person TEXT NOT NULL
) WITHOUT ROWID"""


def upgrade() -> None:
    """Note where each receiver is, and let the copies go."""
    op.create_table(
        "governance_event_places",
        sa.Column("target", sa.String(64), primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
    )
    op.execute(
        "INSERT INTO governance_event_places (target, position) "
        "SELECT target, max(position) + 1 FROM governance_deliveries GROUP BY target"
    )
    op.drop_table("governance_outbox")
    if op.get_bind().dialect.name == "sqlite":
        # Its key is its rows' place now, and kept once.
        op.execute(_PRIVATE)
        op.execute(
            "INSERT INTO governance_private_0011 (commitment, salt, text, person) "
            "SELECT commitment, salt, text, person FROM governance_private"
        )
        op.drop_table("governance_private")
        op.rename_table("governance_private_0011", "governance_private")


def downgrade() -> None:
    """Refuse, as the first migration does."""
    raise NotImplementedError("restore a backup instead")
