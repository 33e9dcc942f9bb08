"""What an evidence bundle is collected from (:class:`workflows.evidence_ports.EvidenceReading`).

Rows are given as they stand: whoever collects them checks them, and names the one that is not
what was stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core.digest import Digest
from mlflow_governance.core.event import Act
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.ledger.redaction import Redaction
from mlflow_governance.store import tables
from mlflow_governance.store.decisions import as_kept, decision_rows, to_decision_row
from mlflow_governance.store.documents import Role
from mlflow_governance.store.ledger_proofs import tree_of
from mlflow_governance.store.redactions import of_erasure
from mlflow_governance.store.tables import as_bytes
from mlflow_governance.store.versions import Rows
from mlflow_governance.workflows.evidence_ports import GivenWord, LinkedFile, Opening
from mlflow_governance.workflows.ports import ApprovalRecord
from mlflow_governance.workflows.validation.books import DecisionRow

_CHUNK = 500
"""Parameters of a statement, and rows read at a time."""


class EvidenceRows(Rows):
    """Reads rows and bytes for an auditor."""

    def uids_of(self, ref: VersionRef) -> list[str]:
        """Every version that has or had this name and number, the deleted ones first."""
        return self._uids(workspace=ref.workspace, name=ref.name, version=ref.version)

    def uids_of_model(self, name: str, workspace: str) -> list[str]:
        """Every version that has or had this name."""
        return self._uids(workspace=workspace, name=name)

    def indices_about(self, uids: Iterable[str], acts: Sequence[Act] = ()) -> list[int]:
        """Entries about these versions, by these acts only if any is named; ascending."""
        table = tables.ledger_entries.c
        of = [table.act.in_([act.value for act in acts])] if acts else []
        query = sa.select(table.position).where(*of)
        return sorted(row.position for row in self._among(query, table.version_uid, uids))

    def indices_of(self, acts: Sequence[Act]) -> list[int]:
        """Entries of these acts, ascending."""
        table = tables.ledger_entries.c
        return self._indices(table.act.in_([act.value for act in acts]))

    def indices_between(self, since: datetime, until: datetime) -> list[int]:
        """Entries from ``since`` on and before ``until``, ascending."""
        table = tables.ledger_entries.c
        return self._indices(table.at >= since, table.at < until)

    def entries_at(self, indices: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """The stored bytes of these entries, ascending; what is not there is left out.

        There are no bytes of one that was deleted after its retention.
        """
        table = tables.ledger_entries.c
        query = sa.select(table.position, table.entry).order_by(table.position)
        for row in self._among(query, table.position, indices):
            yield row.position, as_bytes(row.entry)

    def head(self) -> str:
        """The signed note of the whole ledger."""
        return str(self._connection.execute(sa.select(tables.ledger_head.c.note)).scalar_one())

    def handovers(self) -> list[str]:
        """The notes that may tell of another key of the ledger, unchecked."""
        note = tables.ledger_checkpoints.c.note
        query = sa.select(note).where(note.contains("ledger.rekeyed"))
        return list(self._connection.execute(query).scalars())

    def inclusion_paths(self, indices: Iterable[int], size: int) -> Mapping[int, tuple[bytes, ...]]:
        """The RFC 6962 inclusion proof of each entry in the ledger of ``size`` entries, unchecked.

        Raises:
            LedgerError: there is no such entry, or what leads to it is not kept.
        """
        tree = tree_of(self._connection, size)
        return {index: tuple(tree.inclusion(index)) for index in sorted(set(indices))}

    def openings(self, commitments: Iterable[str]) -> dict[str, Opening]:
        """What these commitments stand for; an erased one is not among them, nothing is checked."""
        table = tables.private.c
        rows = self._among(sa.select(tables.private), table.commitment, commitments)
        return {
            row.commitment: Opening(as_bytes(row.salt), str(row.text), str(row.person))
            for row in rows
            if row.salt  # without one it is the pseudonym of somebody who was erased
        }

    def erasures_of(self, digests: Iterable[str]) -> set[int]:
        """Indices of the erasures of people that replaced these documents and texts, or what had
        replaced them before."""
        found: set[int] = set()
        table, seen, wanted = tables.redactions, set(), set(digests)
        while wanted:
            rows = list(self._among(sa.select(table), table.c.digest, wanted))
            found.update(row.position for row in rows)
            seen |= wanted
            wanted = {row.replacement for row in rows} - seen
        return found

    def erasure(self, index: int) -> list[Redaction]:
        """Everything an erasure is said to have replaced, unchecked."""
        return of_erasure(self._connection, index)

    def decision_row(self, decision_id: str) -> DecisionRow | None:
        """A stored decision and its dossier, unchecked."""
        query = decision_rows().where(tables.decisions.c.decision_id == decision_id)
        found = self._connection.execute(query).first()
        if found is None:
            return None
        ((_, row),) = as_kept(self._connection, [(found.id, to_decision_row(found))])
        return row

    def decisions_about(self, uids: Iterable[str]) -> list[str]:
        """The ids of every stored decision about these versions, oldest first."""
        table = tables.decisions.c
        rows = self._among(sa.select(table.id, table.decision_id), table.version_uid, uids)
        return [decision_id for _, decision_id in sorted(map(tuple, rows))]

    def words_about(self, version_uid: str) -> list[GivenWord]:
        """What everybody said of a version, oldest first, withdrawn or not."""
        table = tables.approvals.c
        columns = [table[name] for name in ApprovalRecord.__dataclass_fields__]
        query = sa.select(*columns, table.withdrawn).where(table.version_uid == version_uid)
        rows = self._connection.execute(query.order_by(table.id))
        return [GivenWord(ApprovalRecord(*row[:-1]), bool(row[-1])) for row in rows]

    def linked_files(self, version_uid: str) -> list[LinkedFile]:
        """What hangs on a version, by path."""
        table = tables.files.c
        query = sa.select(table.role, table.path, table.digest).where(
            table.version_uid == version_uid
        )
        rows = self._connection.execute(query.order_by(table.role, table.path))
        attached = Role.ATTACHMENT.value
        return [LinkedFile(row.role == attached, row.path, row.digest) for row in rows]

    def stored_document(self, digest: Digest) -> bytes | None:
        """The bytes stored under this digest, unchecked; None where they were removed."""
        query = sa.select(tables.blobs.c.data).where(tables.blobs.c.digest == digest)
        data = self._connection.execute(query).scalar()
        return None if data is None else as_bytes(data)

    def _uids(self, **key: object) -> list[str]:
        found: list[str] = []
        for table in (tables.former, tables.versions):
            same = [table.c[name] == value for name, value in key.items()]
            found += self._connection.execute(sa.select(table.c.uid).where(*same)).scalars()
        return found

    def _indices(self, *conditions: sa.ColumnElement[bool]) -> list[int]:
        column = tables.ledger_entries.c.position
        query = sa.select(column).where(*conditions).order_by(column)
        return list(self._connection.execute(query).scalars())

    def _among(
        self, query: sa.Select[Any], column: sa.ColumnElement[Any], values: Iterable[object]
    ) -> Iterator[sa.Row[Any]]:
        wanted = sorted(set(values))  # type: ignore[type-var]
        for start in range(0, len(wanted), _CHUNK):
            part = query.where(column.in_(wanted[start : start + _CHUNK]))
            yield from self._connection.execute(part).all()
