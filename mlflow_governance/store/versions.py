"""Rows about versions: the versions themselves and the revocation list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
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
from mlflow_governance.store.tables import approvals, blocked, files, former, tasks, versions
from mlflow_governance.workflows.ports import VersionRecord, Whereabouts

StageWriter = Callable[[Session, VersionRef, Stage, Stage, datetime], int]
"""Compare-and-swaps MLflow's own stage (session, ref, origin, target, at); returns its rowcount."""

_RELEASED = tuple(stage.value for stage in (Stage.STAGING, Stage.APPROVED, Stage.DEPRECATED))
_STEP = 8


@lru_cache(maxsize=64)
def _around(count: int) -> sa.Select[Any]:
    """Versions at one of ``count`` locations, or between ``start`` and ``end``.

    Built once for each count: it is asked for every artifact that is handed out.
    """
    location = versions.c.location
    return (
        sa.select(versions, blocked.c.digest.label("blocked"))
        .outerjoin(blocked, blocked.c.digest == versions.c.digest)
        .where(
            sa.or_(
                *(location == sa.bindparam(f"at{n}") for n in range(count)),
                sa.and_(location >= sa.bindparam("start"), location < sa.bindparam("end")),
            )
        )
    )


# Built once, as everything is that a transition runs while other writers wait.
_BY_UID = sa.select(versions).where(versions.c.uid == sa.bindparam("by_uid"))
_IS_BLOCKED = sa.select(blocked.c.stage).where(blocked.c.digest == sa.bindparam("by_digest"))
_NEXT = sa.update(versions).where(versions.c.uid == sa.bindparam("by_uid"))
_PROVED = ("digest", "policy_digest", "trust_digest", "facts")
_MOVED = (*_PROVED, "stage", "quarantined_from", "decision_id")


def _changing(*names: str) -> sa.Update:
    values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in names}
    return _NEXT.values({**values, "revision": versions.c.revision + 1})


_TOUCH, _SAVE = _changing(), _changing(*_PROVED)
_MOVE = _changing(*_MOVED).where(
    versions.c.stage == sa.bindparam("by_stage"), versions.c.revision == sa.bindparam("by_revision")
)

_BATCH = 500
"""Versions in one query: databases bound the parameters of a statement."""


class Rows:
    """What every group of rows works on: one session's connection."""

    _forced: Mapping[str, Digest] | None = None
    """What is in force, once it was asked for; whoever writes it forgets it."""

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
        row = self._connection.execute(_BY_UID, {"by_uid": uid}).first()
        return None if row is None else _record(row)

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

    def whereabouts(
        self, wanted: Iterable[tuple[str, int]], workspace: str
    ) -> dict[tuple[str, int], Whereabouts]:
        """Of those versions that are governed, by name and number."""
        table, found = versions.c, {}
        query = (
            sa.select(
                table.name,
                table.version,
                table.stage,
                table.submitter,
                blocked.c.digest.label("by"),
            )
            .join_from(versions, blocked, table.digest == blocked.c.digest, isouter=True)
            .where(table.workspace == workspace)
        )
        pairs = sorted(set(wanted))
        here = sa.tuple_(table.name, table.version)
        for start in range(0, len(pairs), _BATCH):
            some = query.where(here.in_(pairs[start : start + _BATCH]))
            for row in self._connection.execute(some):
                where = Whereabouts(Stage(row.stage), row.submitter, row.by is not None)
                found[row.name, row.version] = where
        return found

    def versions_at(self, paths: Sequence[str]) -> list[VersionRecord]:
        """Versions whose ``location`` is one of these paths."""
        return self._versions(versions.c.location.in_(list(paths)))

    def versions_around(
        self, above: Sequence[str], paths: Sequence[str]
    ) -> list[tuple[VersionRecord, bool]]:
        """Versions at one of the locations ``above`` or below one of the ``paths``.

        Below "" lies every one.

        Returns:
            Each once, with whether its content is blocked under whatever name.
        """
        found: dict[str, tuple[VersionRecord, bool]] = {}
        # Few statements serve every depth; no location is "/".
        padded = [*above, *"/" * (-len(above) % _STEP)]
        given = {f"at{n}": location for n, location in enumerate(padded)}
        for path in paths:
            start, end = _below(path)
            rows = self._connection.execute(
                _around(len(padded)), {**given, "start": start, "end": end}
            )
            for row in rows:
                if row.uid not in found:
                    found[row.uid] = _record(row), row.blocked is not None
        return list(found.values())

    def versions_beginning(self, prefix: str) -> list[VersionRecord]:
        """Versions whose ``location`` begins with these characters."""
        end = prefix + chr(0x10FFFF)
        return self._versions(versions.c.location >= prefix, versions.c.location < end)

    def submitters(self, digest: Digest) -> set[str]:
        """Everybody who registered this content, under whatever name."""
        query = sa.select(versions.c.submitter).where(versions.c.digest == digest).distinct()
        return set(self._connection.execute(query).scalars())

    def is_blocked(self, digest: Digest) -> bool:
        """True when a version with this digest is revoked or quarantined, under any name."""
        return self._connection.execute(_IS_BLOCKED, {"by_digest": digest}).first() is not None

    def blocked(self) -> list[tuple[Digest, str, datetime]]:
        """Every blocked digest with its stage and the moment it was blocked, oldest first."""
        query = sa.select(blocked).order_by(blocked.c.at, blocked.c.digest)
        return [(Digest(r.digest), r.stage, r.at) for r in self._connection.execute(query)]

    def blocked_digests(self) -> frozenset[Digest]:
        """Every blocked digest."""
        return frozenset(self._connection.execute(sa.select(blocked.c.digest)).scalars())

    def released_digests(self) -> frozenset[Digest]:
        """The content of every version past Candidate that is neither withdrawn nor blocked."""
        query = sa.select(versions.c.digest).where(
            versions.c.stage.in_(_RELEASED),
            versions.c.digest.is_not(None),
            versions.c.digest.not_in(sa.select(blocked.c.digest)),
        )
        return frozenset(self._connection.execute(query.distinct()).scalars())

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


def _below(path: str) -> tuple[str, str]:
    # All text that begins with "path/" and nothing else: "0" is the character after "/".
    start = path.rstrip("/")
    return (start + "/", start + "0") if start else ("", chr(0x10FFFF))


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
        _expect_one(self._change(_SAVE, record.uid, _proved(record)), record)

    def move_stage(self, record: VersionRecord, target: VersionRecord) -> None:
        """Compare-and-swap the stage, in our table and in MLflow's.

        Raises:
            Conflict: the version is no longer in ``record.stage`` at ``record.revision``.
        """
        values = {
            "stage": target.stage.value,
            "quarantined_from": _word(target.quarantined_from),
            "decision_id": target.decision_id,
            **_proved(target),
        }
        where = {"by_stage": record.stage.value, "by_revision": record.revision}
        _expect_one(self._change(_MOVE, record.uid, values, where), record)
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
        ref = record.ref
        row = {"uid": record.uid, "workspace": ref.workspace, "name": ref.name}
        self._connection.execute(sa.insert(former), row | {"version": ref.version})

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
        self._change(_TOUCH, version_uid, {})

    def _change(
        self,
        statement: sa.Update,
        uid: str,
        values: Mapping[str, Any],
        where: Mapping[str, Any] = MappingProxyType({}),
    ) -> int:
        new = {f"new_{name}": value for name, value in values.items()}
        return self._connection.execute(statement, {"by_uid": uid, **new, **where}).rowcount


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
        else canonical.join({kind.value: o.encoded for kind, o in facts.items()}),
    }


def _record(row: Any) -> VersionRecord:
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
        facts=None if row.facts is None else _facts(row.facts),
        trust_digest=row.trust_digest,
        created_at=row.created_at,
        revision=row.revision,
    )


@lru_cache(maxsize=1024)
def _facts(stored: bytes) -> Mapping[Kind, Outcome]:
    # Keyed by the bytes themselves: a change of a row is never overlooked.
    document = canonical.decode_object(stored)
    return MappingProxyType({Kind(k): Outcome.from_document(o) for k, o in document.items()})


def _word(stage: Stage | None) -> str | None:
    return stage.value if stage else None
