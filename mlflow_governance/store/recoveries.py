"""Recoveries a ledger tells of, each proved to be in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import sqlalchemy as sa

from mlflow_governance.core.event import Act
from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger import recovery
from mlflow_governance.ledger.note import LedgerKey
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.ledger.recovery import Recovery
from mlflow_governance.store.sessions import SessionFactory, transaction
from mlflow_governance.store.tables import ledger_entries

MAX_RECOVERIES = 100_000


class Proving(Protocol):
    """A ledger that gives entries and proves that they are in it."""

    def entries(self, start: int = 0, count: int | None = None) -> Iterable[tuple[int, bytes]]:
        """Index and bytes from ``start`` on."""

    def inclusion_proof(self, index: int) -> InclusionProof:
        """The proof of one entry under the signed head."""


def recoveries(sessions: SessionFactory, ledger: Proving, key: LedgerKey) -> list[Recovery]:
    """The lost checkpoints that entries acknowledge, in the order of the entries.

    A row without its place under the signed head acknowledges nothing: it is refused.

    Raises:
        LedgerError: an entry that claims to be a recovery is not of this ledger.
    """
    query = (
        sa.select(ledger_entries.c.position)
        .where(ledger_entries.c.act == Act.LEDGER_RECOVERED.value)
        .order_by(ledger_entries.c.position)
        .limit(MAX_RECOVERIES)
    )
    with transaction(sessions, read_only=True) as session:
        places = list(session.connection().execute(query).scalars())
    return [_proved(ledger, place, key) for place in places]


def _proved(ledger: Proving, place: int, key: LedgerKey) -> Recovery:
    try:
        ((index, data),) = ledger.entries(place, 1)
        ledger.inclusion_proof(index).verify(data, key)
    except (ValueError, LedgerError) as error:
        raise LedgerError(f"the recovery at {place} is no entry of the signed ledger") from error
    return recovery.read_recovery(index, data)
