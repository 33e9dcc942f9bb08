"""The index of advisories: one SQLite file, written once and read by many processes.

A look-up reads only what it needs, so a database of a hundred thousand advisories costs a server
process neither seconds nor memory. The file is never changed: a new one takes its place
(``advisory_update``), and whoever has the old one open goes on reading that.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlflow_governance.core import moment
from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence import osv
from mlflow_governance.evidence.osv import Advisory

FILE_NAME = "advisories.sqlite"
SOURCES = ("advisories", "kev", "epss")

_FORMAT = "1"
_TABLES = """
    CREATE TABLE advisories (package TEXT NOT NULL, document TEXT NOT NULL);
    CREATE TABLE kev (id TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE epss (id TEXT PRIMARY KEY, score REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE sources (name TEXT PRIMARY KEY, count INTEGER NOT NULL, newest TEXT);
    CREATE TABLE about (format TEXT NOT NULL, written TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Source:
    """How much of one kind there is, and as of when; ``newest`` is None where there is nothing."""

    count: int = 0
    newest: datetime | None = None


class IndexFile:
    """An index opened for reading. Safe to share between threads.

    Raises:
        VerificationError: it is no index this release can read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            # Immutable: the file is only ever replaced, so no lock is taken and no journal sought.
            self._connection = sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        ((found, written),) = self._ask("SELECT format, written FROM about")
        if found != _FORMAT:
            raise self._unusable(f"it has the format {found!r:.20}")
        self.written = self._instant(written)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def __del__(self) -> None:
        with suppress(AttributeError):  # it could not be opened
            self._connection.close()

    def source(self, name: str) -> Source:
        """What it holds of one of :data:`SOURCES`."""
        rows = self._ask("SELECT count, newest FROM sources WHERE name = ?", name)
        for count, newest in rows:
            return Source(int(count), self._instant(newest) if newest else None)
        return Source()

    def about(self, package: str) -> list[Advisory]:
        """The advisories about a package (canonical name)."""
        rows = self._ask("SELECT document FROM advisories WHERE package = ?", package)
        try:
            return [Advisory.from_document(json.loads(text)) for (text,) in rows]
        except (ValueError, TypeError) as error:
            raise self._unusable(error) from error

    def is_exploited(self, names: Iterable[str]) -> bool:
        """True when one of these names is in the catalogue of known exploited vulnerabilities."""
        return any(self._ask("SELECT 1 FROM kev WHERE id = ?", name) for name in names)

    def likelihood(self, names: Iterable[str]) -> float | None:
        """The highest EPSS probability (0.0 to 1.0) of these names; None where none has one."""
        found = (self._ask("SELECT score FROM epss WHERE id = ?", name) for name in names)
        return max((float(score) for rows in found for (score,) in rows), default=None)

    def _ask(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            with self._lock, closing(self._connection.execute(statement, values)) as cursor:
                return cursor.fetchall()
        except (sqlite3.Error, UnicodeEncodeError) as error:
            raise self._unusable(error) from error

    def _instant(self, text: object) -> datetime:
        try:
            return moment.parse(text)
        except InvalidRequest as error:
            raise self._unusable(error.message) from error

    def _unusable(self, why: object) -> VerificationError:
        return VerificationError(
            f"the index of advisories {self._path} cannot be read: {why}",
            advice="Build it again: mlflow-governance advisories update ARCHIVE --force",
        )


@dataclass
class IndexWriter:
    """Writes a new index, source by source; unfinished until :meth:`finish` returns."""

    path: Path
    connection: sqlite3.Connection = field(init=False)

    def __post_init__(self) -> None:
        # Nothing else reads the file before it is finished, and then it is synced as a whole.
        self.connection = sqlite3.connect(self.path, isolation_level=None)
        for setting in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE"):
            self.connection.execute(f"PRAGMA {setting}")
        self.connection.executescript(_TABLES)
        self.connection.execute("BEGIN")

    def add_advisories(self, documents: Iterable[osv.Document]) -> None:
        """Every advisory that is not withdrawn, and how many documents hold one."""
        count, newest = 0, None
        for document in documents:
            if document.modified is not None:
                newest = max(newest or document.modified, document.modified)
            count += bool(document.found)
            rows = [(name, json.dumps(found.to_document())) for name, found in document.found]
            self.connection.executemany("INSERT INTO advisories VALUES (?, ?)", rows)
        self._note("advisories", Source(count, newest))

    def add_kev(self, names: Iterable[str], released: datetime) -> None:
        """The catalogue of known exploited vulnerabilities."""
        rows = [(name,) for name in names]
        self.connection.executemany("INSERT OR IGNORE INTO kev VALUES (?)", rows)
        self._note("kev", Source(len(rows), released))

    def add_epss(self, scores: Iterable[tuple[str, float]], scored: datetime) -> None:
        """Scores by name."""
        rows = dict(scores)
        self.connection.executemany("INSERT INTO epss VALUES (?, ?)", rows.items())
        self._note("epss", Source(len(rows), scored))

    def copy(self, name: str, other: Path) -> None:
        """Take over one source of another index as it is."""
        self.connection.execute("COMMIT")
        self.connection.execute("ATTACH ? AS other", (f"{other}",))
        self.connection.execute("BEGIN")
        self.connection.execute(f"INSERT INTO main.{name} SELECT * FROM other.{name}")  # noqa: S608
        self.connection.execute(
            "INSERT INTO main.sources SELECT * FROM other.sources WHERE name = ?", (name,)
        )
        self.connection.execute("COMMIT")
        self.connection.execute("DETACH other")
        self.connection.execute("BEGIN")

    def finish(self, now: datetime) -> None:
        """Complete the file and close it."""
        self.connection.execute("CREATE INDEX by_package ON advisories (package)")
        self.connection.execute("INSERT INTO about VALUES (?, ?)", (_FORMAT, moment.to_text(now)))
        self.connection.execute("COMMIT")
        self.connection.close()

    def _note(self, name: str, source: Source) -> None:
        newest = moment.to_text(source.newest) if source.newest else None
        self.connection.execute(
            "INSERT INTO sources VALUES (?, ?, ?)", (name, source.count, newest)
        )


def read_sources(path: Path) -> Iterator[tuple[str, Source]]:
    """What an index holds, by name."""
    index = IndexFile(path)
    try:
        for name in SOURCES:
            yield name, index.source(name)
    finally:
        index.close()
