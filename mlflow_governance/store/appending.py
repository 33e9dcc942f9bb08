"""The statements of one append, which must not cost more than the change they record.

An append writes three tables, and one in 256 a fourth. PostgreSQL takes the three as one statement
(data-modifying WITH), which saves the round trips; other databases take one after the other. All
are built once: building a statement costs more than running it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from mlflow_governance.ledger.nodes import Node
from mlflow_governance.store import tables

_ENTRY = sa.insert(tables.ledger_entries)
_PRIVATE = sa.insert(tables.private)
_HEAD = sa.update(tables.ledger_head).where(tables.ledger_head.c.id == 1)
_HEAD_COLUMNS = ("size", "compact_range", "note")
_NODES = sa.insert(tables.ledger_nodes)


def write(
    connection: sa.Connection,
    entry: Mapping[str, Any],
    private: Sequence[Mapping[str, Any]],
    head: Mapping[str, Any],
    nodes: Sequence[Node] = (),
) -> None:
    """Write one append.

    Args:
        connection: inside the transaction of the change.
        entry: its row.
        private: a row for each commitment in it; at least the actor's.
        head: the columns of the head row.
        nodes: the subtrees it completes.
    """
    if nodes:
        connection.execute(_NODES, [node._asdict() for node in nodes])
    if connection.dialect.name == "postgresql":
        parts = {"entry": entry, "head": head, **{f"p{n}": row for n, row in enumerate(private)}}
        flat = {f"{part}_{key}": v for part, row in parts.items() for key, v in row.items()}
        connection.execute(_at_once(len(private)), flat)
        return
    connection.execute(_ENTRY, entry)
    connection.execute(_PRIVATE, private)
    connection.execute(_HEAD, head)


@cache
def _at_once(commitments: int) -> sa.Update:
    """One statement for an entry with so many commitments: one to three."""
    inserts = {"entry": tables.ledger_entries}
    inserts |= {f"p{number}": tables.private for number in range(commitments)}
    parts = (
        sa.insert(table).values(_binds(part, table, tuple(table.c.keys()))).cte(part)
        for part, table in inserts.items()
    )
    values = _binds("head", tables.ledger_head, _HEAD_COLUMNS)
    return _HEAD.values(values).add_cte(*parts)


def _binds(part: str, table: sa.Table, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: sa.bindparam(f"{part}_{name}", type_=table.c[name].type) for name in names}
