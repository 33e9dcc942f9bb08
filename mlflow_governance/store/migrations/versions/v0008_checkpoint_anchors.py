"""When each checkpoint was kept, its time stamp, and how far each place outside has got."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the columns, create the table."""
    op.add_column("governance_ledger_checkpoints", sa.Column("stamp", sa.LargeBinary))
    op.add_column("governance_ledger_checkpoints", sa.Column("kept_at", sa.String(27)))
    op.create_index("governance_ledger_checkpoint_size", "governance_ledger_checkpoints", ["size"])
    op.create_table(
        "governance_checkpoint_places",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("content", sa.String(71), nullable=False),
        sa.Column("at", sa.String(27)),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("next_at", sa.String(27)),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.Column("alarm", sa.Text, nullable=False),
        sa.Column("lease", sa.String(32), nullable=False),
        sa.Column("lease_until", sa.String(27)),
    )


def downgrade() -> None:
    """Refuse, as the first migration does."""
    raise NotImplementedError("restore a backup instead")
