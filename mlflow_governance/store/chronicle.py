"""What the ledger tells of a model, a version or the registry, entry by entry and page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core.event import Act
from mlflow_governance.ledger import entry
from mlflow_governance.store.ledger_table import resolve_private
from mlflow_governance.store.tables import former, ledger_entries, versions
from mlflow_governance.store.versions import Rows
from mlflow_governance.workflows.chronicle import About, Told

_ALIAS = (Act.ALIAS_MOVED.value, Act.ALIAS_DELETED.value)
_MODEL = (Act.MODEL_DELETED.value, Act.MODEL_RENAMED.value, Act.MODEL_UNGOVERNED.value)
_REGISTRY = ""
"""Stands in the column of uids where an entry is about no governed version."""


class ChronicleReading(Rows):
    """Reads entries by what they are about."""

    def history(self, about: About, after: int, count: int) -> Told:
        """See :class:`~mlflow_governance.workflows.ports.Reading`."""
        e = ledger_entries.c
        own, model = _uids(about), _uids(about._replace(version=None))
        of_it: list[sa.ColumnElement[bool]] = [e.version_uid.in_(own)]
        of_it.append(sa.and_(e.version_uid == _REGISTRY, e.act.in_(_MODEL)))
        if about.version is not None:
            of_it.append(sa.and_(e.version_uid.in_(model), e.act.in_(_ALIAS)))
        query = sa.select(e.position, e.entry).where(sa.or_(*of_it), e.position > after)
        rows = self._connection.execute(query.order_by(e.position).limit(count + 1)).all()
        uids = set(self._connection.execute(own).scalars())
        told = self._clear(
            (bytes(row.entry) for row in rows[:count]), lambda one: _concerns(about, uids, one)
        )
        return Told(told, rows[count - 1].position if len(rows) > count else None)

    def of_registry(self, act: Act) -> list[dict[str, Any]]:
        """See :class:`~mlflow_governance.workflows.ports.Reading`."""
        e = ledger_entries.c
        query = sa.select(e.entry).where(e.version_uid == _REGISTRY, e.act == act.value)
        found = self._connection.execute(query.order_by(e.position)).scalars()
        return self._clear(map(bytes, found))

    def _clear(
        self,
        stored: Iterable[bytes],
        wanted: Callable[[Mapping[str, Any]], bool] = lambda one: True,
    ) -> list[dict[str, Any]]:
        found = [one for one in map(entry.read_entry, stored) if wanted(one)]
        commitments = [one[key] for one in found for key in ("actor", "reason") if one[key]]
        clear = resolve_private(self._connection, commitments)
        return [entry.resolve(one, clear) for one in found]


def _uids(about: About) -> sa.CompoundSelect[Any]:
    def of(table: sa.Table) -> sa.Select[Any]:
        same = [table.c.workspace == about.workspace, table.c.name == about.name]
        if about.version is not None:
            same.append(table.c.version == about.version)
        return sa.select(table.c.uid).where(*same)

    return sa.union_all(of(former), of(versions))


def _concerns(about: About, uids: Sequence[str] | set[str], one: Mapping[str, Any]) -> bool:
    subject, facts = one["subject"], one["facts"]
    if subject["uid"] in uids:
        return True
    if one["act"] in _ALIAS:
        return bool(facts["action"].get("from_version") == about.version)
    named = about.name in (subject["name"], facts.get("new_name"))
    number = subject["version"] in (None, about.version) or about.version is None
    return named and number and subject["workspace"] == about.workspace
