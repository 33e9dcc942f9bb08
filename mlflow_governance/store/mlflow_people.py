"""Where MLflow's own tables hold a login and nothing else, and how it is replaced there.

Tables are taken as they are found: a column is known by its name, whichever table has it. Logins
stand there as they were typed, so they are compared in their canonical form.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import sqlalchemy as sa

from mlflow_governance.store.mlflow_tables import version_tags
from mlflow_governance.workflows.privacy import Replaced
from mlflow_governance.workflows.redact import Redactor

_OURS, _TAG = "governance_", "governance."
_PEOPLE = frozenset({"user_id", "created_by", "last_updated_by", "completed_by", "creator"})
_PEOPLE_OF = {"assessments": {"source_id"}, "review_queues": {"name", "name_key"}}
_TAGS = (("key", "value"), ("tag_key", "tag_value"))
_USER_TAGS = ("mlflow.user", "mlflow.trace.user")


def replace_logins(connection: sa.Connection, redactor: Redactor, replaced: Replaced) -> None:
    """Put the pseudonym in the place of a login.

    Left alone are the tables of MLflow's basic-auth, which know users by number, and whatever
    somebody wrote in words of their own.
    """
    found = sa.MetaData()
    found.reflect(connection, resolve_fks=False)
    for table in found.tables.values():
        if table.name.startswith(_OURS):
            continue
        for column, conditions in _places(table):
            known = connection.execute(sa.select(column).where(*conditions).distinct()).scalars()
            for login in [one for one in known if isinstance(one, str)]:
                if redactor.person.is_(login):
                    changed = connection.execute(
                        sa.update(table)
                        .where(column == login, *conditions)
                        .values({column.name: redactor.pseudonym})
                    )
                    replaced.count(f"{table.name}.{column.name}", changed.rowcount)
    tags = found.tables.get(version_tags.name)
    if tags is not None:
        _mend_own_tags(connection, tags, redactor, replaced)
    sources = found.tables.get("datasets")
    if sources is not None:
        _mend_sources(connection, sources, redactor, replaced)


def _mend_own_tags(
    connection: sa.Connection, table: sa.Table, redactor: Redactor, replaced: Replaced
) -> None:
    # What the registry itself wrote there: the messages of a decision.
    mine = table.c.key.startswith(_TAG, autoescape=True)
    for row in connection.execute(sa.select(table).where(mine)).mappings().all():
        text = redactor.words(row["value"] or "")
        if text != (row["value"] or ""):
            same = [column == row[column.name] for column in table.primary_key.columns]
            connection.execute(sa.update(table).where(*same).values(value=text))
            replaced.count(f"{table.name}.value")


def _mend_sources(
    connection: sa.Connection, table: sa.Table, redactor: Redactor, replaced: Replaced
) -> None:
    # A data set that came from no place MLflow knows has the tags of its run for a source.
    for row in connection.execute(sa.select(table)).mappings().all():
        text = _without_login(row["dataset_source"] or "", redactor)
        if text:
            same = [column == row[column.name] for column in table.primary_key.columns]
            connection.execute(sa.update(table).where(*same).values(dataset_source=text))
            replaced.count(f"{table.name}.dataset_source")


def _without_login(source: str, redactor: Redactor) -> str:
    """The same with the pseudonym in it; empty where there is nothing to replace."""
    try:
        document = json.loads(source)
    except (ValueError, RecursionError):
        return ""
    tags = document.get("tags") if isinstance(document, dict) else None
    if not isinstance(tags, dict):
        return ""
    mine = [
        key
        for key in _USER_TAGS
        if isinstance(tags.get(key), str) and redactor.person.is_(tags[key])
    ]
    tags.update(dict.fromkeys(mine, redactor.pseudonym))
    return json.dumps(document) if mine else ""


def _places(
    table: sa.Table,
) -> Iterator[tuple[sa.Column[str], list[sa.ColumnElement[bool]]]]:
    for name in sorted(_PEOPLE | _PEOPLE_OF.get(table.name, set())):
        if name in table.c and isinstance(table.c[name].type, sa.String):
            yield table.c[name], []
    for key, value in _TAGS:
        if key in table.c and value in table.c and isinstance(table.c[value].type, sa.String):
            yield table.c[value], [table.c[key].in_(_USER_TAGS)]
