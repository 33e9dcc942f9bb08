"""The tamper matrix, through ``ledger verify``: what somebody with the database did is named.

Each deed is done twice: as it is, and covered, the forger having made anew everything nobody signs:
the index in every entry, leaf hashes, columns, kept subtrees, compact range and size of the head.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mlflow_governance.cli.main import cli
from mlflow_governance.core import canonical
from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.entry import MAX_BYTES, read_entry
from mlflow_governance.ledger.merkle import CompactRange, leaf_hash
from mlflow_governance.ledger.nodes import Node, completed
from mlflow_governance.store import tables
from tests.contract.store.conftest import empty_database
from tests.unit.ledger.builders import signer
from tests.unit.store.builders import Database, home_of, open_database

SIZE, HERE = 300, 100
SIGNED = (64, 200)
"""Sizes of the checkpoints that were exported."""

Row = dict[str, Any]


@dataclass
class Registry:
    """A registry's database, and the home folder of whoever verifies it."""

    database: Database
    home: Path
    url: str
    rows: list[Row]
    nodes: list[Node]
    notes: list[str]

    def verify(self, *options: str) -> None:
        where = ["--home", str(self.home), "--backend-store-uri", self.url]
        cli.main(["ledger", "verify", *where, *options], standalone_mode=False)

    def write(self, rows: list[Row], nodes: list[Node], size: int, tree: CompactRange) -> None:
        """Put rows, subtrees and a head row in the place of what there is; not its note."""
        with self.database.sessions.engine.begin() as connection:
            for table, found in (
                (tables.ledger_entries, rows),
                (tables.ledger_nodes, [node._asdict() for node in nodes]),
            ):
                connection.execute(sa.delete(table))
                if found:
                    connection.execute(sa.insert(table), found)
            head = {"size": size, "compact_range": tree.to_bytes()}
            connection.execute(sa.update(tables.ledger_head).values(head))

    def sign(self, note: str) -> None:
        self.database.run("UPDATE governance_ledger_head SET note = :note", note=note)

    def restore(self) -> None:
        nodes, tree = grown(self.rows)
        self.write(self.rows, nodes, SIZE, tree)
        self.sign(self.notes[SIZE])


def grown(rows: list[Row]) -> tuple[list[Node], CompactRange]:
    nodes, tree = list[Node](), CompactRange()
    for row in rows:
        nodes += completed(tree, row["leaf_hash"])
        tree = tree.append(row["leaf_hash"])
    return nodes, tree


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def registry(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    with empty_database(request.param, folder) as url:
        database = open_database(url)
        database.fill_at_once(SIZE)
        with database.sessions.engine.connect() as connection:
            query = sa.select(tables.ledger_entries).order_by(tables.ledger_entries.c.position)
            rows = [dict(row._mapping) for row in connection.execute(query)]
        nodes, _ = grown(rows)
        notes, tree = [""], CompactRange()
        for row in rows:
            tree = tree.append(row["leaf_hash"])
            notes.append(checkpoint.make(tree.size, tree.root, database.signer))
        home = home_of(database, folder / "home")
        for size in SIGNED:
            (home / "checkpoints" / f"{size}.checkpoint").write_text(notes[size], "utf-8")
        yield Registry(database, home, url, rows, nodes, notes)
        database.sessions.dispose()


@pytest.fixture
def untouched(registry: Registry) -> Iterator[Registry]:
    yield registry
    registry.restore()


def test_an_untouched_ledger_verifies(
    untouched: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    untouched.verify()

    assert f"the ledger verifies: {SIZE} entries" in capsys.readouterr().out


def edited(rows: list[Row]) -> None:
    rows[HERE]["entry"] = rows[HERE]["entry"].replace(b"Staging", b"Revoked")


def replaced(rows: list[Row]) -> None:
    rows[HERE + 1]["entry"] = rows[HERE]["entry"]  # its event id stands there twice


def inserted(rows: list[Row]) -> None:
    rows.insert(HERE, dict(rows[HERE]))
    renumber(rows)


def inserted_at_the_end(rows: list[Row]) -> None:
    rows.append({**rows[-1], "position": SIZE})


def inserted_before_the_start(rows: list[Row]) -> None:
    rows.insert(0, {**rows[0], "position": -1})


def deleted(rows: list[Row]) -> None:
    del rows[HERE]


def deleted_and_renumbered(rows: list[Row]) -> None:
    deleted(rows)
    renumber(rows)


def deleted_at_the_start(rows: list[Row]) -> None:
    del rows[0]


def all_deleted(rows: list[Row]) -> None:
    rows.clear()


def reordered(rows: list[Row]) -> None:
    rows[HERE : HERE + 2] = [rows[HERE + 1], rows[HERE]]
    renumber(rows)


def truncated(rows: list[Row]) -> None:
    del rows[250:]


def made_huge(rows: list[Row]) -> None:
    # Bytes nobody can pack; those one can are refused when they come out.
    rows[HERE]["entry"] = random.Random(6).randbytes(MAX_BYTES) + rows[HERE]["entry"]


def renumber(rows: list[Row]) -> None:
    rows[:] = [{**row, "position": place} for place, row in enumerate(rows)]


Deed = Callable[[list[Row]], None]
FORKED = (r"not the one signed at 200 entries: .*\(between 64 and 199\), or the ledger forked", 64)
FORKED_EARLY = (r"not the one signed at 64 entries: .*\(between 0 and 63\)", 0)
DEEDS: list[tuple[Deed, tuple[str, int], tuple[str, int]]] = [
    (edited, ("entry 100 was edited", HERE), FORKED),
    (replaced, ("entry 101 was moved or edited", HERE + 1), FORKED),
    (inserted, ("entry 101 .* one before it was inserted", HERE + 1), FORKED),
    (inserted_at_the_end, ("entry 300 was inserted", SIZE), ("entry 300 was inserted", SIZE)),
    (inserted_before_the_start, ("numbered -1 was inserted", 0), FORKED_EARLY),
    (deleted, ("entry 100 is missing: deleted", HERE), FORKED),
    (deleted_and_renumbered, ("entry 100 .* one before it was deleted", HERE), FORKED),
    (deleted_at_the_start, ("entry 0 is missing: deleted", 0), FORKED_EARLY),
    (all_deleted, ("truncated: it has no entries", 0), ("truncated: it has no entries", 0)),
    (reordered, ("entry 100 was moved", HERE), FORKED),
    (
        truncated,
        ("truncated: it ends with entry 249, and the signed head counts 300", 250),
        ("truncated: it ends with entry 249, and the signed head counts 300", 250),
    ),
    (
        made_huge,
        ("entry 100 was edited: it has more than 65535 bytes", HERE),
        ("entry 100 was edited: it has more than 65535 bytes", HERE),
    ),
]


def cover(rows: list[Row]) -> list[Row]:
    """Everything nobody signs, made anew."""
    renumber(rows)
    for row in rows:
        if len(row["entry"]) <= MAX_BYTES:
            document = read_entry(row["entry"]) | {"index": row["position"]}
            row["entry"] = canonical.encode(document)
            row |= {"act": document["act"], "version_uid": document["subject"]["uid"]}
        row["leaf_hash"] = leaf_hash(row["entry"])
    return rows


@pytest.mark.parametrize("covered", [False, True], ids=["as it is", "covered"])
@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed[0].__name__)
def test_what_was_done_to_entries_is_named(
    untouched: Registry, deed: tuple[Deed, tuple[str, int], tuple[str, int]], covered: bool
) -> None:
    tamper, plain, hidden = deed
    rows = [dict(row) for row in untouched.rows]
    tamper(rows)
    if covered:
        nodes, tree = grown(cover(rows))
        untouched.write(rows, nodes, len(rows), tree)
    else:
        _, tree = grown(untouched.rows)
        untouched.write(rows, untouched.nodes, SIZE, tree)

    what, index = hidden if covered else plain
    with pytest.raises(LedgerError, match=what) as caught:
        untouched.verify()
    assert caught.value.details["index"] == index
    assert caught.value.exit_code == 3
    assert "compare it with a backup" in caught.value.advice


def test_an_older_backup_is_named(untouched: Registry) -> None:
    nodes, tree = grown(untouched.rows[:150])
    untouched.write(untouched.rows[:150], nodes, 150, tree)
    untouched.sign(untouched.notes[150])

    with pytest.raises(LedgerError, match="rolled back: it ends at 150 entries, and 200 were"):
        untouched.verify()


def test_an_older_backup_that_went_on_is_a_fork(untouched: Registry) -> None:
    rows = [dict(row) for row in untouched.rows]
    for row in rows[150:]:
        row["entry"] = row["entry"].replace(b"Staging", b"Revoked")
    nodes, tree = grown(cover(rows))
    untouched.write(rows, nodes, SIZE, tree)
    untouched.sign(checkpoint.make(SIZE, tree.root, untouched.database.signer))

    with pytest.raises(LedgerError, match=FORKED[0]):
        untouched.verify()


def test_a_covered_edit_after_the_last_checkpoint_is_named_by_the_head(untouched: Registry) -> None:
    rows = [dict(row) for row in untouched.rows]
    rows[260]["entry"] = rows[260]["entry"].replace(b"Staging", b"Revoked")
    nodes, tree = grown(cover(rows))
    untouched.write(rows, nodes, SIZE, tree)

    with pytest.raises(LedgerError, match=r"signed at 300 entries: .*\(between 200 and 299\)"):
        untouched.verify()


def test_subtrees_that_were_forgotten_point_to_an_edit(untouched: Registry) -> None:
    rows = [dict(row) for row in untouched.rows]
    edited(rows)
    _, tree = grown(cover(rows))
    untouched.write(rows, untouched.nodes, SIZE, tree)
    (untouched.home / "checkpoints" / "200.checkpoint").unlink()
    try:
        with pytest.raises(LedgerError, match=r"entries 0 to 255 .*differs"):
            untouched.verify()
    finally:
        later = untouched.home / "checkpoints" / "200.checkpoint"
        later.write_text(untouched.notes[200], "utf-8")


ENTRIES, NODES = "governance_ledger_entries", "governance_ledger_nodes"
HEAD = "governance_ledger_head"
CHANGES = {
    "another version": (f"UPDATE {ENTRIES} SET version_uid = 'u9' WHERE position = 100", "columns"),
    "no version": (f"UPDATE {ENTRIES} SET version_uid = '' WHERE position = 100", "columns"),
    "another act": (f"UPDATE {ENTRIES} SET act = 'policy.changed' WHERE position = 100", "columns"),
    "another moment": (f"UPDATE {ENTRIES} SET at = '2020' WHERE position = 100", "columns"),
    "another leaf": (f"UPDATE {ENTRIES} SET leaf_hash = :h WHERE position = 100", "100 was edited"),
    "a longer leaf": (f"UPDATE {ENTRIES} SET leaf_hash = :l WHERE position = 9", "9 was edited"),
    "a node edited": (f"UPDATE {NODES} SET hash = :h", "0 to 255 .* was edited; the entries .* as"),
    "a node cut": (f"UPDATE {NODES} SET hash = :s", "entries 0 to 255 .* was edited"),
    "a node gone": (f"DELETE FROM {NODES}", "entries 0 to 255 .* is missing; the entries"),
    "a node more": (f"INSERT INTO {NODES} VALUES (1, 1, :h)", "level 1 are not those"),
    "a node before": (f"INSERT INTO {NODES} VALUES (1, -1, :h)", "level 1 are not those"),
    "a level more": (f"INSERT INTO {NODES} VALUES (2, 0, :h)", "level 2 are not those"),
    "a level before": (f"INSERT INTO {NODES} VALUES (-1, 0, :h)", "level -1 are not those"),
    "the size of the head": (f"UPDATE {HEAD} SET size = 299", "head of the ledger was edited"),
    "its subtrees": (f"UPDATE {HEAD} SET compact_range = :h", "head of the ledger was edited"),
    "no head": (f"UPDATE {HEAD} SET note = ''", "head of the ledger: the note carries no"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_done_to_columns_subtrees_or_the_head_is_named(
    untouched: Registry, change: str
) -> None:
    statement, what = CHANGES[change]
    values = {"h": bytes(32), "l": bytes(10_000), "s": b"x"}
    used = set(re.findall(r":(\w)\b", statement))
    untouched.database.run(statement, **{name: values[name] for name in used})

    with pytest.raises(LedgerError, match=what):
        untouched.verify()


TYPES = {
    "entry is text": (f"UPDATE {ENTRIES} SET entry = '{{}}' WHERE position = 7",
                      "entry 7 was edited: it holds no bytes"),
    "entry is not UTF-8": (f"UPDATE {ENTRIES} SET entry = CAST(x'ff' AS TEXT) WHERE position = 7",
                           "entry 7 was edited: a column of it is not text"),
    "leaf is a number": (f"UPDATE {ENTRIES} SET leaf_hash = 7 WHERE position = 7",
                         "entry 7 was edited: it holds no bytes"),
    "position is text": (f"UPDATE {ENTRIES} SET position = 'x' WHERE position = 7",
                         "an entry numbered 'x' was inserted"),
    "position is a fraction": (f"UPDATE {ENTRIES} SET position = 6.5 WHERE position = 7",
                               "an entry numbered 6.5 was inserted"),
    "uid is a blob": (f"UPDATE {ENTRIES} SET version_uid = x'00' WHERE position = 7", "columns"),
    "act is not UTF-8": (f"UPDATE {ENTRIES} SET act = CAST(x'ff' AS TEXT) WHERE position = 7",
                         "entry 7 was edited: a column of it is not text"),
    "node is text": (f"UPDATE {NODES} SET hash = 'x'", "entries 0 to 255 .* was edited"),
    "level is text": (f"INSERT INTO {NODES} VALUES ('x', 0, x'00')", "level 'x' are not those"),
    "two heads": (f"INSERT INTO {HEAD} SELECT 2, size, compact_range, note FROM {HEAD}",
                  "no head row, or more than one"),
}  # fmt: skip


def test_whatever_somebody_wrote_can_be_read_as_bytes(untouched: Registry) -> None:
    if untouched.url.startswith("sqlite"):
        untouched.database.run(TYPES["entry is not UTF-8"][0])
        assert dict(untouched.database.ledger.entries(7, 1)) == {7: b"\xff"}


@pytest.mark.parametrize("change", TYPES)
def test_values_of_another_type_in_sqlite_are_named(untouched: Registry, change: str) -> None:
    if not untouched.url.startswith("sqlite"):
        pytest.skip("only SQLite keeps a value of another type than the column's")
    statement, what = TYPES[change]
    untouched.database.run(statement)
    try:
        with pytest.raises(LedgerError, match=what):
            untouched.verify()
    finally:
        untouched.database.run(f"DELETE FROM {HEAD} WHERE id <> 1")


def test_a_head_signed_by_another_key_is_named(untouched: Registry) -> None:
    _, tree = grown(untouched.rows)
    untouched.sign(checkpoint.make(SIZE, tree.root, signer("registry.example.org/ledger")))

    with pytest.raises(LedgerError, match="the head of the ledger: the note is not signed"):
        untouched.verify()
