"""Events as other systems are told of them, made from the ledger's entries.

An event is made when it is delivered. Nothing is kept twice, and whoever was erased in between is
not named any more.
"""

from __future__ import annotations

import sqlalchemy as sa

from mlflow_governance.core import canonical
from mlflow_governance.errors import GovernanceError, NotFound
from mlflow_governance.ledger import entry
from mlflow_governance.store.ledger_proofs import tree_of
from mlflow_governance.store.ledger_table import resolve_private
from mlflow_governance.store.tables import as_bytes, ledger_entries

_STORED = sa.select(ledger_entries.c.entry).where(
    ledger_entries.c.position == sa.bindparam("index", type_=sa.BigInteger)
)


def event_id(index: int, data: bytes) -> str:
    """The id an entry is told under; one that somebody changed is told of by its index."""
    try:
        return str(entry.read_entry(data)["event_id"])
    except GovernanceError:
        return f"entry-{index}"


def event_body(connection: sa.Connection, index: int) -> bytes:
    """The event of an entry: the same bytes at every asking, but for who was erased.

    Raises:
        NotFound: there is no such entry any more.
        LedgerError: the entry, or a name behind it, is not what was recorded.
    """
    data = as_bytes(connection.execute(_STORED, {"index": index}).scalar() or b"")
    if not data:
        raise NotFound(f"entry {index} is not there, or was deleted after its retention")
    document = entry.read_entry(data)
    clear = resolve_private(connection, entry.commitments_of(document).values())
    root = tree_of(connection, index + 1).compact(index + 1).root
    return canonical.encode(entry.event_document(document, clear, root))
