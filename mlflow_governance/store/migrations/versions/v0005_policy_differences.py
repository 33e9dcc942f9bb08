"""What a shadow bundle said differently from the live one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "governance_policy_shadows",
        sa.Column("shadow", sa.String(71), primary_key=True),
        sa.Column("asked", sa.BigInteger, nullable=False),
        sa.Column("dropped", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("first_at", sa.String(27), nullable=False),
        sa.Column("last_at", sa.String(27), nullable=False),
    )
    op.create_table(
        "governance_policy_differences",
        sa.Column("key", sa.String(71), primary_key=True),
        sa.Column("live", sa.String(71), nullable=False),
        sa.Column("shadow", sa.String(71), nullable=False, index=True),
        sa.Column("gate", sa.String(16), nullable=False),
        sa.Column("version_uid", sa.String(64), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("verdicts", sa.LargeBinary, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("dossier", sa.String(71), nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("first_at", sa.String(27), nullable=False),
        sa.Column("last_at", sa.String(27), nullable=False),
    )


def downgrade() -> None:
    """Refuse, as the first migration does."""
    raise NotImplementedError("restore a backup instead")
