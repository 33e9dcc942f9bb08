"""Our tables. They share MLflow's database and nothing else with it.

They stand in a MetaData of their own (MLflow re-initialises when its own has unknown tables) and
have no foreign keys to MLflow's, whose migrations rebuild tables and whose names may change.
Text that is compared or searched by prefix is compared by bytes on every database.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from mlflow_governance.core import moment
from mlflow_governance.store.packing import Packed

metadata = sa.MetaData()


class Moment(TypeDecorator[datetime]):
    """An instant as RFC 3339 text of fixed width, so that text order is time order."""

    impl = sa.String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """Text for the database."""
        return None if value is None else moment.to_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """The instant in a row."""
        return None if value is None else moment.parse(value)


def exact(length: int) -> sa.String:
    """Text compared byte by byte, as SQLite does anyway."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def as_bytes(value: object) -> bytes:
    """The bytes of a binary column; SQLite gives back whatever type somebody wrote."""
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()


def as_text(value: object) -> str:
    """The same of a column of text."""
    return value if isinstance(value, str) else as_bytes(value).decode("utf-8", "replace")


def _digest() -> sa.String:
    return sa.String(71)


versions = sa.Table(
    "governance_versions",
    metadata,
    sa.Column("uid", sa.String(64), primary_key=True),
    sa.Column("workspace", sa.String(63), nullable=False),
    sa.Column("name", sa.String(256), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("stage", sa.String(20), nullable=False, index=True),
    sa.Column("location", exact(1000), nullable=False, index=True),
    sa.Column("submitter", sa.Text, nullable=False),
    sa.Column("digest", _digest(), index=True),
    sa.Column("policy_digest", _digest()),
    sa.Column("quarantined_from", sa.String(20)),
    sa.Column("decision_id", sa.String(64), nullable=False),
    sa.Column("facts", sa.LargeBinary),
    sa.Column("trust_digest", _digest()),
    sa.Column("created_at", Moment, nullable=False, index=True),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.UniqueConstraint("workspace", "name", "version", name="governance_version_ref"),
)

blocked = sa.Table(
    "governance_blocked",
    metadata,
    sa.Column("digest", _digest(), primary_key=True),
    sa.Column("stage", sa.String(20), nullable=False),
    sa.Column("at", Moment, nullable=False),
)

aliases = sa.Table(
    "governance_aliases",
    metadata,
    sa.Column("workspace", sa.String(63), primary_key=True),
    sa.Column("name", exact(256), primary_key=True),
    sa.Column("alias", exact(256), primary_key=True),
    sa.Column("version", sa.Integer),
    sa.Column("before", sa.Integer),
    sa.Column("at", Moment, nullable=False),
)
"""Where an alias of a governed model points, and where it pointed before; NULL is nowhere."""

former = sa.Table(
    "governance_former_versions",
    metadata,
    sa.Column("uid", sa.String(64), primary_key=True),
    sa.Column("workspace", sa.String(63), nullable=False),
    sa.Column("name", exact(256), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Index("governance_former_ref", "workspace", "name", "version"),
)
"""Versions that were deleted. A name and number used again goes on with their history."""

blobs = sa.Table(
    "governance_blobs",
    metadata,
    sa.Column("digest", _digest(), primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

files = sa.Table(
    "governance_files",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("version_uid", sa.String(64), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("path", exact(1024), nullable=False),
    sa.Column("digest", _digest(), nullable=False),
    sa.Column("mirrored", sa.Boolean, nullable=False),
    sa.UniqueConstraint("version_uid", "role", "path", name="governance_file_path"),
)
"""What hangs on a version by path: its evidence, and what the registry attaches."""

inspections = sa.Table(
    "governance_inspections",
    metadata,
    sa.Column("digest", _digest(), primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
)
"""What reading the files of a content found, by the digest of the content."""

in_force = sa.Table(
    "governance_in_force",
    metadata,
    sa.Column("what", sa.String(32), primary_key=True),
    sa.Column("digest", _digest(), nullable=False),
)
"""What the ledger last said is in force, so that a change of it is noticed and recorded once."""

policies = sa.Table(
    "governance_policies",
    metadata,
    sa.Column("digest", _digest(), primary_key=True),
    sa.Column("archive_digest", _digest(), nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("replaced", Moment),
)
"""Every policy bundle that is or was in force: its archive among the blobs, since when and by which
ledger entry it was in force last, and when another took its place."""

policy_proposals = sa.Table(
    "governance_policy_proposals",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uid", sa.String(64), nullable=False, unique=True),
    sa.Column("digest", _digest(), nullable=False),
    sa.Column("before", _digest(), nullable=False),
    sa.Column("archive_digest", _digest(), nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
)

policy_words = sa.Table(
    "governance_policy_words",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("proposal_uid", sa.String(64), nullable=False, index=True),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("role", sa.String(64), nullable=False),
    sa.Column("decision", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("withdrawn", sa.Boolean, nullable=False),
)
"""What people said of a proposal; a person's later word withdraws the earlier one."""

approvals = sa.Table(
    "governance_approvals",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uid", sa.String(64), nullable=False, unique=True),
    sa.Column("version_uid", sa.String(64), nullable=False, index=True),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("role", sa.String(64), nullable=False),
    sa.Column("decision", sa.String(16), nullable=False),
    sa.Column("model_digest", _digest(), nullable=False),
    sa.Column("policy_digest", _digest(), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("withdrawn", sa.Boolean, nullable=False),
)

decisions = sa.Table(
    "governance_decisions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("decision_id", sa.String(64), nullable=False, unique=True),
    sa.Column("version_uid", sa.String(64), nullable=False, index=True),
    sa.Column("gate", sa.String(16), nullable=False),
    sa.Column("allow", sa.Boolean, nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
    sa.Column("digest", _digest(), nullable=False),
    sa.Column("dossier_digest", _digest(), nullable=False),
)

policy_shadows = sa.Table(
    "governance_policy_shadows",
    metadata,
    sa.Column("shadow", _digest(), primary_key=True),
    sa.Column("asked", sa.BigInteger, nullable=False),
    sa.Column("dropped", sa.BigInteger, nullable=False),
    sa.Column("failed", sa.BigInteger, nullable=False),
    sa.Column("first_at", Moment, nullable=False),
    sa.Column("last_at", Moment, nullable=False),
)
"""Judgements each shadow bundle was asked about."""

policy_differences = sa.Table(
    "governance_policy_differences",
    metadata,
    sa.Column("key", _digest(), primary_key=True),
    sa.Column("live", _digest(), nullable=False),
    sa.Column("shadow", _digest(), nullable=False, index=True),
    sa.Column("gate", sa.String(16), nullable=False),
    sa.Column("version_uid", sa.String(64), nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("verdicts", sa.LargeBinary, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("dossier", _digest(), nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("first_at", Moment, nullable=False),
    sa.Column("last_at", Moment, nullable=False),
)
"""What a shadow bundle said differently, one row for all judgements that differ alike."""

ledger_head = sa.Table(
    "governance_ledger_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("compact_range", sa.LargeBinary, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)
"""One row, id 1. Updating it is how writers take turns."""

ledger_entries = sa.Table(
    "governance_ledger_entries",
    metadata,
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("entry", Packed, nullable=False),
    sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
    sa.Column("act", sa.String(32), nullable=False),
    sa.Column("version_uid", sa.String(64), nullable=False, index=True),
    sa.Column("at", Moment, nullable=False),
    sa.Index("governance_ledger_entry_act", "act", "position"),
)

ledger_nodes = sa.Table(
    "governance_ledger_nodes",
    metadata,
    sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
)
"""Roots of full subtrees of 256^level entries, so that a proof need not read every leaf hash."""

ledger_checkpoints = sa.Table(
    "governance_ledger_checkpoints",
    metadata,
    sa.Column("digest", _digest(), primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("stamp", sa.LargeBinary),
    sa.Column("kept_at", Moment),
    sa.Index("governance_ledger_checkpoint_size", "size"),
)
"""Kept by digest and not by size: two that differ at one size are the proof of a fork. ``note`` has
the cosignatures of witnesses, too; ``stamp`` is a time stamp over its bytes (RFC 3161)."""

checkpoint_places = sa.Table(
    "governance_checkpoint_places",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("content", sa.String(71), nullable=False),
    sa.Column("at", Moment),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("next_at", Moment),
    sa.Column("last_error", sa.Text, nullable=False),
    sa.Column("alarm", sa.Text, nullable=False),
    sa.Column("lease", sa.String(32), nullable=False),
    sa.Column("lease_until", Moment),
)
"""How far each place outside has got: destinations, witnesses (``witness:NAME``), the time stamp
authority. ``content`` is the digest of what it took last, ``alarm`` what contradicts the ledger."""

private = sa.Table(
    "governance_private",
    metadata,
    sa.Column("commitment", _digest(), primary_key=True),
    sa.Column("salt", sa.LargeBinary, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sqlite_with_rowid=False,  # else each commitment is kept twice
)
"""What commitments in the ledger stand for; ``person`` is whom the text is about."""

redactions = sa.Table(
    "governance_redactions",
    metadata,
    sa.Column("digest", _digest(), primary_key=True),
    sa.Column("replacement", sa.String(71), nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False, index=True),
)
"""What an erasure replaced (``ledger.redaction``), and the index of the entry that proves it."""

erasures = sa.Table(
    "governance_erasures",
    metadata,
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("cleaned", Moment),
)
"""Each erasure by the index of its entry; NULL while freed space of the files may hold the name."""

event_places = sa.Table(
    "governance_event_places",
    metadata,
    sa.Column("target", sa.String(64), primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
)
"""The index of the first entry a receiver of events was not looked at for yet."""

deliveries = sa.Table(
    "governance_deliveries",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("event_id", sa.String(64), nullable=False),
    sa.Column("target", sa.String(64), nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_at", Moment, nullable=False),
    sa.Column("lease", sa.String(32), nullable=False),
    sa.Column("lease_until", Moment),
    sa.Column("last_error", sa.Text, nullable=False),
    sa.Column("last_status", sa.Integer),
    sa.UniqueConstraint("event_id", "target", name="governance_delivery_once"),
    sa.Index("governance_delivery_due", "target", "state", "position"),
    sa.Index("governance_delivery_order", "target", "position"),
)

tasks = sa.Table(
    "governance_tasks",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uid", sa.String(64), nullable=False, unique=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("version_uid", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_at", Moment, nullable=False),
    sa.Column("lease", sa.String(32), nullable=False),
    sa.Column("lease_until", Moment),
    sa.Column("last_error", sa.Text, nullable=False),
    sa.Index("governance_task_due", "state", "next_at"),
)

log_places = sa.Table(
    "governance_log_places",
    metadata,
    sa.Column("sink", sa.String(64), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("dropped", sa.BigInteger, nullable=False),
    sa.Column("last_error", sa.Text, nullable=False),
    sa.Column("lease", sa.String(32), nullable=False),
    sa.Column("lease_until", Moment),
)
"""How far each sink of the decision log is, by the id of the last decision it has."""

repeats = sa.Table(
    "governance_repeats",
    metadata,
    sa.Column("key", _digest(), primary_key=True),
    sa.Column("event", sa.LargeBinary, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("decision_id", sa.String(64), nullable=False),
    sa.Column("told", sa.BigInteger, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("first_at", Moment, nullable=False, index=True),
    sa.Column("last_at", Moment, nullable=False),
)
"""Denials of one kind in a period: how many there were, and how many have an entry of their own."""
