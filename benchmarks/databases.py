"""Empty databases to measure on: SQLite in a file and, where one is named, PostgreSQL."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa

KINDS = ("SQLite", "PostgreSQL")
_POSTGRESQL = "GOVERNANCE_TEST_POSTGRESQL"
ABSENT = f"set {_POSTGRESQL} to the URL of a server"


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str | None]:
    """The URL of an empty database; a schema of its own on PostgreSQL, None without a server."""
    if kind == "SQLite":
        yield f"sqlite:///{folder / f'{uuid.uuid4().hex}.db'}"
        return
    server = os.environ.get(_POSTGRESQL)
    if not server:
        yield None
        return
    schema = f"bench_{uuid.uuid4().hex}"
    engine = sa.create_engine(server)
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
    try:
        url = sa.make_url(server).update_query_dict({"options": f"-csearch_path={schema}"})
        yield url.render_as_string(hide_password=False)
    finally:
        with engine.begin() as connection:
            connection.execute(sa.schema.DropSchema(schema, cascade=True))
        engine.dispose()


def batches(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """The rows, as many at once as one statement takes."""
    while batch := list(islice(rows, size)):
        yield batch
