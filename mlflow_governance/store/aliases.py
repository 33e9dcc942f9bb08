"""Rows about aliases. Where one points is MLflow's row; we keep where it pointed before."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import Conflict
from mlflow_governance.store.mlflow_tables import model_aliases
from mlflow_governance.store.tables import aliases
from mlflow_governance.store.versions import Rows
from mlflow_governance.workflows.ports import AliasRecord, AliasStep


class AliasReading(Rows):
    """Reads where aliases point."""

    def aliases(self, name: str, workspace: str) -> list[AliasRecord]:
        """Every alias a governed model has or had, by name of the alias."""
        query = (
            sa.select(aliases)
            .where(aliases.c.workspace == workspace, aliases.c.name == name)
            .order_by(aliases.c.alias)
        )
        return [
            AliasRecord(row.alias, row.version, row.before, row.at)
            for row in self._connection.execute(query)
        ]


class AliasWriting(Rows):
    """Moves aliases."""

    def move_alias(self, model: VersionRef, step: AliasStep, at: datetime) -> None:
        """Compare-and-swap an alias: it must still point where ``step`` says it did.

        Called before MLflow's own row is written, in the same transaction.

        Raises:
            Conflict: it points elsewhere.
        """
        now = self._pointed_at(model, step.alias)
        if now != step.before:
            raise Conflict(
                f"the alias {step.alias!r} of {model.name!r} points at {_shown(now)}, "
                f"not at {_shown(step.before)}: somebody else was faster",
                advice="Look again and repeat.",
            )
        if now == step.after:
            return  # where it points already: the version before stays the one before
        key = {"workspace": model.workspace, "name": model.name, "alias": step.alias}
        row = {"version": step.after, "before": step.before, "at": at}
        changed = self._connection.execute(sa.update(aliases).where(*_is(key)).values(row))
        if changed.rowcount == 0:
            self._connection.execute(sa.insert(aliases), key | row)

    def forget_aliases(self, ref: VersionRef, at: datetime) -> None:
        """No alias points at a deleted version, and none returns to it."""
        mine = (aliases.c.workspace == ref.workspace, aliases.c.name == ref.name)
        for column in (aliases.c.version, aliases.c.before):
            gone = sa.update(aliases).where(*mine, column == ref.version)
            self._connection.execute(gone.values({column.name: None, "at": at}))

    def _pointed_at(self, model: VersionRef, alias: str) -> int | None:
        table = model_aliases
        query = sa.select(table.c.version).where(
            table.c.workspace == model.workspace,
            table.c.name == model.name,
            table.c.alias == alias,
        )
        found = self._connection.execute(query).scalar()
        return None if found is None else int(found)


def _is(key: dict[str, str]) -> list[sa.ColumnElement[bool]]:
    return [aliases.c[name] == value for name, value in key.items()]


def _shown(version: int | None) -> str:
    return "nothing" if version is None else f"version {version}"
