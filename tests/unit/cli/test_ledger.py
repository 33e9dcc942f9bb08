"""``ledger``: what an auditor asks for, and a long verification that is interrupted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
import sqlalchemy as sa

from mlflow_governance.cli.history import Progress
from mlflow_governance.cli.main import cli
from mlflow_governance.core import moment
from mlflow_governance.errors import ConfigurationError, InvalidRequest, LedgerError, NotFound
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.merkle import CompactRange, leaf_hash
from mlflow_governance.ledger.nodes import Node, completed
from mlflow_governance.ledger.note import NoteKey
from mlflow_governance.ledger.part import PART
from mlflow_governance.store import tables
from tests.unit.ledger.builders import AT, encoded, signer
from tests.unit.store.builders import Database, home_of, open_database

ENTRIES = "governance_ledger_entries"
SIZE = 2 * PART + 300
KEPT = (100, PART + 1000)
"""Sizes of the checkpoints somebody kept."""


@dataclass
class Long:
    """A ledger of three parts, and a home folder that verifies it."""

    database: Database
    home: Path
    url: str
    notes: dict[int, str] = field(default_factory=dict)

    def run(self, command: str, *arguments: str) -> None:
        where = ["--home", str(self.home), "--backend-store-uri", self.url]
        if command in {"key", "check"}:
            where = where[:2]
        cli.main(["ledger", command, *arguments, *where], standalone_mode=False)

    def file(self, size: int) -> str:
        path = self.home / f"kept-{size}"
        path.write_text(self.notes[size], "utf-8")
        return str(path)

    @property
    def state(self) -> Path:
        return self.home / "verification.json"

    def edit(self, position: int) -> None:
        """Change a byte of an entry; twice is not at all."""
        data = self.database.entry(position)
        old, new = (b"Staging", b"Stagins") if b"Staging" in data else (b"Stagins", b"Staging")
        self.database.write_entry(position, data.replace(old, new))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Long]:
    folder = tmp_path_factory.mktemp("long")
    url = f"sqlite:///{folder}/registry.db"
    database = open_database(url)
    long = Long(database, home_of(database, folder / "home"), url)
    rows, nodes, tree = [], list[Node](), CompactRange()
    for index in range(SIZE):
        data = encoded(index)
        leaf = leaf_hash(data)
        nodes += completed(tree, leaf)
        tree = tree.append(leaf)
        rows.append({
            "position": index, "entry": data, "leaf_hash": leaf, "act": "version.transitioned",
            "version_uid": "u1", "at": AT,
        })  # fmt: skip
        if tree.size in (*KEPT, SIZE):
            long.notes[tree.size] = checkpoint.make(tree.size, tree.root, database.signer)
    head = {"size": SIZE, "compact_range": tree.to_bytes(), "note": long.notes[SIZE]}
    with database.sessions.engine.begin() as connection:
        connection.execute(sa.insert(tables.ledger_entries), rows)
        connection.execute(sa.insert(tables.ledger_nodes), [node._asdict() for node in nodes])
        connection.execute(sa.update(tables.ledger_head).values(head))
    yield long
    database.sessions.dispose()


@pytest.fixture
def long(filled: Long) -> Iterator[Long]:
    yield filled
    filled.state.unlink(missing_ok=True)
    for path in filled.home.glob("kept-*"):
        path.unlink()


@pytest.fixture
def interrupted(
    long: Long, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Long:
    """After the first of three parts."""
    with monkeypatch.context() as patched:
        patched.setattr(Progress, "more", _interrupt)
        with pytest.raises(click.exceptions.Abort):
            long.run("verify")
    told = f"interrupted after {PART} entries; to go on: mlflow-governance ledger verify --resume"
    assert told in capsys.readouterr().err
    return long


def _interrupt(progress: Progress, count: int) -> None:
    if progress._seen:
        raise KeyboardInterrupt
    progress._seen += count


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_ledger_is_verified_by_one_process_or_more(
    long: Long, processes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    long.run("verify", "--processes", processes, "--json")

    report = json.loads(capsys.readouterr().out)
    assert report.pop("anchors")["not_anchored"] == SIZE
    assert report == {
        "origin": "registry.example.org/ledger",
        "size": SIZE,
        "root": checkpoint.parse(long.notes[SIZE]).root.hex(),
        "checkpoints": 0,
        "read_from": 0,
        "deleted": 0,
    }
    assert not long.state.exists()
    edits = (PART + 9, 2 * PART + 9)  # in different parts, and the first is named
    for position in edits:
        long.edit(position)
    with pytest.raises(LedgerError, match=f"entry {PART + 9} was edited"):
        long.run("verify", "--processes", processes)
    for position in edits:
        long.edit(position)


def test_progress_is_shown_where_somebody_looks(
    long: Long, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mlflow_governance.cli.history._SECONDS", -1.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)

    long.run("verify")

    assert f"\r{PART:,} of at most {SIZE:,} entries" in capsys.readouterr().err


def test_an_interrupted_run_goes_on_and_says_what_it_did_not_read_again(
    interrupted: Long, capsys: pytest.CaptureFixture[str]
) -> None:
    assert interrupted.state.stat().st_mode & 0o777 == 0o600
    interrupted.edit(5)  # one verification with a pause: what was read is not read again

    interrupted.run("verify", "--resume")

    out = capsys.readouterr().out
    assert f"{SIZE} entries" in out
    assert f"entries before {PART} were read by the interrupted run" in out
    assert not interrupted.state.exists()
    with pytest.raises(LedgerError, match="entry 5 was edited"):
        interrupted.run("verify")
    interrupted.edit(5)


def test_what_comes_after_the_interruption_is_found(interrupted: Long) -> None:
    interrupted.edit(PART)
    with pytest.raises(LedgerError, match=f"entry {PART} was edited"):
        interrupted.run("verify", "--resume")
    interrupted.edit(PART)
    assert not interrupted.state.exists()  # it came to an end


def test_a_run_that_is_not_told_to_resume_begins_anew(interrupted: Long) -> None:
    interrupted.edit(5)
    with pytest.raises(LedgerError, match="entry 5 was edited"):
        interrupted.run("verify")
    interrupted.edit(5)


def test_a_run_that_was_killed_goes_on_too(long: Long, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlflow_governance.cli.ledger._SECONDS", -1.0)
    saved: list[int] = []
    monkeypatch.setattr(
        "mlflow_governance.cli.unfinished.Unfinished.save",
        lambda self, home: saved.append(self.tree.size),
    )

    long.run("verify")

    assert saved == [PART, 2 * PART, 2 * PART]


def test_a_home_that_cannot_be_written_is_verified_from_all_the_same(
    long: Long, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("read-only file system")

    monkeypatch.setattr("mlflow_governance.cli.ledger._SECONDS", -1.0)
    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)

    long.run("verify")


def change(**members: Any) -> Callable[[Long], None]:
    def write(long: Long) -> None:
        document = json.loads(long.state.read_text("utf-8"))
        long.state.write_text(json.dumps(document | members), "utf-8")

    return write


LONG_AGO = moment.to_text(moment.now() - timedelta(hours=25))
LATER = moment.to_text(moment.now() + timedelta(hours=2))
STATES: dict[str, tuple[Callable[[Long], object], str]] = {
    "none": (lambda long: long.state.unlink(), "no verification was interrupted"),
    "no JSON": (lambda long: long.state.write_text("{"), "cannot be read"),
    "empty": (lambda long: long.state.write_text("{}"), "cannot be read"),
    "huge": (lambda long: long.state.write_text("[" * 99_999), "cannot be read"),
    "another key": (change(key="x+00000000+AQ=="), "of another ledger"),
    "another database": (change(database="sha256:" + "0" * 64), "of another ledger"),
    "another schema": (change(schema=2), "of another ledger"),
    "too old": (change(began=LONG_AGO), "too long ago"),
    "of the future": (change(began=LATER), "too long ago"),
    "another size": (change(size=PART + 1), "cannot be read"),
    "open to others": (lambda long: long.state.chmod(0o666), "written by others"),
}


@pytest.mark.parametrize("state", STATES)
def test_nothing_is_gone_on_with_that_is_not_of_this_run(interrupted: Long, state: str) -> None:
    spoil, message = STATES[state]
    spoil(interrupted)

    with pytest.raises(InvalidRequest, match=message) as caught:
        interrupted.run("verify", "--resume")
    assert "ledger verify" in caught.value.advice


@pytest.mark.parametrize(
    "members",
    [
        {"subtrees": "00" * 32},
        {"size": 4 * PART},
        {"size": 4096},
        {"size": 0, "subtrees": ""},
    ],
)
def test_a_forged_beginning_verifies_nothing(interrupted: Long, members: dict[str, Any]) -> None:
    interrupted.edit(5)
    change(**members)(interrupted)

    with pytest.raises(LedgerError):
        interrupted.run("verify", "--resume")
    interrupted.edit(5)


def test_since_a_checkpoint_only_what_came_after_it_is_read(
    long: Long, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = long.file(PART + 1000)
    long.edit(5)

    long.run("verify", "--since", kept)

    assert f"entries before {PART} were not read: kept-{PART + 1000}" in capsys.readouterr().out
    long.edit(5)
    for position in (PART + 10, PART + 1000, SIZE - 1):
        long.edit(position)
        with pytest.raises(LedgerError, match=f"entry {position} was edited"):
            long.run("verify", "--since", kept)
        long.edit(position)


def test_since_an_early_checkpoint_everything_is_read(
    long: Long, capsys: pytest.CaptureFixture[str]
) -> None:
    long.run("verify", "--since", long.file(100))

    assert "were not read" not in capsys.readouterr().out


def test_since_proves_every_older_checkpoint_too(long: Long) -> None:
    other = checkpoint.make(100, bytes(32), long.database.signer)
    exported = long.home / "checkpoints" / "100.checkpoint"
    exported.write_text(other, "utf-8")
    try:
        with pytest.raises(LedgerError, match="does not continue that of 100"):
            long.run("verify", "--since", long.file(PART + 1000))
    finally:
        exported.unlink()


@pytest.mark.parametrize("of", ["another key", "a fork", "a longer ledger"])
def test_since_a_checkpoint_that_is_not_of_this_ledger_is_refused(long: Long, of: str) -> None:
    by = signer("registry.example.org/ledger") if of == "another key" else long.database.signer
    size = SIZE + 1 if of == "a longer ledger" else PART + 1000
    long.notes[0] = checkpoint.make(size, bytes(32), by)

    with pytest.raises(LedgerError):
        long.run("verify", "--since", long.file(0))


@pytest.mark.parametrize("how", ["--since", "--resume"])
def test_an_entry_emptied_where_nothing_is_read_again_is_missed(
    interrupted: Long, how: str
) -> None:
    columns = "entry, act, version_uid"
    ((before),) = interrupted.database.run(f"SELECT {columns} FROM {ENTRIES} WHERE position = 5")
    set_it = f"UPDATE {ENTRIES} SET entry = :entry, act = :act, version_uid = :uid"
    where = f"{set_it} WHERE position = 5"
    interrupted.database.run(where, entry=b"", act="expired", uid="")
    kept = [interrupted.file(PART + 1000)] if how == "--since" else []

    try:
        with pytest.raises(LedgerError, match="entry 5 is missing"):
            interrupted.run("verify", how, *kept)
    finally:
        interrupted.database.run(where, entry=before[0], act=before[1], uid=before[2])


def test_since_and_resume_are_two_questions(long: Long) -> None:
    with pytest.raises(InvalidRequest):
        long.run("verify", "--since", long.file(100), "--resume")


def test_an_auditor_takes_proofs_home(
    long: Long, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long.run("key")
    vkey = capsys.readouterr().out
    assert NoteKey.parse(vkey) == long.database.key
    (tmp_path / "registry.vkey").write_text(vkey)
    long.run("head")
    assert capsys.readouterr().out == long.notes[SIZE]
    entry, proof = tmp_path / "entry.json", tmp_path / "entry.tlog-proof"
    entry.write_bytes(encoded(9))

    for options in ((), ("--checkpoint", long.file(100))):
        long.run("prove", "9", "-o", str(proof), *options)
        for key in (vkey.strip(), str(tmp_path / "registry.vkey")):
            long.run("check", str(proof), "--against", str(entry), "--key", key)
        size = 100 if options else SIZE
        assert f"included in the ledger of {size} entries" in capsys.readouterr().out
    entry.write_bytes(encoded(10))
    with pytest.raises(LedgerError):
        long.run("check", str(proof), "--against", str(entry))
    with pytest.raises(LedgerError):
        long.run("check", str(proof), "--against", str(entry), "--key", signer().key.encode())
    with pytest.raises(ConfigurationError):
        long.run("check", str(proof), "--against", str(entry), "--key", "no+key")
    with pytest.raises(InvalidRequest):
        long.run("check", str(proof))
    with pytest.raises(NotFound):
        long.run("prove", "100", "--checkpoint", long.file(100))


def test_an_auditor_is_shown_that_nothing_was_taken_back(
    long: Long, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, proof = long.file(100), tmp_path / "since.tlog-consistency"

    long.run("consistency", kept)
    long.run("consistency", kept, long.file(PART + 1000))
    long.run("consistency", kept, "-o", str(proof))
    long.run("check", str(proof), "--against", kept)

    told = f"the ledger of {SIZE} entries continues that of 100\n"
    between = f"the ledger of {PART + 1000} entries continues that of 100\n"
    assert capsys.readouterr().out == told + between + told + told
    with pytest.raises(LedgerError, match="of another checkpoint"):
        long.run("check", str(proof), "--against", long.file(PART + 1000))
    long.notes[1] = checkpoint.make(100, bytes(32), long.database.signer)
    with pytest.raises(LedgerError, match="it forked, or was changed"):
        long.run("consistency", long.file(1))
    long.notes[1] = checkpoint.make(SIZE + 1, bytes(32), long.database.signer)
    with pytest.raises(LedgerError, match="rolled back"):
        long.run("consistency", long.file(1))
    long.notes[1] = checkpoint.make(100, bytes(32), signer("registry.example.org/ledger"))
    with pytest.raises(LedgerError, match="not signed by"):
        long.run("consistency", long.file(1))


def test_an_entry_is_proved_by_its_event(long: Long, tmp_path: Path) -> None:
    proof = tmp_path / "p"

    long.run("prove", "--event", f"{17:032x}", "-o", str(proof))

    assert "index 17\n" in proof.read_text()
    with pytest.raises(NotFound):
        long.run("prove", "--event", "f" * 32)
    for wrong in ((), ("3", "--event", "x"), ("--event", "x", "--decision", "y")):
        with pytest.raises(InvalidRequest, match="name one entry"):
            long.run("prove", *wrong)


def test_an_entry_is_proved_by_its_decision(tmp_path: Path) -> None:
    from tests.unit.store.builders import decision, event

    url = f"sqlite:///{tmp_path}/small.db"
    database = open_database(url)
    decided, dossier = decision()
    with database.store.begin() as uow:
        uow.record(event(subject={"uid": "u1"}))
        uow.add_decision(decided, dossier, "u1")
        uow.record(event(decision_id=decided.decision_id))
    small = Long(database, home_of(database, tmp_path / "home"), url)

    small.run("prove", "--decision", decided.decision_id, "-o", str(tmp_path / "p"))

    assert "index 1\n" in (tmp_path / "p").read_text()
    database.sessions.dispose()


def test_a_proof_and_its_entry_are_all_it_takes(
    long: Long, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proof, entry = str(tmp_path / "17.tlog-proof"), str(tmp_path / "17.json")

    long.run("prove", "17", "-o", proof, "--entry", entry)

    said = capsys.readouterr().out
    assert f"{proof}: entry 17 is in the ledger of {SIZE} entries" in said
    assert f"mlflow-governance ledger check {proof} --against {entry}" in said
    assert Path(entry).read_bytes() == long.database.entry(17)
    long.run("check", proof, "--against", entry)
    assert f"included in the ledger of {SIZE} entries" in capsys.readouterr().out
    with pytest.raises(InvalidRequest, match="entry's bytes") as refused:
        long.run("check", proof)
    assert "ledger prove INDEX --entry FILE" in refused.value.advice


@pytest.mark.parametrize(
    "words",
    [
        ("prove", "17", "--checkpoint", "FILE"),
        ("consistency", "FILE"),
        ("verify", "--since", "FILE"),
        ("verify", "--checkpoint", "FILE"),
        ("check", "FILE", "--against", "FILE"),
    ],
    ids=" ".join,
)
def test_a_file_that_is_something_else_is_named(
    long: Long, words: tuple[str, ...], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_text("of something else\n")
    command, *rest = (str(other) if word == "FILE" else word for word in words)

    with pytest.raises(LedgerError, match="other: "):
        long.run(command, *rest)
