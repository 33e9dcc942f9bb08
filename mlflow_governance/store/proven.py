"""Entries by act, what stands behind their commitments, and the proof that they are the ledger's.

What is read here is what somebody with write access to the database may have written. Only
:class:`Prover` says that an entry belongs to the ledger: its bytes are in the tree whose root our
key signed. It also misses an entry that it knows of and that somebody hid from a reading, by
another uid in its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import sqlalchemy as sa

from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.event import Act
from mlflow_governance.errors import LedgerError, NotFound
from mlflow_governance.ledger.checkpoint import Checkpoint
from mlflow_governance.ledger.entry import act_of
from mlflow_governance.ledger.merkle import leaf_hash
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.ledger.replay import CHANGING
from mlflow_governance.store import redactions, tables
from mlflow_governance.store.tables import as_bytes, ledger_entries, private
from mlflow_governance.store.versions import Rows

_BATCH = 500
_REMEMBERED = 65_536
_VERSIONS = 10_000
"""Versions whose places a process remembers; beyond that it forgets the oldest."""


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
        table, named = ledger_entries.c, [act.value for act in acts]
        wanted = [table.position >= start]
        if named:
            wanted.append(table.act.in_(named))
        if about:
            wanted.append(table.version_uid == about)
        query = sa.select(table.position, table.entry).where(*wanted)
        if not newest:
            query = query.order_by(table.position).limit(limit or None)
            rows = self._connection.execute(query).all()
            return [(row.position, as_bytes(row.entry)) for row in rows]
        rows = self._connection.execute(query.order_by(table.position.desc()).limit(newest)).all()
        return [(row.position, as_bytes(row.entry)) for row in reversed(rows)]

    def sealed(self, commitments: Iterable[str]) -> dict[str, tuple[bytes, str]]:
        """See :class:`workflows.ports.Reading`."""
        wanted, found = sorted(set(commitments)), {}
        for start in range(0, len(wanted), _BATCH):
            some = private.c.commitment.in_(wanted[start : start + _BATCH])
            for row in self._connection.execute(sa.select(private).where(some)):
                # Without a salt it is the pseudonym of somebody who was erased: nobody counts.
                if row.salt:
                    found[row.commitment] = (as_bytes(row.salt), str(row.text))
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
        return found, [(row.position, as_bytes(row.entry)) for row in told]


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
        self._places: dict[str, set[int]] = {}

    def prove(
        self, entries: Iterable[tuple[int, bytes]], *, about: str = "", below: int = 0
    ) -> None:
        """See :class:`workflows.ports.Store`."""
        entries = list(entries)
        self._prove_each(entries)
        if about:
            self._miss_none({index for index, _ in entries}, about, below)
            # Only of those that change something: others may be deleted after their retention.
            self._note(about, (index for index, data in entries if act_of(data) in CHANGING))

    def wrote(self, about: str, places: Iterable[int]) -> None:
        """Entries that change a version stand at these places: they were just committed."""
        self._note(about, places)

    def _miss_none(self, places: set[int], about: str, below: int) -> None:
        # What was committed after the moment of the reading is not missing from it.
        known = tuple(self._places.get(about, ()))
        missing = sorted(place for place in known if place < below and place not in places)
        if missing:
            raise LedgerError(
                f"entry {missing[0]} is about this version and is not among those of it any more",
                advice="Find out what was changed: mlflow-governance validate",
                index=missing[0],
            )

    def _note(self, about: str, places: Iterable[int]) -> None:
        if about not in self._places and len(self._places) >= _VERSIONS:
            self._places.pop(next(iter(self._places)), None)
        self._places.setdefault(about, set()).update(places)

    def _prove_each(self, entries: Iterable[tuple[int, bytes]]) -> None:
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
