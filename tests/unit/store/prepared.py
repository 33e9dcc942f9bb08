"""Migrated SQLite databases, copied: to migrate one takes a hundred times as long."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from mlflow_governance.store.migrate import upgrade
from mlflow_governance.store.mlflow_tables import model_aliases, model_versions
from mlflow_governance.store.sessions import engine_for


def with_all_tables(url: str) -> None:
    """Ours, and what MLflow keeps of models."""
    prepare(url, _all_of_mlflow)


def with_version_tables(url: str) -> None:
    """Ours, and MLflow's of versions and aliases: tests keep tags in a table of their own."""
    prepare(url, _versions_of_mlflow)


def prepare(url: str, theirs: Callable[[sa.Engine], None]) -> None:
    """Make or migrate the tables at a URL; a new SQLite file is a copy of one made before."""
    path = Path(sa.make_url(url).database or "")
    if url.startswith("sqlite:///") and not path.exists():
        path.write_bytes(_made(theirs))
    else:
        _make(url, theirs)


@cache
def _made(theirs: Callable[[sa.Engine], None]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prepared.db"
        _make(f"sqlite:///{path}", theirs)  # whoever closes it last empties its log into it
        assert [file.name for file in path.parent.iterdir()] == [path.name]
        return path.read_bytes()


def _make(url: str, theirs: Callable[[sa.Engine], None]) -> None:
    engine = engine_for(url)
    try:
        theirs(engine)
        upgrade(engine)
    finally:
        engine.dispose()


def _all_of_mlflow(engine: sa.Engine) -> None:
    model_versions.metadata.create_all(engine)


def _versions_of_mlflow(engine: sa.Engine) -> None:
    for table in (model_versions, model_aliases):
        table.create(engine, checkfirst=True)
