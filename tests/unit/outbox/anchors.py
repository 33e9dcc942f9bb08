"""Builders for checkpoints on their way: a ledger in SQLite, places in memory, a witness."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from mlflow_governance.core import moment
from mlflow_governance.errors import Unavailable
from mlflow_governance.ledger import checkpoint
from mlflow_governance.outbox.anchoring import Anchoring
from mlflow_governance.outbox.checkpoint_options import CheckpointOptions
from mlflow_governance.outbox.destinations import Destination, home_folder
from mlflow_governance.store.checkpoint_book import SqlCheckpointBook
from mlflow_governance.store.unit_of_work import SqlStore
from mlflow_governance.workflows.checkpoints import Kept
from tests.unit.store.builders import Database, open_database

_TABLES = ("ledger_head", "ledger_entries", "ledger_checkpoints", "checkpoint_places", "private")


@dataclass
class Shelf:
    """A place in memory that can be away."""

    name: str = "shelf"
    readable: bool = True
    away: bool = False
    has: list[Kept] = field(default_factory=list)

    def put(self, kept: Kept) -> None:
        self._ask()
        self.has.append(kept)

    def seen(self, at_least: int) -> Iterator[Kept]:
        self._ask()
        sized = sorted(self.has, key=lambda one: -size_of(one.note))
        yield from [one for one in sized if size_of(one.note) >= at_least] or sized[:1]

    def _ask(self) -> None:
        if self.away:
            raise Unavailable("the shelf is away")


class Ahead:
    """A clock that can be put forward."""

    seconds = 0.0

    def __call__(self) -> datetime:
        return moment.now() + timedelta(seconds=self.seconds)


@dataclass
class Anchored:
    """A ledger with its home folder, and the job of one worker."""

    database: Database
    home: Path
    clock: Ahead
    anchoring: Anchoring

    def fill(self, entries: int = 1) -> None:
        """Record events, as a server that has just started does."""
        store = SqlStore(self.database.sessions, ledger_signer=self.database.signer)
        replace(self.database, store=store).fill(entries)

    def round(self) -> None:
        """What a worker does in a while: gather, and deliver everywhere."""
        self.clock.seconds += 3600
        self.anchoring.gather()
        for one in self.anchoring.destinations:
            self.anchoring.deliver(one)

    def with_(self, *destinations: Destination, **options: object) -> Anchored:
        """The same ledger with other settings, as after a restart."""
        made = replace(
            self.anchoring,
            options=replace(self.anchoring.options, **options),  # type: ignore[arg-type]
            destinations=destinations or self.anchoring.destinations,
        )
        return replace(self, anchoring=made)

    def backup(self) -> dict[str, list[dict[str, object]]]:
        """All rows of the ledger."""
        return {
            table: [
                dict(row._mapping) for row in self.database.run(f"SELECT * FROM {_full(table)}")
            ]
            for table in _TABLES
        }

    def restore(self, rows: dict[str, list[dict[str, object]]]) -> None:
        """What a database administrator does with an older backup."""
        with self.database.sessions.engine.begin() as connection:
            for table in reversed(_TABLES):
                connection.execute(sa.text(f"DELETE FROM {_full(table)}"))
            for table in _TABLES:
                for row in rows[table]:
                    names = ", ".join(f'"{name}"' for name in row)
                    binds = ", ".join(f":{name}" for name in row)
                    connection.execute(
                        sa.text(f"INSERT INTO {_full(table)} ({names}) VALUES ({binds})"), row
                    )

    def place(self, name: str = "shelf") -> object:
        """What the book says of a place."""
        (found,) = self.anchoring.book.places(name)  # type: ignore[attr-defined]
        return found


def size_of(note: str) -> int:
    return checkpoint.parse(note).size


def anchored(folder: Path, *destinations: Destination, **options: object) -> Anchored:
    database = open_database(f"sqlite:///{folder}/registry.db")
    home, clock = folder / "checkpoints", Ahead()
    home.mkdir()
    anchoring = Anchoring(
        CheckpointOptions(**options),  # type: ignore[arg-type]
        database.key,
        database.ledger,
        SqlCheckpointBook(database.sessions, clock),
        home_folder(home),
        destinations,
    )
    return Anchored(database, home, clock, anchoring)


def _full(table: str) -> str:
    return f"governance_{table}"
