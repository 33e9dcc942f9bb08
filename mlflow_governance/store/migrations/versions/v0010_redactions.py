"""What erasures of people replaced, and which of them still have to clean the files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "governance_redactions",
        sa.Column("digest", sa.String(71), primary_key=True),
        sa.Column("replacement", sa.String(71), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_governance_redactions_position", "governance_redactions", ["position"])
    op.create_table(
        "governance_erasures",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("cleaned", sa.String(27)),
    )


def downgrade() -> None:
    """Refuse, as the first migration does."""
    raise NotImplementedError("restore a backup instead")
