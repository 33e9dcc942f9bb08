"""What shadow bundles said differently: one row a version and kind of difference, with a count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core import canonical
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Gate
from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.policy.replay import Verdict
from mlflow_governance.store.ledger_table import take_turn
from mlflow_governance.store.sessions import SessionFactory, transaction
from mlflow_governance.store.tables import as_bytes, blobs, policy_differences, policy_shadows
from mlflow_governance.workflows.shadow import Counts, Difference

_PLAIN = ("live", "shadow", "version_uid", "model", "version", "actor", "dossier")
_TIMED = ("first_at", "last_at", "count")


@dataclass(frozen=True)
class Watched:
    """What a shadow bundle was asked altogether, and between which moments."""

    shadow: Digest
    counts: Counts
    first_at: datetime
    last_at: datetime


class SqlDifferences:
    """Keeps and reads them (:class:`workflows.shadow.Notes`). Safe to share between threads.

    Args:
        sessions: where sessions come from.
    """

    def __init__(self, sessions: SessionFactory) -> None:
        self._sessions = sessions

    def add(
        self,
        shadow: Digest,
        counts: Counts,
        found: Sequence[tuple[Difference, bytes]],
        at: datetime,
    ) -> None:
        """Add to what is there, in one transaction.

        Raises:
            Unavailable: the database does not answer.
        """
        with transaction(self._sessions, read_only=False) as session:
            # In turn with every other writer: a dossier may be kept by a decision at this moment.
            take_turn(session)
            connection = session.connection()
            _add_counts(connection, shadow, counts, at)
            for difference, dossier in found:
                _add(connection, difference, dossier)

    def watched(self) -> list[Watched]:
        """Every shadow bundle there ever was, the newest first."""
        query = sa.select(policy_shadows).order_by(policy_shadows.c.last_at.desc())
        return [
            Watched(r.shadow, Counts(r.asked, r.dropped, r.failed), r.first_at, r.last_at)
            for r in self._all(query)
        ]

    def of(self, shadow: Digest) -> Iterator[Difference | VerificationError]:
        """What a shadow bundle said differently; an error stands for a row that was changed."""
        table = policy_differences
        query = sa.select(table).where(table.c.shadow == shadow).order_by(table.c.last_at.desc())
        for row in self._all(query):
            try:
                found = _read(row)
            except (InvalidRequest, ValueError, KeyError, TypeError):
                found = None
            if found is None or found.key != row.key:
                yield VerificationError(f"the difference {row.key} was changed in the database")
            else:
                yield found

    def _all(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with transaction(self._sessions, read_only=True) as session:
            return session.connection().execute(query).all()


def _add_counts(connection: sa.Connection, shadow: Digest, counts: Counts, at: datetime) -> None:
    table = policy_shadows.c
    changed = connection.execute(
        sa.update(policy_shadows)
        .where(table.shadow == shadow)
        .values(
            asked=table.asked + counts.asked,
            dropped=table.dropped + counts.dropped,
            failed=table.failed + counts.failed,
            last_at=at,
        )
    )
    if not changed.rowcount:
        row = {"shadow": shadow, "first_at": at, "last_at": at}
        numbers = {"asked": counts.asked, "dropped": counts.dropped, "failed": counts.failed}
        connection.execute(sa.insert(policy_shadows), row | numbers)


def _add(connection: sa.Connection, difference: Difference, dossier: bytes) -> None:
    table = policy_differences.c
    changed = connection.execute(
        sa.update(policy_differences)
        .where(table.key == difference.key)
        .values(count=table.count + difference.count, last_at=difference.last_at)
    )
    if changed.rowcount:
        return
    present = sa.select(blobs.c.digest).where(blobs.c.digest == difference.dossier)
    if connection.execute(present).first() is None:
        connection.execute(sa.insert(blobs), {"digest": difference.dossier, "data": dossier})
    verdicts = {"before": difference.before.to_document(), "after": difference.after.to_document()}
    row = {name: getattr(difference, name) for name in (*_PLAIN, *_TIMED)}
    row |= {"key": difference.key, "gate": difference.gate.value}
    connection.execute(
        sa.insert(policy_differences), row | {"verdicts": canonical.encode(verdicts)}
    )


def _read(row: sa.Row[Any]) -> Difference:
    verdicts = canonical.decode_object(as_bytes(row.verdicts))
    return Difference(
        gate=Gate(row.gate),
        before=_verdict(verdicts["before"]),
        after=_verdict(verdicts["after"]),
        **{name: row._mapping[name] for name in (*_PLAIN, *_TIMED)},
    )


def _verdict(document: Any) -> Verdict:
    return Verdict(document["allow"], frozenset(document["codes"]))
