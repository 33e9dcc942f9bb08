"""Rows about denials that repeat."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from mlflow_governance.core.digest import Digest
from mlflow_governance.store.tables import repeats
from mlflow_governance.store.versions import Rows
from mlflow_governance.workflows.ports import Repeat

_COLUMNS = [repeats.c[name] for name in Repeat.__dataclass_fields__]


class RepeatReading(Rows):
    """Reads them."""

    def repeat(self, key: Digest) -> Repeat | None:
        """What was counted of a denial."""
        row = self._connection.execute(sa.select(*_COLUMNS).where(repeats.c.key == key)).first()
        return None if row is None else _repeat(row)

    def repeats_before(self, at: datetime, limit: int) -> list[Repeat]:
        """Those that began at that moment or before, oldest first."""
        query = sa.select(*_COLUMNS).where(repeats.c.first_at <= at)
        rows = self._connection.execute(query.order_by(repeats.c.first_at).limit(limit))
        return [_repeat(row) for row in rows]


class RepeatWriting(RepeatReading):
    """Writes them. Writers take turns, so looking first and writing after cannot collide."""

    def save_repeat(self, repeat: Repeat) -> None:
        """Keep what was counted."""
        row = {name: getattr(repeat, name) for name in Repeat.__dataclass_fields__}
        changed = self._connection.execute(
            sa.update(repeats).where(repeats.c.key == repeat.key).values(row)
        )
        if changed.rowcount == 0:
            self._connection.execute(sa.insert(repeats), row)

    def forget_repeat(self, key: Digest) -> None:
        """It is told."""
        self._connection.execute(sa.delete(repeats).where(repeats.c.key == key))


def _repeat(row: sa.Row[tuple[object, ...]]) -> Repeat:
    values = dict(row._mapping)
    return Repeat(**{**values, "event": bytes(values["event"])})
