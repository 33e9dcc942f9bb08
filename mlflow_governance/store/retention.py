"""Letting entries go whose time is over, with the rows that only they refer to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core import canonical
from mlflow_governance.errors import Conflict, InvalidRequest
from mlflow_governance.ledger.gone import EXPIRED, LASTING
from mlflow_governance.store import tables
from mlflow_governance.store.redactions import replaced
from mlflow_governance.store.sessions import Sessions
from mlflow_governance.store.tables import as_bytes
from mlflow_governance.store.versions import Rows
from mlflow_governance.workflows.retention import Passing

_BATCH = 500
"""Values in a statement: databases bound the parameters of one."""
_PERSONAL = (
    tables.private, tables.deliveries, tables.decisions, tables.blobs,
    tables.ledger_entries, tables.former, tables.policy_differences,
)  # fmt: skip
"""Tables that something was deleted from."""
_REFERRING = (
    tables.files.c.digest,
    tables.versions.c.digest,
    tables.decisions.c.dossier_digest,
    tables.policies.c.archive_digest,
    tables.policy_proposals.c.archive_digest,
    tables.policy_differences.c.dossier,
    tables.in_force.c.digest,
)
"""Every column that names a document, besides entries (which name documents of trust policies)."""


class RetentionWriting(Rows):
    """Deletes what is past its time (:class:`workflows.retention.Expiring`)."""

    def let_go(self, entries: Iterable[Passing]) -> None:
        """Delete the bytes of entries, and what only they refer to.

        Raises:
            Conflict: an entry is not there, or its bytes are gone already.
        """
        if self._connection.dialect.name == "sqlite":  # else what was written stays in the file
            self._connection.exec_driver_sql("PRAGMA secure_delete = ON")
        chosen = list(entries)
        self._blank([entry.position for entry in chosen])
        sealed = [text for entry in chosen for text in entry.commitments]
        self._delete(tables.private.c.commitment, sealed)
        self._delete(tables.deliveries.c.position, [entry.position for entry in chosen])
        uids = sorted({entry.uid for entry in chosen if entry.uid})
        self._delete(tables.former.c.uid, uids)
        self._delete(tables.policy_differences.c.version_uid, uids)
        documents = {digest for entry in chosen for digest in entry.documents}
        documents |= self._forget([e.decision_id for e in chosen if e.decision_id])
        self._drop_unused(documents)

    def _blank(self, positions: Sequence[int]) -> None:
        table = tables.ledger_entries
        lasting = [act.value for act in LASTING]
        for some in _batches(positions):
            gone = (
                sa.update(table)
                .where(table.c.position.in_(some), sa.func.length(table.c.entry) > 0)
                .where(table.c.act.not_in(lasting))
                .values(entry=b"", act=EXPIRED, version_uid="")
            )
            if self._connection.execute(gone).rowcount != len(some):
                raise Conflict(
                    "an entry is gone already", advice="Somebody did the same. Look again."
                )

    def _forget(self, decisions: Sequence[str]) -> set[str]:
        """Delete decisions; returns the digests of their dossiers, and of what was attached."""
        table = tables.decisions.c
        mine = self._dossiers(table.decision_id, decisions)
        self._delete(table.decision_id, decisions)
        dossiers = mine - self._dossiers(table.dossier_digest, sorted(mine))
        attached = set(self._attached(dossiers))
        if attached:
            # What hangs on versions that live is in a table; of those deleted later it is not.
            former = self._connection.execute(sa.select(tables.former.c.uid)).scalars().all()
            attached.difference_update(self._attached(self._dossiers(table.version_uid, former)))
        return dossiers | attached

    def _dossiers(self, column: sa.Column[str], values: Sequence[str]) -> set[str]:
        """Digests of the dossiers of decisions, and of what stands in their place."""
        found: set[str] = set()
        for some in _batches(values):
            query = sa.select(tables.decisions.c.dossier_digest).where(column.in_(some))
            found.update(self._connection.execute(query).scalars())
        return found | set(replaced(self._connection, found).values())

    def _attached(self, dossiers: Iterable[str]) -> Iterator[str]:
        for some in _batches(sorted(dossiers)):
            query = sa.select(tables.blobs.c.data).where(tables.blobs.c.digest.in_(some))
            for data in self._connection.execute(query).scalars():
                try:
                    found = canonical.decode_object(as_bytes(data)).get("attached", ())
                    yield from [str(one["digest"]) for one in found]
                except (InvalidRequest, TypeError, KeyError):
                    continue  # it was changed: what it names is not for us to delete

    def _drop_unused(self, digests: set[str]) -> None:
        for some in _batches(sorted(digests)):
            used = (
                sa.select(sa.literal(1)).where(column == tables.blobs.c.digest).exists()
                for column in _REFERRING
            )
            unused = sa.delete(tables.blobs).where(tables.blobs.c.digest.in_(some))
            self._connection.execute(unused.where(~sa.or_(*used)))

    def _delete(self, column: sa.Column[Any], values: Sequence[Any]) -> None:
        for some in _batches(values):
            self._connection.execute(sa.delete(column.table).where(column.in_(some)))


def clean(sessions: Sessions) -> None:
    """Have the database's files forget what was deleted, as far as it lets us; others may work.

    SQLite overwrote it already, but for its journal. PostgreSQL has the room used again.
    """
    with sessions.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        elif connection.dialect.name == "postgresql":
            names = ", ".join(table.name for table in _PERSONAL)
            connection.exec_driver_sql(f"VACUUM {names}")


def _batches(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _BATCH):
        yield values[start : start + _BATCH]
