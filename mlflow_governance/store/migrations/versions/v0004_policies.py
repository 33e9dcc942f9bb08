"""Bundles that were in force, and proposals to put another one into force."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "governance_policies",
        sa.Column("digest", sa.String(71), primary_key=True),
        sa.Column("archive_digest", sa.String(71), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("replaced", sa.String(27)),
    )
    op.create_table(
        "governance_policy_proposals",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("uid", sa.String(64), nullable=False, unique=True),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("before", sa.String(71), nullable=False),
        sa.Column("archive_digest", sa.String(71), nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("state", sa.String(16), nullable=False, index=True),
    )
    op.create_table(
        "governance_policy_words",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("proposal_uid", sa.String(64), nullable=False, index=True),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("withdrawn", sa.Boolean, nullable=False),
    )


def downgrade() -> None:
    """Refuse, as the first migration does."""
    raise NotImplementedError("restore a backup instead")
