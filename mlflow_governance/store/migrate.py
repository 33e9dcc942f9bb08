"""Bringing our tables up to date, beside MLflow's and without touching them.

MLflow's own tables must be there first: it takes a database with foreign tables in it for an
initialised one and then cannot migrate it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from mlflow_governance.errors import ConfigurationError, Unavailable
from mlflow_governance.store.sessions import engine_for

VERSION_TABLE = "alembic_version_governance"

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


@cache
def _newest() -> str | None:
    # Read from the files of all migrations, which do not change under a running program.
    return ScriptDirectory.from_config(_config()).get_current_head()


def _upgrade(engine: sa.Engine) -> None:
    if engine.dialect.name == "sqlite":
        # Readers and the one writer then do not wait for each other. Kept in the file.
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
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


def _config() -> Config:
    config = Config()
    # "%" would be interpolation to the configuration parser behind it.
    folder = str(Path(__file__).parent / "migrations").replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.set_main_option("path_separator", "os")
    return config
