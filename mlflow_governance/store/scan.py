"""Every value of every table that names a person: what is kept of them, or what is left of them.

All tables of the database are read as they are found, MLflow's included, so that none is forgotten
that a later version of MLflow brings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core import moment
from mlflow_governance.core.mentions import mentions
from mlflow_governance.core.person import Person
from mlflow_governance.ledger.entry import read_entry
from mlflow_governance.store import tables
from mlflow_governance.store.tables import as_bytes
from mlflow_governance.store.versions import Rows
from mlflow_governance.workflows.privacy import ActOf, Trace

_CHUNK = 1000
_MOMENTS = (
    "at", "created_at", "creation_time", "start_time", "creation_timestamp", "created_timestamp",
    "timestamp_ms",
)  # fmt: skip
_SEALED = re.compile(rb'"(?:actor|reason)":"(sha256:[0-9a-f]{64})"')


class PersonReading(Rows):
    """Reads what is kept of a person."""

    def traces(self, person: Person) -> Iterator[Trace]:
        """Every value that names them, of every table, MLflow's among them."""
        return traces(self._connection, person)

    def acts_of(self, person: Person) -> list[ActOf]:
        """The ledger entries they made, oldest first."""
        reasons = {
            row.commitment: row.text
            for row in self._connection.execute(sa.select(tables.private))
            if person.is_(row.person)
        }
        return [_act(data, reasons) for data in self._entries_with(reasons)] if reasons else []

    def _entries_with(self, commitments: Mapping[str, str]) -> Iterator[bytes]:
        column = tables.ledger_entries.c
        query = sa.select(column.position, column.entry).order_by(column.position).limit(_CHUNK)
        after = -1
        while rows := self._connection.execute(query.where(column.position > after)).all():
            for row in rows:
                data = as_bytes(row.entry)
                if any(found.decode() in commitments for found in _SEALED.findall(data)):
                    yield data
            after = rows[-1].position


def _act(data: bytes, reasons: Mapping[str, str]) -> ActOf:
    entry = read_entry(data)
    reason = reasons.get(entry["reason"] or "")
    return ActOf(entry["index"], entry["act"], entry["at"], entry["subject"], reason)


def traces(connection: sa.Connection, person: Person) -> Iterator[Trace]:
    """Every value that names somebody, table by table.

    Args:
        connection: a database; its tables are those of the schema it works in.
        person: who.
    """
    found = sa.MetaData()
    found.reflect(connection, resolve_fks=False)
    for name in sorted(found.tables):
        yield from _of_table(connection, found.tables[name], person)


def _of_table(connection: sa.Connection, table: sa.Table, person: Person) -> Iterator[Trace]:
    searched = [column for column in table.c if _may_name(column)]
    if not searched:
        return
    key = list(table.primary_key.columns) or [c for c in table.c if c not in searched]
    dated = [table.c[name] for name in _MOMENTS if name in table.c][:1]
    columns = list({column.name: column for column in (*key, *dated, *searched)}.values())
    # As they are stored: a value that does not fit its column's type must not stop the search.
    query = sa.select(*(sa.type_coerce(c, _plain(c)).label(c.name) for c in columns))
    rows = connection.execution_options(yield_per=_CHUNK).execute(query)
    for row in rows.mappings():
        for column in searched:
            for mention in mentions(person, row[column.name]):
                yield Trace(
                    table=table.name,
                    column=column.name,
                    key=_key(connection, table, row, key),
                    path=mention.path,
                    text=mention.text,
                    at=_moment(row[dated[0].name]) if dated else "",
                )


def _may_name(column: sa.Column[Any]) -> bool:
    # SQLite has types of its own making; what is no number and no truth value is looked at.
    return not isinstance(column.type, sa.Numeric | sa.Integer | sa.Boolean | sa.DateTime)


def _plain(column: sa.Column[Any]) -> sa.types.TypeEngine[Any]:
    return sa.types.NullType() if _may_name(column) else column.type


def _key(
    connection: sa.Connection,
    table: sa.Table,
    row: Mapping[Any, Any],
    key: Sequence[sa.Column[Any]],
) -> dict[str, Any]:
    told = {c.name: row[c.name] for c in key if isinstance(row[c.name], str | int)}
    if table.name == tables.blobs.name:
        told["of"] = _owners(connection, str(row["digest"]))
    return told


def _owners(connection: sa.Connection, digest: str) -> list[str]:
    # Which version a stored document hangs on, and by which path.
    files, versions = tables.files.c, tables.versions.c
    query = (
        sa.select(versions.name, versions.version, files.role, files.path)
        .join(tables.versions, versions.uid == files.version_uid)
        .where(files.digest == digest)
    )
    rows = connection.execute(query)
    return sorted(f"{r.name}/{r.version} {r.role} {r.path}" for r in rows)


def _moment(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):  # MLflow: milliseconds
        try:
            return moment.to_text(datetime.fromtimestamp(value / 1000, UTC))
        except (ValueError, OverflowError, OSError):
            return ""
    return value if isinstance(value, str) else ""
