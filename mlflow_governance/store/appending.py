"""The statements of one append, which must not cost more than the change they record.

An append writes four tables, and one in 256 a fifth. PostgreSQL takes the four as one statement
(data-modifying WITH), which saves the round trips; other databases take one after the other. All
are built once: building a statement costs more than running it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from mlflow_governance.ledger.nodes import Node
from mlflow_governance.store import tables

_TABLES = {
    "entry": tables.ledger_entries,
    "name": tables.private,
    "reason": tables.private,
    "event": tables.outbox,
}
_HEAD = sa.update(tables.ledger_head).where(tables.ledger_head.c.id == 1)
_HEAD_COLUMNS = ("size", "compact_range", "note")
_NODES = sa.insert(tables.ledger_nodes)
_INSERTS = {part: sa.insert(table) for part, table in _TABLES.items()}


def _binds(part: str, table: sa.Table, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: sa.bindparam(f"{part}_{name}", type_=table.c[name].type) for name in names}


def _at_once(*parts: str) -> sa.Update:
    inserts = (
        sa.insert(_TABLES[part])
        .values(_binds(part, _TABLES[part], tuple(_TABLES[part].c.keys())))
        .cte(part)
        for part in parts
    )
    values = _binds("head", tables.ledger_head, _HEAD_COLUMNS)
    return _HEAD.values(values).add_cte(*inserts)


_WITHOUT_REASON = _at_once("entry", "name", "event")
_WITH_REASON = _at_once("entry", "name", "reason", "event")


def write(
    connection: sa.Connection, parts: Mapping[str, Mapping[str, Any]], nodes: Sequence[Node] = ()
) -> None:
    """Write one append.

    Args:
        connection: inside the transaction of the change.
        parts: a row each for ``entry``, ``name``, ``event``, ``head``, and ``reason`` if any.
        nodes: the subtrees it completes.
    """
    if nodes:
        connection.execute(_NODES, [node._asdict() for node in nodes])
    if connection.dialect.name == "postgresql":
        statement = _WITH_REASON if "reason" in parts else _WITHOUT_REASON
        flat = {f"{part}_{key}": v for part, row in parts.items() for key, v in row.items()}
        connection.execute(statement, flat)
        return
    for part, row in parts.items():
        connection.execute(_HEAD if part == "head" else _INSERTS[part], row)
