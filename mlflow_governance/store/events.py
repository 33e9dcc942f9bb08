"""Events as other systems are told of them, made from the ledger's entries.

An event is made when it is delivered. Nothing is kept twice, and whoever was erased in between is
not named any more.
"""

from __future__ import annotations

import re

import sqlalchemy as sa

from mlflow_governance.core import canonical
from mlflow_governance.errors import GovernanceError, LedgerError, NotFound
from mlflow_governance.ledger import checkpoint, entry, merkle
from mlflow_governance.store.ledger_proofs import tree_of
from mlflow_governance.store.ledger_table import resolve_private
from mlflow_governance.store.tables import as_bytes, as_text, ledger_entries, ledger_head

_STORED = sa.select(ledger_entries.c.entry).where(
    ledger_entries.c.position == sa.bindparam("index", type_=sa.BigInteger)
)
_NOTE = sa.select(ledger_head.c.note)
_ID = re.compile(r"[!-~]{1,64}")


def event_id(index: int, data: bytes, leaf: bytes) -> str:
    """The id an entry is told under; one that somebody changed is told of by its index."""
    try:
        found = entry.read_entry(data).get("event_id") if merkle.leaf_hash(data) == leaf else None
    except GovernanceError:
        found = None
    return found if isinstance(found, str) and _ID.fullmatch(found) else f"entry-{index}"


def event_body(connection: sa.Connection, index: int) -> bytes:
    """The event of an entry: the same bytes at every asking, but for who was erased.

    Raises:
        NotFound: there is no such entry any more.
        LedgerError: the entry, or a name behind it, is not what was recorded.
    """
    data = as_bytes(connection.execute(_STORED, {"index": index}).scalar() or b"")
    if not data:
        raise NotFound(f"entry {index} is not there, or was deleted after its retention")
    root = _root(connection, index, merkle.leaf_hash(data))
    document = entry.read_entry(data)
    clear = resolve_private(connection, entry.commitments_of(document).values())
    return canonical.encode(entry.event_document(document, clear, root))


def _root(connection: sa.Connection, index: int, leaf: bytes) -> bytes:
    """The root once this leaf was appended.

    Raises:
        LedgerError: the head is of no ledger that this leaf was appended to.
    """
    size, head = index + 1, checkpoint.parse(as_text(connection.execute(_NOTE).scalar_one()))
    path = tree_of(connection, size).inclusion(index)
    root = merkle.root_from_inclusion(index, size, leaf, path)
    onwards = tree_of(connection, head.size).consistency(size)
    try:
        merkle.verify_consistency((size, root), (head.size, head.root), onwards)
    except LedgerError as error:
        raise LedgerError(f"entry {index} is not the one that was recorded") from error
    return root
