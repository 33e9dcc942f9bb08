"""Handing the ledger over to another key, in one transaction with the entry that says so."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from mlflow_governance.core import digest
from mlflow_governance.core.event import Event
from mlflow_governance.ledger import checkpoint, handover
from mlflow_governance.ledger.note import NoteSigner
from mlflow_governance.store import tables
from mlflow_governance.store.ledger_table import Head, LedgerWriting

_HEAD = tables.ledger_head


class HandoverWriting(LedgerWriting):
    """Appends entries, and changes the key they are signed with."""

    def hand_over(self, event: Event, heir: NoteSigner) -> str:
        """Record ``ledger.rekeyed``, signed by the key until now, and have both sign the head.

        Args:
            event: who does it and why; which keys is filled in here.
            heir: the key from now on, also in this unit of work.

        Returns:
            The note both signed. It is the head, and kept among the checkpoints.

        Raises:
            LedgerError: the stored head is not the one that was signed last.
            ConfigurationError: ``heir`` signs already, or under another name.
        """
        if self._range is None:
            self._range = self._head.open(self._stored)  # and now the signer is the one of now
        before = self._head.signer
        self.record(replace(event, facts=handover.facts(before.key, heir.key)))
        signed = self._connection.execute(sa.select(_HEAD.c.note).where(_HEAD.c.id == 1))
        at = checkpoint.parse(signed.scalar_one())
        note = handover.make(at, before, heir)
        self._connection.execute(sa.update(_HEAD).where(_HEAD.c.id == 1).values(note=note))
        self._connection.execute(
            sa.insert(tables.ledger_checkpoints),
            {"digest": digest.of_bytes(note.encode()), "size": at.size, "note": note},
        )
        self._head = Head(heir)
        return note
