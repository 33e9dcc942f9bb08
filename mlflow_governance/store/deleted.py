"""What a ledger says of entries that were deleted after their retention, each word proved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import sqlalchemy as sa

from mlflow_governance.core.event import Act
from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger import gone
from mlflow_governance.ledger.entry import read_entry
from mlflow_governance.ledger.gone import Deleted, Teller
from mlflow_governance.ledger.note import LedgerKey
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.store.sessions import SessionFactory, transaction
from mlflow_governance.store.tables import as_bytes, ledger_entries

_TELLING = (
    sa.select(ledger_entries.c.position, ledger_entries.c.entry)
    .where(ledger_entries.c.act == Act.LEDGER_EXPIRED.value)
    .order_by(ledger_entries.c.position)
)
_EXPIRED = (
    sa.select(ledger_entries.c.position)
    .where(ledger_entries.c.act == gone.EXPIRED, ledger_entries.c.position < sa.bindparam("end"))
    .order_by(ledger_entries.c.position)
)


_COUNTS = sa.select(
    sa.select(sa.func.count()).where(ledger_entries.c.act == gone.EXPIRED).scalar_subquery(),
    sa.select(sa.func.max(ledger_entries.c.position))
    .where(ledger_entries.c.act == Act.LEDGER_EXPIRED.value)
    .scalar_subquery(),
)


class Proving(Protocol):
    """A ledger that proves that entries are in it."""

    def inclusion_proofs(self, indexes: Iterable[int]) -> Iterable[InclusionProof]:
        """The proof of each entry under the signed head."""


class Telling:
    """Asks a ledger which of its entries were deleted by right. For one thread.

    What it says is looked up once, and again when an entry is asked about of which nothing was
    said: a server may let go of entries while somebody reads.

    Args:
        sessions: where sessions come from.
        ledger: proves entries.
        key: the ledger's key, or all it had so far.
    """

    def __init__(self, sessions: SessionFactory, ledger: Proving, key: LedgerKey) -> None:
        self._sessions, self._ledger, self._key = sessions, ledger, key
        self._tellers: list[Teller] = []
        self.deleted = Deleted()

    def look(self, size: int | None = None) -> Deleted:
        """What the ledger of now says, or its first ``size`` entries.

        Raises:
            LedgerError: an entry that claims to say it is not of this ledger, or says nothing.
        """
        with transaction(self._sessions, read_only=True) as session:
            rows = session.connection().execute(_TELLING).all()
        # Entries stay as they are: what was proved once need not be proved again.
        new = [(row.position, as_bytes(row.entry)) for row in rows[len(self._tellers) :]]
        proofs = self._ledger.inclusion_proofs([index for index, _ in new])
        for (index, data), proof in zip(new, proofs, strict=True):
            self._tellers.append(self._proved(index, data, proof))
        told = [one for one in self._tellers if size is None or one.place < size]
        self.deleted = Deleted(told)
        return self.deleted

    def first_untold(self, ranges: Sequence[range]) -> int | None:
        """The first of these entries of which the ledger does not say that it was deleted.

        Raises:
            LedgerError: as :meth:`look`.
        """
        if self.deleted.first_untold(ranges) is None:
            return None
        return self.look().first_untold(ranges)

    def before(self, end: int) -> list[range]:
        """The entries before ``end`` whose columns say that they were deleted."""
        with transaction(self._sessions, read_only=True) as session:
            found = session.connection().execute(_EXPIRED, {"end": end}).scalars()
            return gone.ranges_of(found)

    def _proved(self, index: int, data: bytes, proof: InclusionProof) -> Teller:
        try:
            key = self._key.following([proof.checkpoint])
            proof.verify(data, key)
            return Teller(index, gone.told(index, read_entry(data)))
        except LedgerError as error:
            raise LedgerError(
                f"entry {index}, which says what was deleted, is no entry of the signed ledger: "
                f"{error.message}",
                index=index,
            ) from error


def teller_of(sessions: SessionFactory, index: int) -> int:
    """The entry that says that this one was deleted; that it is proved is for a verification.

    Raises:
        LedgerError: none does: it is missing.
    """
    with transaction(sessions, read_only=True) as session:
        rows = session.connection().execute(_TELLING).all()
    for row in rows:
        if row.position > index:
            ranges = gone.told(row.position, read_entry(as_bytes(row.entry)))
            if any(index in part for part in ranges):
                return int(row.position)
    raise LedgerError(f"entry {index} is missing: its bytes were deleted", index=index)


def deletions(sessions: SessionFactory) -> tuple[int, int | None]:
    """How many entries were deleted after their retention, and the last one that says so.

    It is what the columns say: only a verification makes it certain.
    """
    with transaction(sessions, read_only=True) as session:
        count, last = session.connection().execute(_COUNTS).one()
    return count, last
