"""Recorded decisions in the order they were made, as rows stand; nothing is parsed here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core.digest import of_bytes
from mlflow_governance.core.dossier import Gate
from mlflow_governance.store.redactions import replaced
from mlflow_governance.store.sessions import SessionFactory, transaction
from mlflow_governance.store.tables import as_bytes, blobs, decisions
from mlflow_governance.workflows.validation.books import DecisionRow

_CHUNK = 500
"""Rows a statement: a dossier has some ten kibibytes."""
_COLUMNS = (
    "decision_id", "version_uid", "gate", "allow", "document", "digest", "dossier_digest",
)  # fmt: skip


class SqlDecisions:
    """Reads recorded decisions. Safe to share between threads.

    Rows do not change but by an erasure, so a long reading is many short transactions.

    Args:
        sessions: where sessions come from.
    """

    def __init__(self, sessions: SessionFactory) -> None:
        self._sessions = sessions

    def last(self) -> int:
        """The highest row id; 0 when nothing was ever decided."""
        return self._scalar(sa.select(sa.func.max(decisions.c.id))) or 0

    def newest(self, count: int, gates: Sequence[Gate] = ()) -> int:
        """The row id before the newest ``count`` decisions of these gates (all, if none)."""
        query = sa.select(decisions.c.id).where(*_of(gates)).order_by(decisions.c.id.desc())
        first = self._scalar(query.offset(count - 1).limit(1))
        return 0 if first is None else first - 1

    def rows(self, after: int, last: int, gates: Sequence[Gate] = ()) -> Iterator[DecisionRow]:
        """Decisions with a row id above ``after`` and up to ``last``, ascending."""
        query = decision_rows().where(decisions.c.id <= last, *_of(gates)).order_by(decisions.c.id)
        while found := self._read(query.where(decisions.c.id > after).limit(_CHUNK)):
            yield from (row for _, row in found)
            after = found[-1][0]

    def after(self, position: int, limit: int) -> list[tuple[int, DecisionRow]]:
        """At most so many decisions with a row id above ``position``, ascending, each with it."""
        query = decision_rows().where(decisions.c.id > position).order_by(decisions.c.id)
        return self._read(query.limit(limit))

    def one(self, decision_id: str) -> DecisionRow | None:
        """The decision of that id."""
        found = self._read(decision_rows().where(decisions.c.decision_id == decision_id))
        return found[0][1] if found else None

    def _scalar(self, query: sa.Select[Any]) -> int | None:
        with transaction(self._sessions, read_only=True) as session:
            found: int | None = session.connection().execute(query).scalar()
            return found

    def _read(self, query: sa.Select[Any]) -> list[tuple[int, DecisionRow]]:
        with transaction(self._sessions, read_only=True) as session:
            connection = session.connection()
            rows = [(row.id, to_decision_row(row)) for row in connection.execute(query)]
            return as_kept(connection, rows)


def as_kept(
    connection: sa.Connection, rows: list[tuple[int, DecisionRow]]
) -> list[tuple[int, DecisionRow]]:
    """Rows with what took the place of documents that named somebody who was erased."""
    # Only what is not as it was recorded is looked up: most never was redacted.
    gone = {row.dossier_digest for _, row in rows if row.dossier is None}
    changed = {row.digest for _, row in rows if of_bytes(row.document) != row.digest}
    now = replaced(connection, gone | changed) if gone or changed else {}
    if not now:
        return rows
    wanted = sorted({now[digest] for digest in gone & now.keys()})
    query = sa.select(blobs.c.digest, blobs.c.data).where(blobs.c.digest.in_(wanted))
    kept = {row.digest: as_bytes(row.data) for row in connection.execute(query)}
    return [
        (
            number,
            row._replace(
                document_now=now.get(row.digest, "") if row.digest in changed else "",
                dossier_now=now.get(row.dossier_digest, "") if row.dossier is None else "",
                dossier=row.dossier or kept.get(now.get(row.dossier_digest, "")),
            ),
        )
        for number, row in rows
    ]


def _of(gates: Sequence[Gate]) -> list[sa.ColumnElement[bool]]:
    return [decisions.c.gate.in_([gate.value for gate in gates])] if gates else []


def decision_rows() -> sa.Select[Any]:
    """The query of decisions, each with its dossier."""
    return (
        sa.select(
            decisions.c.id,
            *(decisions.c[name] for name in _COLUMNS),
            blobs.c.data.label("dossier"),
        )
        .select_from(decisions)
        .outerjoin(blobs, blobs.c.digest == decisions.c.dossier_digest)
    )


def to_decision_row(row: sa.Row[Any]) -> DecisionRow:
    """A row of that query as the workflows read it."""
    values = {name: getattr(row, name) for name in _COLUMNS}
    values["document"] = as_bytes(row.document)
    return DecisionRow(**values, dossier=None if row.dossier is None else as_bytes(row.dossier))
