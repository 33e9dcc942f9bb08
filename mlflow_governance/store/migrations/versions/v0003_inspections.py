"""What reading a model's files found, and what the ledger last said is in force."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "governance_inspections",
        sa.Column("digest", sa.String(71), primary_key=True),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "governance_in_force",
        sa.Column("what", sa.String(32), primary_key=True),
        sa.Column("digest", sa.String(71), nullable=False),
    )


def downgrade() -> None:
    """Refuse, as the first migration does."""
    raise NotImplementedError("restore a backup instead")
