"""The first tables, and the head row of an empty ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mlflow_governance.store.tables import Moment, exact

revision = "0001"
down_revision = None

_DIGEST = sa.String(71)


def upgrade() -> None:
    """Create every table."""
    _versions()
    _documents()
    _judgements()
    _ledger()
    _queues()


def downgrade() -> None:
    """Refuse: a ledger that can be dropped by a command proves nothing."""
    raise NotImplementedError("restore a backup instead")


def _versions() -> None:
    op.create_table(
        "governance_versions",
        sa.Column("uid", sa.String(64), primary_key=True),
        sa.Column("workspace", sa.String(63), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("stage", sa.String(20), nullable=False, index=True),
        sa.Column("location", exact(1000), nullable=False, index=True),
        sa.Column("submitter", sa.Text, nullable=False),
        sa.Column("digest", _DIGEST, index=True),
        sa.Column("policy_digest", _DIGEST),
        sa.Column("quarantined_from", sa.String(20)),
        sa.Column("decision_id", sa.String(64), nullable=False),
        sa.Column("facts", sa.LargeBinary),
        sa.Column("trust_digest", _DIGEST),
        sa.Column("created_at", Moment, nullable=False, index=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.UniqueConstraint("workspace", "name", "version", name="governance_version_ref"),
    )
    op.create_table(
        "governance_blocked",
        sa.Column("digest", _DIGEST, primary_key=True),
        sa.Column("stage", sa.String(20), nullable=False),
        sa.Column("at", Moment, nullable=False),
    )


def _documents() -> None:
    op.create_table(
        "governance_blobs",
        sa.Column("digest", _DIGEST, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "governance_files",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("version_uid", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("path", exact(1024), nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("mirrored", sa.Boolean, nullable=False),
        sa.UniqueConstraint("version_uid", "role", "path", name="governance_file_path"),
    )


def _judgements() -> None:
    op.create_table(
        "governance_approvals",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("uid", sa.String(64), nullable=False, unique=True),
        sa.Column("version_uid", sa.String(64), nullable=False, index=True),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("model_digest", _DIGEST, nullable=False),
        sa.Column("policy_digest", _DIGEST, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("withdrawn", sa.Boolean, nullable=False),
    )
    op.create_table(
        "governance_decisions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("decision_id", sa.String(64), nullable=False, unique=True),
        sa.Column("version_uid", sa.String(64), nullable=False, index=True),
        sa.Column("gate", sa.String(16), nullable=False),
        sa.Column("allow", sa.Boolean, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("dossier_digest", _DIGEST, nullable=False),
    )


def _ledger() -> None:
    head = op.create_table(
        "governance_ledger_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("compact_range", sa.LargeBinary, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.bulk_insert(head, [{"id": 1, "size": 0, "compact_range": b"", "note": ""}])
    op.create_table(
        "governance_ledger_entries",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("entry", sa.LargeBinary, nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
        sa.Column("act", sa.String(32), nullable=False),
        sa.Column("version_uid", sa.String(64), nullable=False, index=True),
        sa.Column("at", Moment, nullable=False),
    )
    op.create_table(
        "governance_ledger_checkpoints",
        sa.Column("digest", _DIGEST, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_table(
        "governance_private",
        sa.Column("commitment", _DIGEST, primary_key=True),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
    )


def _queues() -> None:
    op.create_table(
        "governance_outbox",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False, unique=True),
        sa.Column("act", sa.String(32), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Index("governance_outbox_act", "act", "position"),
    )
    op.create_table(
        "governance_deliveries",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        *_leased(),
        sa.Column("last_status", sa.Integer),
        sa.UniqueConstraint("event_id", "target", name="governance_delivery_once"),
        sa.Index("governance_delivery_due", "target", "state", "position"),
        sa.Index("governance_delivery_order", "target", "position"),
    )
    op.create_table(
        "governance_tasks",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("uid", sa.String(64), nullable=False, unique=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("version_uid", sa.String(64), nullable=False),
        *_leased(),
        sa.Index("governance_task_due", "state", "next_at"),
    )


def _leased() -> list[sa.Column[object]]:
    return [
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", Moment, nullable=False),
        sa.Column("lease", sa.String(32), nullable=False),
        sa.Column("lease_until", Moment),
        sa.Column("last_error", sa.Text, nullable=False),
    ]
