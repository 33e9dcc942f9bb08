"""What a ledger takes of the disk, a table with its indexes at a time."""

from __future__ import annotations

import sqlalchemy as sa

from benchmarks.report import Row, Spread, number
from mlflow_governance.store.sessions import Sessions

_AIM = 1000
_TABLES = ("ledger_entries", "ledger_nodes", "private")
_SQLITE = """
SELECT m.tbl_name, sum(s.pgsize) FROM dbstat s JOIN sqlite_schema m ON m.name = s.name
GROUP BY m.tbl_name"""
_POSTGRESQL = """
SELECT relname, pg_total_relation_size(oid) FROM pg_class
WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"""


def room(kind: str, sessions: Sessions) -> Row:
    """Bytes an entry, with its names and what is kept of the tree."""
    query = _SQLITE if kind == "SQLite" else _POSTGRESQL
    try:
        with sessions.engine.connect() as connection:
            taken = {row[0]: int(row[1]) for row in connection.exec_driver_sql(query)}
            count = sa.text("SELECT count(*) FROM governance_ledger_entries")
            entries = connection.execute(count).scalar_one()
    except sa.exc.OperationalError:
        return Row.absent(f"ledger: room on {kind}", "this SQLite was built without dbstat")
    each = {name: taken[f"governance_{name}"] / entries for name in _TABLES}
    total = sum(each.values())
    return Row(
        f"ledger: room of one of {entries:,} entries on {kind}",
        "bytes",
        Spread(total),
        compared=", ".join(f"{name} {number(size)}" for name, size in each.items()),
        aim=f"≤ {_AIM:,}",
        met=total <= _AIM,
    )
