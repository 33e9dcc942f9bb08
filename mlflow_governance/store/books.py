"""The registry's database as the validator reads it: rows as they stand, nothing parsed.

Rows that never change (entries, decisions, documents) are read in many short transactions; the
rest in one, which is over before anything is compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core.digest import of_bytes
from mlflow_governance.ledger.note import LedgerKey
from mlflow_governance.ledger.redaction import Redaction
from mlflow_governance.ledger.told import AliasKey, Pointing, Ref
from mlflow_governance.store import mlflow_tables as theirs
from mlflow_governance.store import tables as ours
from mlflow_governance.store.decisions import SqlDecisions
from mlflow_governance.store.ledger import SqlLedger
from mlflow_governance.store.redactions import replaced
from mlflow_governance.store.sessions import SessionFactory, transaction
from mlflow_governance.store.tables import as_bytes
from mlflow_governance.workflows.policy import POLICY
from mlflow_governance.workflows.validation.books import (
    DECISION,
    ApprovalRow,
    CatalogueRow,
    DecisionRow,
    FileRow,
    GovernedRow,
    PolicyRows,
    PolicyWordRow,
    ProposalRow,
    Snapshot,
    Use,
)

_CHUNK = 500
"""Documents, decisions or names a statement: a dossier has some ten kibibytes."""
_DELETED = "Deleted_Internal"
_PROMPT = "mlflow.prompt.is_prompt"
_TAGS = ("governance.stage", "governance.digest", "governance.decision")
_TEXT = sa.String()
"""Moments as they are stored: one that is malformed must not stop the reading."""


class SqlBooks:
    """``workflows.validation.books.Books`` over SQLAlchemy.

    Args:
        sessions: where sessions come from.
        key: the ledger's public key.
        checkpoints: notes kept outside the database.
    """

    def __init__(
        self, sessions: SessionFactory, key: LedgerKey, checkpoints: Sequence[str] = ()
    ) -> None:
        self._sessions, self._key, self._checkpoints = sessions, key, checkpoints
        self._ledger = SqlLedger(sessions)

    def verify_ledger(self) -> int:
        """See :class:`~mlflow_governance.workflows.validation.books.Books`."""
        return self._ledger.verify(self._key, self._checkpoints).size

    def entries(self, start: int, end: int) -> Iterable[tuple[int, bytes]]:
        """See :class:`~mlflow_governance.workflows.validation.books.Books`."""
        return self._ledger.entries(start, max(0, end - start))

    def look(self) -> Snapshot:
        """See :class:`~mlflow_governance.workflows.validation.books.Books`."""
        with transaction(self._sessions, read_only=True) as session:
            return _Look(session.connection()).snapshot()

    def decisions(self, last: int) -> Iterator[DecisionRow]:
        """See :class:`~mlflow_governance.workflows.validation.books.Books`."""
        return SqlDecisions(self._sessions).rows(-1, last)

    def facts(self, uids: Iterable[str]) -> dict[str, bytes | None]:
        """See :class:`~mlflow_governance.workflows.validation.books.Books`."""
        table = ours.versions.c
        rows = self._where(sa.select(table.uid, table.facts), table.uid, uids)
        return {row.uid: None if row.facts is None else as_bytes(row.facts) for row in rows}

    def manifest(self, digest: str) -> bytes | None:
        """See :class:`~mlflow_governance.workflows.validation.books.Books`."""
        rows = self._all(sa.select(ours.blobs.c.data).where(ours.blobs.c.digest == digest))
        return as_bytes(rows[0].data) if rows else None

    def changed_documents(self) -> Iterator[str]:
        """See :class:`~mlflow_governance.workflows.validation.books.Books`."""
        table = ours.blobs.c
        query = sa.select(table.digest, table.data).order_by(table.digest).limit(_CHUNK)
        start = ""
        while rows := self._all(query.where(table.digest > start)):
            for row in rows:
                if of_bytes(as_bytes(row.data)) != row.digest:
                    yield row.digest
            start = rows[-1].digest

    def uses(self, digests: Sequence[str]) -> Iterator[Use]:
        """See :class:`~mlflow_governance.workflows.validation.books.Books`."""
        for query, digest in _uses():
            for row in self._where(query, digest, digests):
                yield Use(row.owner, row.path, row.digest)

    def lost_documents(self) -> Iterator[Use]:
        """See :class:`~mlflow_governance.workflows.validation.books.Books`."""
        present = sa.select(ours.blobs.c.digest)
        for query, digest in _uses():
            missing = digest.is_not(None) & ~present.where(ours.blobs.c.digest == digest).exists()
            gone = self._all(query.where(missing))
            kept = self._redacted({row.digest for row in gone})
            for row in gone:
                if row.digest not in kept:
                    yield Use(row.owner, row.path, row.digest)

    def _redacted(self, digests: set[str]) -> set[str]:
        # Those in whose place a redacted document is kept.
        with transaction(self._sessions, read_only=True) as session:
            now = replaced(session.connection(), digests)
        query = sa.select(ours.blobs.c.digest)
        kept = {row.digest for row in self._where(query, ours.blobs.c.digest, now.values())}
        return {digest for digest, replacement in now.items() if replacement in kept}

    def private(self, commitments: Iterable[str]) -> dict[str, tuple[bytes, str]]:
        """See :class:`~mlflow_governance.workflows.validation.books.Books`."""
        table = ours.private.c
        wanted = set(commitments)
        rows = self._where(sa.select(ours.private), table.commitment, wanted)
        found = {row.commitment: (as_bytes(row.salt), row.text) for row in rows}
        with transaction(self._sessions, read_only=True) as session:
            gone = replaced(session.connection(), wanted - found.keys())
        return found | {commitment: (b"", pseudonym) for commitment, pseudonym in gone.items()}

    def redactions(self) -> Iterator[tuple[int, Redaction]]:
        """See :class:`~mlflow_governance.workflows.validation.books.Books`."""
        table = ours.redactions.c
        query = sa.select(ours.redactions).order_by(table.position, table.digest).limit(_CHUNK)
        position, digest = -1, ""
        later = sa.tuple_(table.position, table.digest)
        while rows := self._all(query.where(later > sa.tuple_(position, digest))):
            for row in rows:
                yield row.position, Redaction(row.digest, row.replacement)
            position, digest = rows[-1].position, rows[-1].digest

    def _all(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with transaction(self._sessions, read_only=True) as session:
            return session.connection().execute(query).all()

    def _where(
        self, query: sa.Select[Any], column: sa.ColumnElement[Any], values: Iterable[str]
    ) -> Iterator[sa.Row[Any]]:
        wanted = sorted(set(values))
        for start in range(0, len(wanted), _CHUNK):
            yield from self._all(query.where(column.in_(wanted[start : start + _CHUNK])))


def _uses() -> list[tuple[sa.Select[Any], sa.ColumnElement[str]]]:
    # Who refers to a document: files by path, versions by their manifest, decisions by id.
    files, versions, decisions = ours.files.c, ours.versions.c, ours.decisions.c
    manifest, dossier = sa.literal("manifest").label("path"), sa.literal(DECISION).label("path")
    return [
        (sa.select(files.version_uid.label("owner"), files.path, files.digest), files.digest),
        (sa.select(versions.uid.label("owner"), manifest, versions.digest), versions.digest),
        (
            sa.select(
                decisions.decision_id.label("owner"),
                dossier,
                decisions.dossier_digest.label("digest"),
            ),
            decisions.dossier_digest,
        ),
    ]


class _Look:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def snapshot(self) -> Snapshot:
        return Snapshot(
            ledger_size=self._scalar(ours.ledger_head.c.size) or 0,
            last_decision=self._scalar(sa.func.max(ours.decisions.c.id)) or 0,
            governed=self._governed(),
            blocked={row.digest: row.stage for row in self._rows(ours.blocked.c, "digest stage")},
            kept_aliases=self._kept_aliases(),
            approvals=self._approvals(),
            files=[
                FileRow._make(row) for row in self._rows(ours.files.c, " ".join(FileRow._fields))
            ],
            tasks=self._tasks(),
            catalogue=self._catalogue(),
            aliases=self._aliases(),
            tags=self._tags(),
            prompts=self._prompts(),
            policy=self._policy(),
        )

    def _governed(self) -> list[GovernedRow]:
        table = ours.versions.c
        columns = [table[name] for name in GovernedRow._fields[:-1]]
        query = sa.select(*columns, sa.type_coerce(table.created_at, _TEXT))
        return [GovernedRow._make(row) for row in self._connection.execute(query)]

    def _approvals(self) -> list[ApprovalRow]:
        table = ours.approvals.c
        columns = [
            sa.type_coerce(table[name], _TEXT) if name == "at" else table[name]
            for name in ApprovalRow._fields
        ]
        query = sa.select(*columns).order_by(table.id)
        return [ApprovalRow._make(row) for row in self._connection.execute(query)]

    def _policy(self) -> PolicyRows:
        forced = sa.select(ours.in_force.c.digest).where(ours.in_force.c.what == POLICY)
        words = ours.policy_words.c
        columns = [
            sa.type_coerce(words[name], _TEXT) if name == "at" else words[name]
            for name in PolicyWordRow._fields
        ]
        said = self._connection.execute(sa.select(*columns).order_by(words.id))
        table = ours.policies.c
        times = (sa.type_coerce(table[name], _TEXT) for name in ("at", "replaced"))
        kept = list(self._connection.execute(sa.select(table.digest, table.archive_digest, *times)))
        proposals = self._rows(ours.policy_proposals.c, " ".join(ProposalRow._fields))
        return PolicyRows(
            in_force=self._connection.execute(forced).scalar(),
            kept={row[0]: row[1] for row in kept},
            spans={row[0]: (row[2], row[3]) for row in kept},
            proposals=[ProposalRow._make(row) for row in proposals],
            words=[PolicyWordRow._make(row) for row in said],
        )

    def _kept_aliases(self) -> dict[AliasKey, Pointing]:
        rows = self._rows(ours.aliases.c, "workspace name alias version before")
        return {AliasKey._make(row[:3]): Pointing._make(row[3:]) for row in rows}

    def _tasks(self) -> dict[str, frozenset[tuple[str, str]]]:
        found: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for row in self._rows(ours.tasks.c, "version_uid kind state"):
            found[row.version_uid].add((row.kind, row.state))
        return {uid: frozenset(tasks) for uid, tasks in found.items()}

    def _catalogue(self) -> list[CatalogueRow]:
        names = "workspace name version current_stage source storage_location"
        return [
            CatalogueRow._make((*row, row.current_stage == _DELETED))
            for row in self._rows(theirs.model_versions.c, names)
        ]

    def _aliases(self) -> dict[AliasKey, Any]:
        rows = self._rows(theirs.model_aliases.c, "workspace name alias version")
        return {AliasKey._make(row[:3]): row.version for row in rows}

    def _tags(self) -> dict[Ref, dict[str, str]]:
        found: dict[Ref, dict[str, str]] = defaultdict(dict)
        table = theirs.version_tags.c
        query = sa.select(table.workspace, table.name, table.version, table.key, table.value)
        for row in self._connection.execute(query.where(table.key.in_(_TAGS))):
            found[Ref(row.workspace, row.name, row.version)][row.key] = row.value
        return dict(found)

    def _prompts(self) -> frozenset[tuple[str, str]]:
        table = theirs.model_tags.c
        query = sa.select(table.workspace, table.name).where(
            table.key == _PROMPT, sa.func.lower(table.value) == "true"
        )
        return frozenset((row.workspace, row.name) for row in self._connection.execute(query))

    def _rows(self, columns: Any, names: str) -> sa.CursorResult[Any]:
        return self._connection.execute(sa.select(*(columns[name] for name in names.split())))

    def _scalar(self, column: Any) -> int | None:
        return self._connection.execute(sa.select(column)).scalar()
