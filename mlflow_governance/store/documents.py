"""Rows that hold documents: blobs by their digest, what links them to versions, decisions.

A blob is checked against its digest whenever it is read: a database is not a place that keeps
bytes from changing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mlflow_governance.core import canonical
from mlflow_governance.core import digest as digests
from mlflow_governance.core.decision import Decision
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Conflict, InvalidRequest, VerificationError
from mlflow_governance.evidence.attestation import SUFFIX, is_verdict
from mlflow_governance.evidence.interface import EvidenceItem
from mlflow_governance.store.redactions import replaced
from mlflow_governance.store.tables import approvals, blobs, decisions, files, tasks, versions
from mlflow_governance.store.versions import Rows, VersionWriting
from mlflow_governance.workflows.ports import ApprovalRecord, Attachment
from mlflow_governance.workflows.record import MIRROR

_MANIFEST_BYTES = 256 * 1024 * 1024
"""A manifest of a million files is read; it was made here, not outside."""


class Role(StrEnum):
    """Why a file hangs on a version."""

    EVIDENCE = "evidence"
    ATTACHMENT = "attachment"


_SMALL = 256 * 1024
"""Documents up to here, in bytes, are sent without asking whether they are there already."""

# Built once, and one statement where the database has one: it runs while other writers wait.
_ADD_DECISION = sa.insert(decisions)
_INSERTS: dict[str, Callable[[sa.Table], Any]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}
_KEEP: dict[str, sa.Insert] = {
    name: insert(blobs).on_conflict_do_nothing() for name, insert in _INSERTS.items()
}


def _hang(insert: Callable[[sa.Table], Any]) -> sa.Insert:
    new = insert(files)
    same = sa.and_(files.c.mirrored, files.c.digest == new.excluded.digest)
    hung: sa.Insert = new.on_conflict_do_update(
        index_elements=["version_uid", "role", "path"],
        set_={"digest": new.excluded.digest, "mirrored": same},
    )
    return hung


_HANG = {name: _hang(insert) for name, insert in _INSERTS.items()}
"""A file that is hung where another was takes its place; the same file stays as it is."""

_JUDGING = (Gate.ACCEPT.value, Gate.PROMOTE.value)


class DocumentReading(Rows):
    """Reads evidence, attachments, manifests, approvals and decisions."""

    def evidence(self, version_uid: str) -> list[EvidenceItem]:
        """Every piece of evidence attached to a version, by name."""
        return [EvidenceItem(*found) for found in self._files(version_uid, Role.EVIDENCE)]

    def verdicts(self, digest: Digest) -> list[EvidenceItem]:
        """What others said of this content, attached to whichever version; each statement once."""
        late = (files.c.role == Role.ATTACHMENT.value, files.c.path.like(f"%{SUFFIX}"))
        about = (
            sa.select(files.c.digest)
            .join(versions, versions.c.uid == files.c.version_uid)
            .where(versions.c.digest == digest, *late)
        )
        query = sa.select(blobs).where(blobs.c.digest.in_(about)).order_by(blobs.c.digest)
        found = (
            EvidenceItem(
                f"attestations/verdict-{digests.hex_of(row.digest)[:16]}{SUFFIX}",
                _checked(row.data, row.digest),
            )
            for row in self._connection.execute(query)
        )
        return [item for item in found if is_verdict(item)]

    def attachments(self, version_uid: str, *, pending_only: bool = False) -> list[Attachment]:
        """What the registry attached to a version, by path; only what is not yet mirrored."""
        wanted = [files.c.mirrored.is_(False)] if pending_only else []
        return [Attachment(*found) for found in self._files(version_uid, Role.ATTACHMENT, *wanted)]

    def manifest(self, digest: Digest) -> Manifest | None:
        """The manifest with this digest.

        Raises:
            VerificationError: the stored bytes are not those it was stored with.
        """
        data = self._blob(digest)
        if data is None:
            return None
        return Manifest.from_document(canonical.decode(data, max_bytes=_MANIFEST_BYTES))

    def approvals(self, version_uid: str) -> list[ApprovalRecord]:
        """Approvals of a version, oldest first; those withdrawn are not among them."""
        columns = [approvals.c[name] for name in ApprovalRecord.__dataclass_fields__]
        query = (
            sa.select(*columns)
            .where(approvals.c.version_uid == version_uid, approvals.c.withdrawn.is_(False))
            .order_by(approvals.c.id)
        )
        return [ApprovalRecord(*row) for row in self._connection.execute(query)]

    def decision(self, decision_id: str) -> dict[str, Any] | None:
        """A stored decision document, with its dossier under ``dossier``.

        Raises:
            VerificationError: the stored bytes are not those they were stored with.
        """
        return self._decision(decisions.c.decision_id == decision_id)

    def last_decision(self, version_uid: str) -> dict[str, Any] | None:
        """The newest judgement of a version: by the gates accept and promote only."""
        return self._decision(
            decisions.c.version_uid == version_uid, decisions.c.gate.in_(_JUDGING)
        )

    def document(self, digest: Digest) -> bytes | None:
        """A stored document by its digest.

        Raises:
            VerificationError: the stored bytes are not those it was stored with.
        """
        return self._blob(digest)

    def _decision(self, *conditions: sa.ColumnElement[bool]) -> dict[str, Any] | None:
        query = sa.select(decisions).where(*conditions).order_by(decisions.c.id.desc()).limit(1)
        row = self._connection.execute(query).first()
        if row is None:
            return None
        document = canonical.decode_object(self._unchanged(row.document, row.digest))
        dossier = self._blob(row.dossier_digest)
        if dossier is None:
            raise VerificationError(f"the dossier of decision {row.decision_id} was removed")
        return {**document, "dossier": canonical.decode(dossier)}

    def _files(
        self, version_uid: str, role: Role, *conditions: sa.ColumnElement[bool]
    ) -> list[tuple[str, bytes]]:
        query = (
            sa.select(files.c.path, blobs.c.digest, blobs.c.data)
            .join(blobs, blobs.c.digest == files.c.digest)
            .where(files.c.version_uid == version_uid, files.c.role == role.value, *conditions)
            .order_by(files.c.path)
        )
        return [(r.path, _checked(r.data, r.digest)) for r in self._connection.execute(query)]

    def _blob(self, digest: str) -> bytes | None:
        query = sa.select(blobs.c.data).where(blobs.c.digest == digest)
        data = self._connection.execute(query).scalar()
        if data is not None:
            return _checked(data, digest)
        now = replaced(self._connection, [digest]).get(digest)
        return self._blob(now) if now else None

    def _unchanged(self, data: bytes, digest: str) -> bytes:
        # As it was recorded, or redacted by an erasure that the ledger proves.
        if digests.of_bytes(data) == digest:
            return bytes(data)
        return _checked(data, replaced(self._connection, [digest]).get(digest, digest))


class DocumentWriting(DocumentReading, VersionWriting):
    """Writes evidence, attachments, manifests, approvals and decisions."""

    def add_evidence(self, version_uid: str, items: Iterable[EvidenceItem]) -> None:
        """Store evidence bytes by digest and link them to the version.

        Raises:
            Conflict: the version has other evidence of that name and has left stage None.
        """
        given = {item.name: item.data for item in items}
        changed = self._link(version_uid, Role.EVIDENCE, given)
        if changed["replaced"]:
            record = self.version_by_uid(version_uid)
            if record is None or record.stage is not Stage.NONE:
                raise Conflict(
                    f"evidence is never overwritten: {', '.join(sorted(changed['replaced']))}",
                    advice="Attach it under another name.",
                )
        if changed["added"] or changed["replaced"]:
            self._touch(version_uid)

    def add_attachments(self, version_uid: str, attachments: Iterable[Attachment]) -> None:
        """Store what the registry attaches; a newer file takes the place of an older one."""
        given = {a.path: a.data for a in attachments}
        hang = _HANG.get(self._connection.dialect.name)
        if hang is None:
            self._link(version_uid, Role.ATTACHMENT, given)
        elif given:
            stored = zip(given, self._store(given.values()), strict=True)
            rows = [_file_row(version_uid, Role.ATTACHMENT, path, kept) for path, kept in stored]
            self._connection.execute(hang, rows)

    def mirrored(self, version_uid: str, attachments: Iterable[Attachment]) -> None:
        """Note that these attachments stand beside the model and the mirror task is done.

        What was attached since they were read stays pending, and its task with it.
        """
        mine = (files.c.version_uid == version_uid, files.c.role == Role.ATTACHMENT.value)
        for attachment in attachments:
            same = digests.of_bytes(attachment.data)
            self._connection.execute(
                sa.update(files)
                .where(*mine, files.c.path == attachment.path, files.c.digest == same)
                .values(mirrored=True)
            )
        pending = sa.select(files.c.id).where(*mine, files.c.mirrored.is_(False))
        self._connection.execute(
            sa.delete(tasks).where(
                tasks.c.version_uid == version_uid, tasks.c.kind == MIRROR, ~pending.exists()
            )
        )

    def add_manifest(self, manifest: Manifest) -> None:
        """Store a manifest by its digest."""
        self._store([canonical.encode(manifest.to_document())])

    def add_approval(self, approval: ApprovalRecord) -> None:
        """Store an approval. It withdraws the same person's earlier word in the same role."""
        self._connection.execute(
            sa.update(approvals)
            .where(
                approvals.c.version_uid == approval.version_uid,
                approvals.c.person == approval.person,
                approvals.c.role == approval.role,
            )
            .values(withdrawn=True)
        )
        row = {name: getattr(approval, name) for name in ApprovalRecord.__dataclass_fields__}
        self._connection.execute(sa.insert(approvals), {**row, "withdrawn": False})
        self._touch(approval.version_uid)

    def withdraw_approval(self, approval: ApprovalRecord) -> None:
        """An approval or rejection counts no longer.

        Raises:
            Conflict: it did not count any more.
        """
        counts = (approvals.c.uid == approval.uid, approvals.c.withdrawn.is_(False))
        changed = self._connection.execute(
            sa.update(approvals).where(*counts).values(withdrawn=True)
        )
        if changed.rowcount != 1:
            raise Conflict("that word was taken back already", advice="Look again.")
        self._touch(approval.version_uid)

    def add_decision(self, decision: Decision, dossier: bytes, version_uid: str) -> Digest:
        """Store decision and dossier; returns the digest of the stored decision document.

        Raises:
            InvalidRequest: the decision was not made from this dossier.
        """
        if digests.of_bytes(dossier) != decision.dossier_digest:
            raise InvalidRequest("the decision was not made from the dossier it comes with")
        document = canonical.encode(decision.to_document())
        digest = digests.of_bytes(document)
        self._store([dossier])
        row = {
            "decision_id": decision.decision_id,
            "version_uid": version_uid,
            "gate": decision.gate.value,
            "allow": decision.allow,
            "document": document,
            "digest": digest,
            "dossier_digest": decision.dossier_digest,
        }
        self._connection.execute(_ADD_DECISION, row)
        return digest

    def _link(
        self, version_uid: str, role: Role, given: Mapping[str, bytes]
    ) -> dict[str, list[str]]:
        # Returns the paths that are new, and those that had other bytes before.
        stored = self._store(given.values())
        wanted = dict(zip(given, stored, strict=True))
        mine = (files.c.version_uid == version_uid, files.c.role == role.value)
        query = sa.select(files.c.path, files.c.digest).where(*mine)
        present = {row.path: row.digest for row in self._connection.execute(query)}
        added = [path for path in wanted if path not in present]
        replaced = [path for path in wanted if present.get(path, wanted[path]) != wanted[path]]
        for path in replaced:
            self._connection.execute(
                sa.update(files)
                .where(*mine, files.c.path == path)
                .values(digest=wanted[path], mirrored=False)
            )
        rows = [_file_row(version_uid, role, path, wanted[path]) for path in added]
        if rows:
            self._connection.execute(sa.insert(files), rows)
        return {"added": added, "replaced": replaced}

    def _store(self, contents: Iterable[bytes]) -> list[Digest]:
        # Writers take turns, so looking first and inserting after cannot collide.
        by_digest: dict[Digest, bytes] = {}
        order = []
        for data in contents:
            digest = digests.of_bytes(data)
            by_digest[digest] = data
            order.append(digest)
        keep = _KEEP.get(self._connection.dialect.name)
        if keep is not None and sum(map(len, by_digest.values())) <= _SMALL:
            present: set[Digest] = set()
        else:
            keep = sa.insert(blobs)
            query = sa.select(blobs.c.digest).where(blobs.c.digest.in_(list(by_digest)))
            present = set(self._connection.execute(query).scalars()) if by_digest else set()
        rows = [{"digest": d, "data": data} for d, data in by_digest.items() if d not in present]
        if rows:
            self._connection.execute(keep, rows)
        return order


def _file_row(version_uid: str, role: Role, path: str, digest: Digest) -> dict[str, Any]:
    return {
        "version_uid": version_uid,
        "role": role.value,
        "path": path,
        "digest": digest,
        "mirrored": False,
    }


def _checked(data: bytes, digest: str) -> bytes:
    if digests.of_bytes(data) != digest:
        raise VerificationError(
            f"the stored bytes of {digest} were changed in the database",
            advice="Restore them from a backup; nothing is decided on changed bytes.",
        )
    return bytes(data)
