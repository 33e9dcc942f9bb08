"""What was received and done, in one SQLite file that outlives the process."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from mlflow_governance.core import moment

REMEMBERED = timedelta(days=30)
"""Longer than the registry goes on retrying, so no retry of an old event acts twice."""

MAX_LISTED = 1000

_TABLES = """
CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, at TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_at ON seen (at);
CREATE TABLE IF NOT EXISTS purges (
  number INTEGER PRIMARY KEY, webhook_id TEXT NOT NULL, subject TEXT NOT NULL,
  digest TEXT NOT NULL, stage TEXT NOT NULL, outcome TEXT NOT NULL, at TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class Purge:
    """One withdrawal this receiver acted upon."""

    webhook_id: str
    subject: str
    digest: str
    """Empty when the version was withdrawn before its content was known."""
    stage: str
    outcome: str
    """``purged``, or ``absent`` when the cache did not hold it."""
    at: str


class Inbox:
    """Remembers webhook ids and purges. Safe between threads and processes.

    Args:
        path: the SQLite file; its folder is made when missing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._transaction() as db:
            for statement in filter(str.strip, _TABLES.split(";")):
                db.execute(statement)

    def once(self, webhook_id: str, now: datetime, act: Callable[[], Purge | None]) -> bool:
        """Run ``act`` unless this id was acted upon before; True when it ran.

        The write lock is held meanwhile, so of two deliveries at once one waits and then finds
        the id. When ``act`` raises, nothing is remembered and the sender's retry acts again.
        """
        with self._transaction() as db:
            db.execute("DELETE FROM seen WHERE at < ?", (moment.to_text(now - REMEMBERED),))
            if _is_seen(db, webhook_id):
                return False
            purge = act()
            db.execute("INSERT INTO seen VALUES (?, ?)", (webhook_id, moment.to_text(now)))
            if purge is not None:
                db.execute(
                    "INSERT INTO purges (webhook_id, subject, digest, stage, outcome, at)"
                    " VALUES (:webhook_id, :subject, :digest, :stage, :outcome, :at)",
                    asdict(purge),
                )
        return True

    def has(self, webhook_id: str) -> bool:
        """True when this id was acted upon."""
        with self._transaction() as db:
            return _is_seen(db, webhook_id)

    def remember(self, webhook_id: str, now: datetime) -> None:
        """Mark an id whose act is harmless to repeat and too slow to hold the lock meanwhile."""
        self.once(webhook_id, now, lambda: None)

    def purges(self) -> list[Purge]:
        """The latest purges, newest first, at most :data:`MAX_LISTED`."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT webhook_id, subject, digest, stage, outcome, at FROM purges"
                " ORDER BY number DESC LIMIT ?",
                (MAX_LISTED,),
            ).fetchall()
        return [Purge(*row) for row in rows]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        # A connection each: they are cheap here, and SQLite's do not travel between threads.
        db = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        finally:
            db.close()


def _is_seen(db: sqlite3.Connection, webhook_id: str) -> bool:
    return db.execute("SELECT 1 FROM seen WHERE id = ?", (webhook_id,)).fetchone() is not None
