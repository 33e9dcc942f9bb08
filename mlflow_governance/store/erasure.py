"""Rows about a person: replaced by a pseudonym in our tables, and in MLflow's where they are named.

What hangs on a digest in the ledger is replaced as a document and kept as a redaction
(``store.redactions``). Before that it is held against its digest: a document that somebody changed
must not become one that an erasure changed.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core import digest as digests
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.person import Person
from mlflow_governance.errors import VerificationError
from mlflow_governance.ledger import entry
from mlflow_governance.ledger.redaction import Redaction
from mlflow_governance.store import tables
from mlflow_governance.store.documents import DocumentWriting, Role
from mlflow_governance.store.ledger_table import LedgerWriting
from mlflow_governance.store.mlflow_people import replace_logins
from mlflow_governance.store.redactions import replaced as instead_of
from mlflow_governance.store.scan import PersonReading
from mlflow_governance.store.tables import as_bytes
from mlflow_governance.workflows.privacy import Replaced
from mlflow_governance.workflows.record import MIRROR
from mlflow_governance.workflows.redact import Redactor

_CHUNK = 500
_NAMES = (
    tables.versions.c.submitter,
    tables.approvals.c.person,
    tables.policy_proposals.c.person,
    tables.policy_words.c.person,
    tables.policy_differences.c.actor,
    tables.repeats.c.person,
)
_WORDS = (
    (tables.approvals.c.reason, tables.approvals.c.person),
    (tables.policy_proposals.c.reason, tables.policy_proposals.c.person),
    (tables.policy_words.c.reason, tables.policy_words.c.person),
    (tables.deliveries.c.last_error, None),
    (tables.tasks.c.last_error, None),
    (tables.log_places.c.last_error, None),
)
_RELEASE, _SNAPSHOT = "release/", "release/policy_snapshot/"
_CHANGED = "was changed in the database; redacted, nobody could tell any more"
_ADVICE = "Find out what else was changed: mlflow-governance validate"


class ErasureWriting(LedgerWriting, DocumentWriting, PersonReading):
    """Erases a person."""

    def erase_person(self, redactor: Redactor) -> Replaced:
        """Put the pseudonym in their place; what is signed or hashed by others stays.

        Raises:
            VerificationError: a document or text is not the one that was recorded.
        """
        done = Replaced()
        self._touch_versions(redactor.person)
        self._private(redactor.person, redactor.pseudonym, done)
        self._disown_deliveries()
        for column, author in _WORDS:
            self._words(column, author, redactor, done)
        self._rekey_repeats(redactor.person)
        for column in _NAMES:
            self._name(column, redactor, done)
        self._releases(redactor, done)
        self._documents(redactor, done)
        self._decisions(redactor, done)
        for column in (tables.versions.c.facts, tables.repeats.c.event):
            self._rewrite(column, redactor, done)
        replace_logins(self._connection, redactor, done)
        return done

    def keep_erasure(self, position: int, redactions: Iterable[Redaction]) -> None:
        """Keep what was replaced, with the index of the entry that proves it."""
        rows = [
            {"digest": pair.before, "replacement": pair.after, "position": position}
            for pair in redactions
        ]
        if rows:
            self._connection.execute(sa.insert(tables.redactions), rows)
        self._connection.execute(sa.insert(tables.erasures), {"position": position})

    def keep_private(self, person: str) -> str:
        """Commit to the person an act is about; returns what stands in the entry for them."""
        sealed = entry.seal(person, secrets.token_bytes(entry.SALT_BYTES))
        row = {
            "commitment": sealed.commitment,
            "salt": sealed.salt,
            "text": sealed.text,
            "person": sealed.text,
        }
        self._connection.execute(sa.insert(tables.private), row)
        return sealed.commitment

    def _touch_versions(self, person: Person) -> None:
        # Whoever decides about such a version at this moment has the name in their hands.
        concerned = {
            row.uid
            for row in self._connection.execute(
                sa.select(tables.versions.c.uid, tables.versions.c.submitter.label("person"))
                .union(sa.select(tables.approvals.c.version_uid, tables.approvals.c.person))
            )
            if person.is_(row.person)
        }  # fmt: skip
        for uid in sorted(concerned):
            self._touch(uid)

    def _disown_deliveries(self) -> None:
        # Events under way may name them, and what is answered would be kept as an error. Whoever
        # holds such a delivery is not heard any more; when the lease ends it goes out anew.
        table = tables.deliveries
        held = sa.update(table).where(table.c.lease != "")
        self._connection.execute(held.values(attempts=table.c.attempts + 1))

    def _private(self, person: Person, pseudonym: str, done: Replaced) -> None:
        # Who a reason is by is what the ledger says; the column beside it is in no commitment.
        authors, table = self._authors(), tables.private.c
        columns = (table.commitment, table.salt, table.text, table.person)
        mine = {
            row.commitment
            for rows in self._pages(*columns)
            for row in rows
            if row.commitment not in authors and _is_name_of(person, row)
        }
        for rows in self._pages(*columns):
            for row in rows:
                if row.commitment in mine:
                    self._replace_private(row.commitment, pseudonym, done)
                elif row.commitment in authors:
                    said = authors[row.commitment] in mine
                    if _is_reason_of(person, row, said=said):
                        self._replace_private(row.commitment, "", done)

    def _authors(self) -> dict[str, str]:
        """Of each reason in the ledger the commitment to whose it is."""
        column, authors = tables.ledger_entries.c, {}
        for rows in self._pages(column.position, column.entry):
            for row in rows:
                said = entry.read_entry(as_bytes(row.entry)) if row.entry else {}
                if said.get("reason"):
                    authors[said["reason"]] = said["actor"]
        return authors

    def _replace_private(self, commitment: str, replacement: str, done: Replaced) -> None:
        table = tables.private
        done.redactions.append(Redaction(commitment, replacement))
        done.texts += 1
        done.count(f"{table.name}.{table.c.text.name}")
        self._connection.execute(sa.delete(table).where(table.c.commitment == commitment))

    def _rekey_repeats(self, person: Person) -> None:
        # What was counted is found by a digest that the name is in, and could be guessed from.
        table = tables.repeats
        query = sa.select(table.c.key, table.c.person, table.c.event)
        for row in self._connection.execute(query).all():
            if person.is_(row.person) or _may_name(person, as_bytes(row.event)):
                other = digests.of_bytes(secrets.token_bytes(entry.SALT_BYTES))
                statement = sa.update(table).where(table.c.key == row.key)
                self._connection.execute(statement.values(key=other))

    def _name(self, column: sa.Column[str], redactor: Redactor, done: Replaced) -> None:
        for name in self._connection.execute(sa.select(column).distinct()).scalars().all():
            if redactor.person.is_(name):
                statement = sa.update(column.table).where(column == name)
                changed = self._connection.execute(statement.values({column: redactor.pseudonym}))
                done.count(f"{column.table.name}.{column.name}", changed.rowcount)

    def _words(
        self,
        column: sa.Column[str],
        author: sa.Column[str] | None,
        redactor: Redactor,
        done: Replaced,
    ) -> None:
        (key,) = column.table.primary_key.columns
        by = author if author is not None else sa.literal("")
        for rows in self._pages(key, column.label("words"), by.label("author")):
            for row in rows:
                text = redactor.words(row.words, row.author)
                if text != row.words:
                    self._set(key, row[0], column, text, done)

    def _rewrite(self, column: sa.Column[Any], redactor: Redactor, done: Replaced) -> None:
        (key,) = column.table.primary_key.columns
        for rows in self._pages(key, column.label("data")):
            for row in rows:
                data = b"" if row.data is None else as_bytes(row.data)
                changed = redactor.plain(data) if _may_name(redactor.person, data) else None
                if changed is not None:
                    self._set(key, row[0], column, changed, done)

    def _releases(self, redactor: Redactor, done: Replaced) -> None:
        """Sign releases anew, under the pseudonym, and have them put beside the model again."""
        files, blobs = tables.files.c, tables.blobs.c
        query = (
            sa.select(files.id, files.version_uid, files.path, blobs.digest, blobs.data)
            .join(tables.blobs, blobs.digest == files.digest)
            .where(
                files.role == Role.ATTACHMENT.value,
                files.path.startswith(_RELEASE, autoescape=True),
                ~files.path.startswith(_SNAPSHOT, autoescape=True),
            )
            .order_by(files.id)
        )
        for row in self._connection.execute(query).all():
            self._refuse_changed(row.digest, row.data, f"the file {row.path}")
            changed = redactor.attached(row.path, as_bytes(row.data))
            if changed is not None:
                self._link(row.version_uid, Role.ATTACHMENT, {row.path: changed})
                self._drop(row.digest)
                self.add_task(MIRROR, row.version_uid)
                done.count(f"{tables.files.name}.{files.digest.name}")

    def _documents(self, redactor: Redactor, done: Replaced) -> None:
        """Redact the dossiers and what else the registry wrote and keeps by digest."""
        blobs, brought = tables.blobs.c, self._brought()
        for rows in self._pages(blobs.digest, blobs.data):
            for row in rows:
                data = as_bytes(row.data)
                if row.digest in brought or not data.startswith(b"{"):
                    continue
                if not _may_name(redactor.person, data):
                    continue
                self._refuse_changed(row.digest, data, f"the document {row.digest}")
                changed = redactor.hashed(data)
                if changed is not None:
                    (digest,) = self._store([changed])
                    self._drop(row.digest)
                    _note(done, row.digest, digest, data)
                    done.count(f"{tables.blobs.name}.{blobs.data.name}")

    def _decisions(self, redactor: Redactor, done: Replaced) -> None:
        table = tables.decisions.c
        for rows in self._pages(table.id, table.digest, table.document):
            for row in rows:
                data = as_bytes(row.document)
                if not _may_name(redactor.person, data):
                    continue
                now = digests.of_bytes(data)
                if now != row.digest and instead_of(self._connection, [row.digest]) != {
                    row.digest: now
                }:
                    raise VerificationError(f"decision {row.id} {_CHANGED}", advice=_ADVICE)
                changed = redactor.hashed(data)
                if changed is not None:
                    self._set(table.id, row.id, table.document, changed, done)
                    _note(done, now, digests.of_bytes(changed), data)

    def _brought(self) -> set[str]:
        # Documents that came from outside, or that a digest of something else is made of.
        columns = (
            tables.files.c.digest, tables.versions.c.digest, tables.policies.c.archive_digest,
            tables.policy_proposals.c.archive_digest,
        )  # fmt: skip
        return {d for c in columns for d in self._connection.execute(sa.select(c)).scalars() if d}

    def _drop(self, digest: str) -> None:
        used = sa.select(tables.files.c.id).where(tables.files.c.digest == digest)
        if self._connection.execute(used).first() is None:
            gone = sa.delete(tables.blobs).where(tables.blobs.c.digest == digest)
            self._connection.execute(gone)

    def _set(
        self, key: sa.Column[Any], row: object, column: sa.Column[Any], value: object,
        done: Replaced,
    ) -> None:  # fmt: skip
        statement = sa.update(column.table).where(key == row).values({column: value})
        self._connection.execute(statement)
        done.count(f"{column.table.name}.{column.name}")

    def _pages(
        self, key: sa.Column[Any], *columns: sa.ColumnElement[Any]
    ) -> Iterator[list[sa.Row[Any]]]:
        # By key, so that rows may be changed meanwhile.
        query = sa.select(key, *columns).order_by(key).limit(_CHUNK)
        rows = list(self._connection.execute(query))
        while rows:
            yield rows
            rows = list(self._connection.execute(query.where(key > rows[-1][0])))

    @staticmethod
    def _refuse_changed(digest: str, data: bytes, what: str) -> None:
        if digests.of_bytes(as_bytes(data)) != digest:
            raise VerificationError(f"{what} {_CHANGED}", advice=_ADVICE)


def _is_name_of(person: Person, row: sa.Row[Any]) -> bool:
    mine = person.is_(row.text)
    if mine or person.is_(row.person):
        _refuse_other(row, really=mine)
    return mine


def _is_reason_of(person: Person, row: sa.Row[Any], *, said: bool) -> bool:
    mine = said or person.in_(row.text)
    if mine or person.is_(row.person):
        _refuse_other(row, really=mine)
    return mine


def _refuse_other(row: sa.Row[Any], *, really: bool) -> None:
    if not really or not entry.opens(row.commitment, as_bytes(row.salt), row.text):
        raise VerificationError(f"a name or reason {_CHANGED}", advice=_ADVICE)


def _note(done: Replaced, before: str, after: Digest, data: bytes) -> None:
    done.redactions.append(Redaction(before, after))
    done.unsalted += b'"salt":"' not in data


def _may_name(person: Person, data: bytes) -> bool:
    # A quick look, so that what does not name them need not be parsed. What JSON writes otherwise
    # is read first: in ``by\\nAnn`` the escape's letter stands before the name.
    return b"\\" in data or person.in_(data.decode("utf-8", "replace"))
