"""What stands in the place of erased documents and texts, as far as the ledger proves it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger.entry import read_entry
from mlflow_governance.ledger.redaction import Redaction, proves
from mlflow_governance.store.tables import ledger_entries, redactions

_CHUNK = 500
_MOST_TIMES = 1000
"""One document names fewer people who are erased one after the other."""


def replaced(connection: sa.Connection, wanted: Iterable[str]) -> dict[str, str]:
    """What stands now for these digests and commitments; those that stand as they were are absent.

    A document that named several people who were erased one after the other was replaced several
    times: the last one is told. A replacement that no ledger entry proves is none.
    """
    found: dict[str, str] = {}
    proved: dict[int, bool] = {}
    ahead = {digest: digest for digest in wanted}  # where each is by now: where it began
    for _ in range(_MOST_TIMES):
        steps = {}
        for row in _rows(connection, ahead):
            if row.position not in proved:
                proved[row.position] = _is_proved(connection, row.position)
            if proved[row.position]:
                begun = ahead[row.digest]
                found[begun] = row.replacement
                steps[row.replacement] = begun
        if not steps:
            return found
        ahead = steps
    raise LedgerError("what replaced an erased document leads round in a circle")


def of_erasure(connection: sa.Connection, position: int) -> list[Redaction]:
    """Everything an erasure is said to have replaced."""
    table = redactions.c
    query = sa.select(table.digest, table.replacement).where(table.position == position)
    return [Redaction(*row) for row in connection.execute(query)]


def _rows(connection: sa.Connection, wanted: Iterable[str]) -> Iterator[sa.Row[tuple[str, str]]]:
    digests = sorted(wanted)
    for start in range(0, len(digests), _CHUNK):
        part = digests[start : start + _CHUNK]
        yield from connection.execute(sa.select(redactions).where(redactions.c.digest.in_(part)))


def _is_proved(connection: sa.Connection, position: int) -> bool:
    query = sa.select(ledger_entries.c.entry).where(ledger_entries.c.position == position)
    data = connection.execute(query).scalar()
    if data is None:
        return False
    try:
        entry = read_entry(bytes(data))
    except (LedgerError, TypeError, ValueError):
        return False
    return proves(entry, of_erasure(connection, position))
