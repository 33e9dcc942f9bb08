"""Entries by act, what stands behind their commitments, and the proof that they are the ledger's.

What is read here is what somebody with write access to the database may have written. Only
:class:`Prover` says that an entry belongs to the ledger: its bytes are in the tree whose root our
key signed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import sqlalchemy as sa

from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.event import Act
from mlflow_governance.errors import LedgerError, NotFound
from mlflow_governance.ledger.checkpoint import Checkpoint
from mlflow_governance.ledger.merkle import leaf_hash
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.store import redactions, tables
from mlflow_governance.store.tables import ledger_entries, private
from mlflow_governance.store.versions import Rows

_BATCH = 500
_REMEMBERED = 65_536


class EntryReading(Rows):
    """Reads entries by their act."""

    def entries_of(
        self,
        acts: Iterable[Act],
        *,
        about: str = "",
        start: int = 0,
        newest: int = 0,
        limit: int = 0,
    ) -> list[tuple[int, bytes]]:
        """See :class:`workflows.ports.Reading`."""
        table = ledger_entries.c
        wanted = [table.act.in_([act.value for act in acts]), table.position >= start]
        if about:
            wanted.append(table.version_uid == about)
        query = sa.select(table.position, table.entry).where(*wanted)
        if not newest:
            query = query.order_by(table.position).limit(limit or None)
            rows = self._connection.execute(query).all()
            return [(row.position, bytes(row.entry)) for row in rows]
        rows = self._connection.execute(query.order_by(table.position.desc()).limit(newest)).all()
        return [(row.position, bytes(row.entry)) for row in reversed(rows)]

    def sealed(self, commitments: Iterable[str]) -> dict[str, tuple[bytes, str]]:
        """See :class:`workflows.ports.Reading`."""
        wanted, found = sorted(set(commitments)), {}
        for start in range(0, len(wanted), _BATCH):
            some = private.c.commitment.in_(wanted[start : start + _BATCH])
            for row in self._connection.execute(sa.select(private).where(some)):
                # Without a salt it is the pseudonym of somebody who was erased: nobody counts.
                if row.salt:
                    found[row.commitment] = (bytes(row.salt), row.text)
        return found

    def stand_ins(self, replaced: Iterable[str]) -> tuple[dict[str, str], list[tuple[int, bytes]]]:
        """See :class:`workflows.ports.Reading`."""
        found = redactions.replaced(self._connection, replaced)
        if not found:
            return {}, []
        positions, ahead = set[int](), set(found)
        table = tables.redactions.c
        while ahead:  # it ends: a circle was refused before
            step = sa.select(table.position, table.replacement).where(table.digest.in_(ahead))
            rows = self._connection.execute(step).all()
            positions |= {row.position for row in rows}
            ahead = {row.replacement for row in rows if row.replacement} - ahead
        entries = ledger_entries.c
        query = sa.select(entries.position, entries.entry).where(entries.position.in_(positions))
        told = self._connection.execute(query.order_by(entries.position))
        return found, [(row.position, bytes(row.entry)) for row in told]


class Prover:
    """Proves entries, each once: what is in a ledger our key signed is in every later one.

    Args:
        proofs: the proofs that entries are in the ledger as it is signed now.
        signed: reads a note our key signed, else raises a LedgerError.
    """

    def __init__(
        self,
        proofs: Callable[[Iterable[int]], Iterable[InclusionProof]],
        signed: Callable[[str], Checkpoint],
    ) -> None:
        self._proofs, self._signed = proofs, signed
        self._proved: dict[int, Digest] = {}

    def prove(self, entries: Iterable[tuple[int, bytes]]) -> None:
        """Prove that these are entries of the ledger, at these places.

        Raises:
            LedgerError: one is not in the ledger that our key signed.
        """
        new = [(index, data) for index, data in entries if not self._knows(index, data)]
        proofs = iter(self._proofs([index for index, _ in new]))
        note = ""
        for index, data in new:
            try:
                proof = next(proofs)
                if proof.checkpoint != note:
                    self._signed(proof.checkpoint)
                    note = proof.checkpoint
                proof.check(leaf_hash(data))
            except (LedgerError, NotFound) as error:
                raise LedgerError(
                    f"entry {index} is not in the ledger that was signed: {error.message}",
                    advice="Find out what was changed: mlflow-governance validate",
                    index=index,
                ) from error
            if len(self._proved) >= _REMEMBERED:
                self._proved.clear()
            self._proved[index] = of_bytes(data)

    def _knows(self, index: int, data: bytes) -> bool:
        return self._proved.get(index) == of_bytes(data)
