"""Aliases with the version before, and the versions that were deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mlflow_governance.store.tables import Moment, exact

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "governance_aliases",
        sa.Column("workspace", sa.String(63), primary_key=True),
        sa.Column("name", exact(256), primary_key=True),
        sa.Column("alias", exact(256), primary_key=True),
        sa.Column("version", sa.Integer),
        sa.Column("before", sa.Integer),
        sa.Column("at", Moment, nullable=False),
    )
    op.create_table(
        "governance_former_versions",
        sa.Column("uid", sa.String(64), primary_key=True),
        sa.Column("workspace", sa.String(63), nullable=False),
        sa.Column("name", exact(256), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_index(
        "governance_former_ref", "governance_former_versions", ["workspace", "name", "version"]
    )


def downgrade() -> None:
    """Refuse, as the first migration does."""
    raise NotImplementedError("restore a backup instead")
