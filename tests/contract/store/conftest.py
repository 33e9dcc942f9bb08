"""Every test of this folder runs on SQLite, and on PostgreSQL where one is named."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.unit.store.builders import Database, open_database

POSTGRESQL = "GOVERNANCE_TEST_POSTGRESQL"


@contextmanager
def empty_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database (on PostgreSQL: an empty schema)."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/registry.db"
        return
    server = os.environ.get(POSTGRESQL)
    if not server:
        pytest.skip(f"no PostgreSQL: set {POSTGRESQL} to an SQLAlchemy URL to test on one")
    schema = f"test_{uuid.uuid4().hex}"
    engine = sa.create_engine(server)
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
    options = {"options": f"-csearch_path={schema}"}
    yield sa.make_url(server).update_query_dict(options).render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(sa.schema.DropSchema(schema, cascade=True))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database (on PostgreSQL: an empty schema)."""
    with empty_database(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = open_database(url)
    yield opened
    opened.sessions.dispose()
