"""Rows about versions: the versions themselves and the revocation list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_governance.core import canonical, moment
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Conflict
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.store.tables import approvals, blocked, files, tasks, versions
from mlflow_governance.workflows.ports import VersionRecord

StageWriter = Callable[[Session, VersionRef, Stage, Stage, datetime], int]
"""Compare-and-swaps MLflow's own stage (session, ref, origin, target, at); returns its rowcount."""


class Rows:
    """What every group of rows works on: one session's connection."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._connection = session.connection()


class VersionReading(Rows):
    """Reads versions and the revocation list."""

    def version(self, ref: VersionRef) -> VersionRecord | None:
        """The governed version, or None."""
        found = self._versions(
            versions.c.workspace == ref.workspace,
            versions.c.name == ref.name,
            versions.c.version == ref.version,
        )
        return found[0] if found else None

    def version_by_uid(self, uid: str) -> VersionRecord | None:
        """The governed version, or None."""
        found = self._versions(versions.c.uid == uid)
        return found[0] if found else None

    def versions(
        self,
        name: str | None = None,
        stage: Stage | None = None,
        *,
        workspace: str | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> list[VersionRecord]:
        """Governed versions, newest first."""
        conditions = _named(name, stage)
        if workspace is not None:
            conditions.append(versions.c.workspace == workspace)
        return self._versions(*conditions, offset=offset, limit=limit)

    def count_versions(self, name: str | None = None, stage: Stage | None = None) -> int:
        """How many governed versions there are."""
        query = sa.select(sa.func.count()).select_from(versions).where(*_named(name, stage))
        return int(self._connection.execute(query).scalar_one())

    def versions_at(self, paths: Sequence[str]) -> list[VersionRecord]:
        """Versions whose ``location`` is one of these paths."""
        return self._versions(versions.c.location.in_(list(paths)))

    def versions_below(self, path: str) -> list[VersionRecord]:
        """Versions whose ``location`` lies below this path; below "" lies every one."""
        if not path:
            return self._versions()
        # All text that begins with "path/" and nothing else: "0" is the character after "/".
        start = path.rstrip("/")
        return self._versions(versions.c.location >= start + "/", versions.c.location < start + "0")

    def submitters(self, digest: Digest) -> set[str]:
        """Everybody who registered this content, under whatever name."""
        query = sa.select(versions.c.submitter).where(versions.c.digest == digest).distinct()
        return set(self._connection.execute(query).scalars())

    def is_blocked(self, digest: Digest) -> bool:
        """True when a version with this digest is revoked or quarantined, under any name."""
        query = sa.select(blocked.c.stage).where(blocked.c.digest == digest)
        return self._connection.execute(query).first() is not None

    def blocked(self) -> list[tuple[Digest, str, datetime]]:
        """Every blocked digest with its stage and the moment it was blocked, oldest first."""
        query = sa.select(blocked).order_by(blocked.c.at, blocked.c.digest)
        return [(Digest(r.digest), r.stage, r.at) for r in self._connection.execute(query)]

    def _versions(
        self, *conditions: sa.ColumnElement[bool], offset: int = 0, limit: int | None = None
    ) -> list[VersionRecord]:
        query = (
            sa.select(versions)
            .where(*conditions)
            .order_by(versions.c.created_at.desc(), versions.c.name, versions.c.version.desc())
            .offset(offset or None)
            .limit(limit)
        )
        return [_record(row) for row in self._connection.execute(query)]


def _named(name: str | None, stage: Stage | None) -> list[sa.ColumnElement[bool]]:
    conditions = []
    if name is not None:
        conditions.append(versions.c.name == name)
    if stage is not None:
        conditions.append(versions.c.stage == stage.value)
    return conditions


class VersionWriting(VersionReading):
    """Writes versions and the revocation list."""

    _write_stage: StageWriter

    def add_version(self, record: VersionRecord) -> None:
        """Insert a governed version.

        Raises:
            Conflict: the name and version are governed already.
        """
        row = {
            "uid": record.uid,
            "workspace": record.ref.workspace,
            "name": record.ref.name,
            "version": record.ref.version,
            "location": record.location,
            "submitter": record.submitter,
            "created_at": record.created_at or moment.now(),
            "revision": record.revision,
            "stage": record.stage.value,
            "quarantined_from": _word(record.quarantined_from),
            "decision_id": record.decision_id,
            **_proved(record),
        }
        self._connection.execute(sa.insert(versions), row)

    def save_version(self, record: VersionRecord) -> None:
        """Write digest, facts, trust and policy digest of a version; never its stage.

        Raises:
            Conflict: the version is not there any more.
        """
        changed = self._change(versions.c.uid == record.uid, **_proved(record))
        _expect_one(changed, record)

    def move_stage(self, record: VersionRecord, target: VersionRecord) -> None:
        """Compare-and-swap the stage, in our table and in MLflow's.

        Raises:
            Conflict: the version is no longer in ``record.stage`` at ``record.revision``.
        """
        changed = self._change(
            versions.c.uid == record.uid,
            versions.c.stage == record.stage.value,
            versions.c.revision == record.revision,
            stage=target.stage.value,
            quarantined_from=_word(target.quarantined_from),
            decision_id=target.decision_id,
            **_proved(target),
        )
        _expect_one(changed, record)
        moved = self._write_stage(
            self._session, record.ref, record.stage, target.stage, moment.now()
        )
        _expect_one(moved, record)

    def remove_version(self, record: VersionRecord) -> None:
        """Forget a governed version; its decisions and ledger entries stay.

        Raises:
            Conflict: the version is not there any more.
        """
        removed = sa.delete(versions).where(versions.c.uid == record.uid)
        _expect_one(self._connection.execute(removed).rowcount, record)
        for table in (files, approvals, tasks):
            self._connection.execute(sa.delete(table).where(table.c.version_uid == record.uid))

    def block(self, digest: Digest, stage: Stage, at: datetime) -> None:
        """Put a digest on the revocation list; revoked is never weakened to quarantined."""
        present = self._connection.execute(
            sa.select(blocked.c.stage).where(blocked.c.digest == digest)
        ).scalar()
        row = {"digest": digest, "stage": stage.value, "at": at}
        if present is None:
            self._connection.execute(sa.insert(blocked), row)
        elif present != Stage.REVOKED.value:
            self._connection.execute(
                sa.update(blocked).where(blocked.c.digest == digest).values(row)
            )

    def unblock(self, digest: Digest) -> None:
        """Take a quarantined digest off the list, once its version has left Quarantined.

        A revoked digest stays for ever, and so does one that another version is quarantined for.
        """
        holders = sa.select(versions.c.uid).where(
            versions.c.digest == digest, versions.c.stage == Stage.QUARANTINED.value
        )
        self._connection.execute(
            sa.delete(blocked).where(
                blocked.c.digest == digest,
                blocked.c.stage == Stage.QUARANTINED.value,
                ~holders.exists(),
            )
        )

    def _touch(self, version_uid: str) -> None:
        # What a decision about the version would rest on has changed.
        self._change(versions.c.uid == version_uid)

    def _change(self, *conditions: sa.ColumnElement[bool], **values: Any) -> int:
        values["revision"] = versions.c.revision + 1
        statement = sa.update(versions).where(*conditions).values(values)
        return self._connection.execute(statement).rowcount


def _expect_one(rowcount: int, record: VersionRecord) -> None:
    if rowcount != 1:
        raise Conflict(
            f"{record.ref} is no longer {record.stage.value} as it was: somebody else was faster",
            advice="Look again and repeat.",
        )


def _proved(record: VersionRecord) -> dict[str, Any]:
    facts = record.facts
    return {
        "digest": record.digest,
        "policy_digest": record.policy_digest,
        "trust_digest": record.trust_digest,
        "facts": None
        if facts is None
        else canonical.encode({kind.value: o.to_document() for kind, o in facts.items()}),
    }


def _record(row: Any) -> VersionRecord:
    facts = None if row.facts is None else canonical.decode_object(row.facts)
    return VersionRecord(
        uid=row.uid,
        ref=VersionRef(row.name, row.version, row.workspace),
        stage=Stage(row.stage),
        location=row.location,
        submitter=row.submitter,
        digest=row.digest,
        policy_digest=row.policy_digest,
        quarantined_from=Stage(row.quarantined_from) if row.quarantined_from else None,
        decision_id=row.decision_id,
        facts=None
        if facts is None
        else {Kind(kind): Outcome.from_document(o) for kind, o in facts.items()},
        trust_digest=row.trust_digest,
        created_at=row.created_at,
        revision=row.revision,
    )


def _word(stage: Stage | None) -> str | None:
    return stage.value if stage else None
