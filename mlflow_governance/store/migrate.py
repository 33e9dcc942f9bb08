"""Bringing our tables up to date, beside MLflow's and without touching them.

MLflow's own tables must be there first: it takes a database with foreign tables in it for an
initialised one and then cannot migrate it.
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from mlflow_governance.errors import ConfigurationError, Unavailable
from mlflow_governance.store.sessions import BUSY_TIMEOUT_MS, damage, engine_for

VERSION_TABLE = "alembic_version_governance"

_PAUSE = 0.05
_LOCK = 0x676F7665726E  # "govern": the number of our advisory lock in the database


def upgrade(target: sa.Engine | str) -> None:
    """Create or migrate our tables. Safe to call from several processes at once, and again.

    Args:
        target: an engine, or an SQLAlchemy URL.

    Raises:
        ConfigurationError: the tables are newer than this program.
        Unavailable: the database does not answer.
    """
    engine = engine_for(target) if isinstance(target, str) else target
    try:
        if not is_current(engine):
            _upgrade(engine)
    except CommandError as error:
        raise ConfigurationError(
            f"the governance tables are not of a version this program knows: {error}",
            advice="Upgrade the package: pip install --upgrade mlflow-governance",
        ) from error
    except sa.exc.OperationalError as error:
        raise Unavailable("the database does not answer", advice="Ask again.") from error
    finally:
        if engine is not target:
            engine.dispose()


def is_current(engine: sa.Engine) -> bool:
    """True when our tables are those of this program."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return context.get_current_revision() == _newest()


def require_current(engine: sa.Engine) -> None:
    """Refuse tables of another version, for whoever does not migrate them.

    A database without any of them is passed over: whatever is read says that they are not there.

    Raises:
        ConfigurationError: the tables are older or newer than this program, or it is damaged.
        Unavailable: the database does not answer.
    """
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
            found = context.get_current_revision()
    except sa.exc.DBAPIError as error:
        if (damaged := damage(error)) is not None:
            raise damaged from error
        said = str(error.orig).strip().splitlines() or [""]
        raise Unavailable(
            f"the database does not answer: {said[0]}",
            advice="Ask again; or is it another one? --backend-store-uri URL",
        ) from error
    if found in (None, _newest()):
        return
    if found in _known():
        raise ConfigurationError(
            "this database is of an older version: start the server once (it migrates the tables)",
            advice="Run: mlflow-governance server",
        )
    raise ConfigurationError(
        "this database is of a newer version than this program",
        advice="Upgrade the package: pip install --upgrade mlflow-governance",
    )


def _known() -> set[str]:
    return {one.revision for one in ScriptDirectory.from_config(_config()).walk_revisions()}


@cache
def _newest() -> str | None:
    # Read from the files of all migrations, which do not change under a running program.
    return ScriptDirectory.from_config(_config()).get_current_head()


def _upgrade(engine: sa.Engine) -> None:
    if engine.dialect.name == "sqlite":
        _write_ahead(engine)
    with engine.connect() as connection:
        # Whoever comes second waits here and then finds nothing left to do.
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


def _write_ahead(engine: sa.Engine) -> None:
    """Let readers and the one writer not wait for each other; the file keeps it.

    SQLite waits for nobody here, whatever its timeout: of several that begin at once one may do it.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                return
        except sa.exc.OperationalError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)


def _config() -> Config:
    config = Config()
    # "%" would be interpolation to the configuration parser behind it.
    folder = str(Path(__file__).parent / "migrations").replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.set_main_option("path_separator", "os")
    return config
