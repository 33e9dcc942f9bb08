"""Letting entries go whose time is over, with the rows that only they refer to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from mlflow_governance.errors import Conflict
from mlflow_governance.store import tables
from mlflow_governance.store.versions import Rows
from mlflow_governance.workflows.retention import Passing

_BATCH = 500
"""Values in a statement: databases bound the parameters of one."""
EXPIRED = "expired"
"""What stands where an entry's act stood."""

_REFERRING = (
    tables.files.c.digest,
    tables.versions.c.digest,
    tables.decisions.c.dossier_digest,
    tables.policies.c.archive_digest,
    tables.policy_proposals.c.archive_digest,
    tables.policy_differences.c.dossier,
)
"""Every column that names a document, besides entries (which name documents of trust policies)."""


class RetentionWriting(Rows):
    """Deletes what is past its time (:class:`workflows.retention.Expiring`)."""

    def let_go(self, entries: Iterable[Passing]) -> None:
        """Delete the bytes of entries, and what only they refer to.

        Raises:
            Conflict: an entry is not there, or its bytes are gone already.
        """
        chosen = list(entries)
        self._blank([entry.position for entry in chosen])
        private, outbox, deliveries = tables.private, tables.outbox, tables.deliveries
        sealed = [text for entry in chosen for text in entry.commitments]
        self._delete(private, private.c.commitment, sealed)
        for table in (outbox, deliveries):
            self._delete(table, table.c.position, [entry.position for entry in chosen])
        named = [entry.decision_id for entry in chosen if entry.decision_id]
        self._forget_decisions(named)
        uids = sorted({entry.uid for entry in chosen if entry.uid})
        self._delete(tables.former, tables.former.c.uid, uids)
        self._drop_unused({digest for entry in chosen for digest in entry.documents})

    def _blank(self, positions: Sequence[int]) -> None:
        table = tables.ledger_entries
        for some in _batches(positions):
            gone = (
                sa.update(table)
                .where(table.c.position.in_(some), sa.func.length(table.c.entry) > 0)
                .values(entry=b"", act=EXPIRED, version_uid="")
            )
            if self._connection.execute(gone).rowcount != len(some):
                raise Conflict(
                    "an entry is gone already", advice="Somebody did the same. Look again."
                )

    def _forget_decisions(self, ids: Sequence[str]) -> None:
        table = tables.decisions
        dossiers: set[str] = set()
        for some in _batches(ids):
            found = sa.select(table.c.dossier_digest).where(table.c.decision_id.in_(some))
            dossiers.update(self._connection.execute(found).scalars())
        self._delete(table, table.c.decision_id, ids)
        self._drop_unused(dossiers)

    def _drop_unused(self, digests: set[str]) -> None:
        for some in _batches(sorted(digests)):
            used = (
                sa.select(sa.literal(1)).where(column == tables.blobs.c.digest).exists()
                for column in _REFERRING
            )
            unused = sa.delete(tables.blobs).where(tables.blobs.c.digest.in_(some))
            self._connection.execute(unused.where(~sa.or_(*used)))

    def _delete(self, table: sa.Table, column: sa.Column[Any], values: Sequence[Any]) -> None:
        for some in _batches(values):
            self._connection.execute(sa.delete(table).where(column.in_(some)))


def _batches(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _BATCH):
        yield values[start : start + _BATCH]
