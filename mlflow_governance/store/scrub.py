"""Freed space of a database's files, in which what was erased is still readable.

A database that deletes a row only forgets where it was. On SQLite the file is rewritten and its
write-ahead log emptied; on PostgreSQL the tables are, and the statistics the planner keeps of them,
which hold the most frequent values. Copies elsewhere (backups, archived WAL, replicas) are not
within reach from here.
"""

from __future__ import annotations

import re
import secrets
import time
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from mlflow_governance.errors import Unavailable
from mlflow_governance.store.sessions import BUSY_TIMEOUT_MS, engine_for
from mlflow_governance.store.tables import erasures

_LATER = (
    "Another program holds the database. The erasure itself is done; repeat the command to clean "
    "the files."
)
_STATISTICS = "pg_catalog.pg_statistic"
_PROBE = "governance_probe"
_PAUSE = 0.2  # seconds between two looks at what an older transaction still sees


def scrub(url: str) -> list[str]:
    """Rewrite the files so that nothing erased is left in them. May be repeated.

    Args:
        url: an SQLAlchemy URL.

    Returns:
        What could not be done, a sentence each.

    Raises:
        Unavailable: another program held the database for too long.
    """
    engine = engine_for(url)
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if engine.dialect.name == "sqlite":
                return _sqlite(connection)
            if engine.dialect.name == "postgresql":
                return _postgresql(connection)
            return [f"how {engine.dialect.name} frees its space is for its administrator to say"]
    except (sa.exc.OperationalError, sa.exc.DBAPIError) as error:
        raise Unavailable("the files could not be cleaned", advice=_LATER) from error
    finally:
        engine.dispose()


def mark_cleaned(connection: sa.Connection, at: datetime) -> None:
    """Note that the files were cleaned after every erasure so far."""
    waiting = sa.update(erasures).where(erasures.c.cleaned.is_(None))
    connection.execute(waiting.values(cleaned=at))


def waits(connection: sa.Connection) -> bool:
    """True while the files were not cleaned after some erasure."""
    query = sa.select(erasures.c.position).where(erasures.c.cleaned.is_(None))
    return connection.execute(query).first() is not None


def _sqlite(connection: sa.Connection) -> list[str]:
    # The rewritten file comes through the write-ahead log, so that is emptied after it, too.
    _checkpoint(connection)
    connection.exec_driver_sql("PRAGMA secure_delete = ON")
    connection.exec_driver_sql("VACUUM")
    _checkpoint(connection)
    return []


def _checkpoint(connection: sa.Connection) -> None:
    busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar()
    if busy:
        raise Unavailable("the write-ahead log could not be emptied", advice=_LATER)


def _postgresql(connection: sa.Connection) -> list[str]:
    connection.exec_driver_sql(f"SET lock_timeout = {BUSY_TIMEOUT_MS}")
    _outlast(connection)
    left: list[tuple[str, str]] = []
    quote = connection.dialect.identifier_preparer.quote
    names = sorted(sa.inspect(connection).get_table_names())
    for table in [quote(name) for name in names if not name.startswith(_PROBE)]:
        if _kept(connection, table) is None:
            left.append((f"the table {table} could not be rewritten", f"VACUUM FULL {table}"))
        connection.exec_driver_sql(f"ANALYZE {table}")
    if not _emptied(connection, _STATISTICS):
        what = "the planner's statistics could not be rewritten"
        left.append((what, f"VACUUM FULL {_STATISTICS}"))
    try:
        connection.exec_driver_sql("CHECKPOINT")
    except sa.exc.ProgrammingError:  # not a superuser
        what = "no checkpoint could be made: replaced files go with the next one"
        left.append((what, "CHECKPOINT"))
    return [f"{what}; an administrator of the database runs: {mend}" for what, mend in left]


def _outlast(connection: sa.Connection) -> None:
    """Wait for every transaction that is older than this moment.

    A rewritten table keeps the dead rows that any of them could see, also one that never looked at
    it. Who they are the server tells its administrators alone; whether there are any it says of a
    row that dies now. Of a table others write to it would not: there rows die all the time.
    """
    probe = f"{_PROBE}_{secrets.token_hex(8)}"  # somebody else may be cleaning, too
    connection.exec_driver_sql(f"CREATE TABLE {probe} AS SELECT 1 AS row")
    try:
        connection.execute(sa.delete(sa.table(probe)))
        _emptied(connection, probe)
    finally:
        connection.exec_driver_sql(f"DROP TABLE {probe}")


def _emptied(connection: sa.Connection, table: str) -> bool:
    """Rewrite a table until no dead row is left in it; False if we are not let."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while kept := _kept(connection, table):
        if time.monotonic() > deadline:
            raise Unavailable("an older transaction still sees what was erased", advice=_LATER)
        time.sleep(_PAUSE)
    return kept is not None


def _kept(connection: sa.Connection, table: str) -> int | None:
    """Rewrite a table; how many dead rows it keeps, None if we are not let rewrite it."""
    heard: list[str] = []
    driver = connection.connection.driver_connection
    listen = getattr(driver, "add_notice_handler", None)
    if driver is None or listen is None:
        raise Unavailable(
            "the driver of the database does not show what the server says of erased rows",
            advice="Name the database with postgresql+psycopg:// and repeat the command.",
        )

    def hear(notice: Any) -> None:
        heard.append(notice.message_detail or "")

    listen(hear)
    try:
        connection.exec_driver_sql(f"VACUUM (FULL, VERBOSE) {table}")
    finally:
        driver.remove_notice_handler(hear)
    # "0 dead row versions cannot be removed yet." in the language of the server.
    numbers = [int(found[0]) for text in heard if (found := re.search(r"\d+", text))]
    return sum(numbers) if numbers else None
