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

# An event that everybody had was forgotten with its delivery: what is left of them tells what is
# still to be told, not the last delivery alone.
_PLACES = """
INSERT INTO governance_event_places (target, position)
SELECT told.target, coalesce(
    (SELECT min(position) FROM governance_outbox WHERE position > told.last), head.size)
FROM (SELECT target, max(position) AS last FROM governance_deliveries GROUP BY target) AS told
CROSS JOIN governance_ledger_head AS head"""


def upgrade() -> None:
    """Note where each receiver is, and let the copies go."""
    op.create_table(
        "governance_event_places",
        sa.Column("target", sa.String(64), primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
    )
    op.execute(_PLACES)
    if op.get_bind().dialect.name == "sqlite":
        op.execute("PRAGMA secure_delete = ON")  # else names stay in the file where the tables were
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
