"""Rows about policy bundles: those that are or were in force, proposals, and words about them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import NotFound, VerificationError
from mlflow_governance.ledger import entry
from mlflow_governance.store.documents import DocumentReading, DocumentWriting
from mlflow_governance.store.ledger_table import resolve_private
from mlflow_governance.store.tables import (
    in_force,
    ledger_entries,
    policies,
    policy_proposals,
    policy_words,
)
from mlflow_governance.workflows.policy import POLICY
from mlflow_governance.workflows.policy_ports import (
    KeptPolicy,
    Proposal,
    ProposalState,
    Word,
)


class PolicyReading(DocumentReading):
    """Reads what is kept of policy bundles."""

    def policy_archive(self, digest: Digest) -> bytes | None:
        """The archive of a bundle that is or ever was in force.

        Raises:
            VerificationError: it was changed or removed.
        """
        kept = self.kept_policy(digest)
        return None if kept is None else self._archive(kept.archive_digest)

    def kept_policy(self, digest: Digest) -> KeptPolicy | None:
        """The record of a bundle that is or ever was in force."""
        columns = (policies.c[name] for name in KeptPolicy.__dataclass_fields__)
        query = sa.select(*columns).where(policies.c.digest == digest)
        row = self._connection.execute(query).first()
        return None if row is None else KeptPolicy(*row)

    def former_policies(self) -> list[tuple[Digest, datetime]]:
        """Bundles that were in force and no longer are, each with when it was replaced."""
        query = sa.select(policies.c.digest, policies.c.replaced).order_by(policies.c.position)
        rows = self._connection.execute(query.where(policies.c.replaced.is_not(None)))
        return [(row.digest, row.replaced) for row in rows]

    def proposals(self, limit: int = 50) -> list[Proposal]:
        """Proposals, newest first."""
        return self._proposals(limit=limit)

    def open_proposals(self) -> list[Proposal]:
        """Those that may still come into force, newest first."""
        return self._proposals(policy_proposals.c.state == ProposalState.OPEN.value)

    def proposed_archive(self, proposal: Proposal) -> bytes:
        """The archive that was proposed.

        Raises:
            VerificationError: it was changed or removed.
        """
        return self._archive(proposal.archive_digest)

    def words_of(self, proposal_uid: str) -> list[Word]:
        """What was said of a proposal and counts, oldest first."""
        table = policy_words.c
        query = (
            sa.select(*(table[name] for name in Word.__dataclass_fields__))
            .where(table.proposal_uid == proposal_uid, table.withdrawn.is_(False))
            .order_by(table.id)
        )
        return [Word(*row) for row in self._connection.execute(query)]

    def private_at(self, position: int) -> dict[str, str | None]:
        """Who made a ledger entry and why; None where erased.

        Raises:
            NotFound: there is no such entry.
            LedgerError: it was changed.
        """
        query = sa.select(ledger_entries.c.entry).where(ledger_entries.c.position == position)
        data = self._connection.execute(query).scalar()
        if data is None:
            raise NotFound(f"the ledger has no entry {position}")
        document = entry.read_entry(bytes(data))
        sealed = {key: document[key] for key in ("actor", "reason")}
        clear = resolve_private(self._connection, [c for c in sealed.values() if c])
        return {key: clear.get(commitment) for key, commitment in sealed.items()}

    def _proposals(
        self, *conditions: sa.ColumnElement[bool], limit: int | None = None
    ) -> list[Proposal]:
        columns = [policy_proposals.c[name] for name in Proposal.__dataclass_fields__]
        query = sa.select(*columns).where(*conditions).order_by(policy_proposals.c.id.desc())
        rows = self._connection.execute(query.limit(limit))
        return [Proposal(**{**row._mapping, "state": ProposalState(row.state)}) for row in rows]

    def _archive(self, archive_digest: Digest) -> bytes:
        data = self._blob(archive_digest)
        if data is None:
            raise VerificationError(
                f"the policy archive {archive_digest} was removed from the database",
                advice="Restore it from a backup; see: mlflow-governance validate",
            )
        return data


class PolicyWriting(PolicyReading, DocumentWriting):
    """Writes it. Writers take turns, so taking away and putting in cannot collide."""

    def keep_policy(self, kept: KeptPolicy, archive: bytes) -> None:
        """Put a bundle into force and keep its archive; what else was proposed is void."""
        run = self._connection.execute
        run(sa.delete(policies).where(policies.c.digest == kept.digest))
        # Not from the row after it: what came then may come again, and its row moves on.
        left = sa.update(policies).where(policies.c.replaced.is_(None))
        run(left.values(replaced=kept.at))
        run(sa.insert(policies), _row(kept))
        self._forced = None
        run(sa.delete(in_force).where(in_force.c.what == POLICY))
        run(sa.insert(in_force), {"what": POLICY, "digest": kept.digest})
        self._store([archive])
        table = policy_proposals
        state = sa.case(
            (table.c.digest == kept.digest, ProposalState.DONE.value),
            else_=ProposalState.VOID.value,
        )
        opened = table.c.state == ProposalState.OPEN.value
        run(sa.update(table).where(opened).values(state=state))

    def add_proposal(self, proposal: Proposal, archive: bytes) -> None:
        """Keep a proposal with its archive."""
        self._store([archive])
        row = {**_row(proposal), "state": proposal.state.value}
        self._connection.execute(sa.insert(policy_proposals), row)

    def void_proposal(self, uid: str) -> None:
        """Take a proposal back."""
        table = policy_proposals
        query = sa.update(table).where(table.c.uid == uid).values(state=ProposalState.VOID.value)
        self._connection.execute(query)

    def add_word(self, word: Word) -> None:
        """Keep a word; it withdraws the same person's earlier one."""
        table = policy_words
        earlier = (table.c.proposal_uid == word.proposal_uid, table.c.person == word.person)
        self._connection.execute(sa.update(table).where(*earlier).values(withdrawn=True))
        self._connection.execute(sa.insert(table), {**_row(word), "withdrawn": False})


def _row(value: KeptPolicy | Proposal | Word) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
