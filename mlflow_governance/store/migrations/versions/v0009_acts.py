"""Entries by their act, and denials that repeat, summed up until they are told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create the index and the table."""
    op.create_index("governance_ledger_entry_act", "governance_ledger_entries", ["act", "position"])
    op.create_table(
        "governance_repeats",
        sa.Column("key", sa.String(71), primary_key=True),
        sa.Column("event", sa.LargeBinary, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("decision_id", sa.String(64), nullable=False),
        sa.Column("told", sa.BigInteger, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("first_at", sa.String(27), nullable=False, index=True),
        sa.Column("last_at", sa.String(27), nullable=False),
    )


def downgrade() -> None:
    """Refuse, as the first migration does."""
    raise NotImplementedError("restore a backup instead")
