"""``ledger export`` and ``ledger verifier``, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlflow_governance import config
from mlflow_governance.bootstrap import ledger_signer, prepare_home
from mlflow_governance.cli.main import cli
from mlflow_governance.core.event import Act
from mlflow_governance.custody.ledger import ledger_keys
from mlflow_governance.errors import InvalidRequest, LedgerError
from mlflow_governance.store.ledger import SqlLedger
from mlflow_governance.store.migrate import upgrade
from mlflow_governance.store.sessions import session_factory_for
from mlflow_governance.store.unit_of_work import SqlStore
from tests.unit.audit.builders import VERIFIER
from tests.unit.audit.builders import run as verify
from tests.unit.store.builders import event


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    prepare_home(config.load(folder))
    upgrade(_url(folder))
    return folder


def _url(home: Path) -> str:
    return f"sqlite:///{home}/registry.db"


def _fill(home: Path, entries: int) -> None:
    signer = ledger_signer(config.load(home))
    store = SqlStore(session_factory_for(_url(home)), ledger_signer=signer)
    for number in range(entries):
        with store.begin() as uow:
            uow.record(event(reason=f"reason {number}"))


def _run(home: Path, *words: object) -> Result:
    options = ["--home", str(home), "--backend-store-uri", _url(home)]
    command = ["ledger", "export", *map(str, words), *options]
    return CliRunner().invoke(cli, command, catch_exceptions=True, standalone_mode=False)


def test_an_export_verifies_on_an_auditors_machine(home: Path, tmp_path: Path) -> None:
    _fill(home, 3)
    note = SqlLedger(session_factory_for(_url(home))).head()
    (home / "checkpoints" / "000000000003.checkpoint").write_text(note, "utf-8")
    (home / "checkpoints" / "000000000003.tsr").write_bytes(b"a stamp")
    done = _run(home, tmp_path / "out", "--json")
    assert done.exception is None, done.output
    told = json.loads(done.output)
    assert (told["size"], told["added"], told["checkpoints"]) == (4, 4, 1)
    assert "ann" not in "".join(p.read_text("latin-1") for p in _files(tmp_path / "out"))

    desk = tmp_path / "desk"
    desk.mkdir()
    key = ledger_keys(config.load(home)).newest.encode()
    answer = verify("ledger", tmp_path / "out", "--key", key, cwd=desk)
    assert (answer.code, answer.report["root"]) == (0, told["root"]), answer.problem
    assert answer.report["stamps_not_checked"] == 1


def test_every_export_is_an_entry_and_in_itself(home: Path, tmp_path: Path) -> None:
    _fill(home, 1)
    for number in (1, 2):
        assert _run(home, tmp_path / "out").exception is None
        view = SqlLedger(session_factory_for(_url(home)))
        (last,) = view.entries(number, 1)
        entry = json.loads(last[1])
        assert (entry["act"], entry["facts"]) == (Act.LEDGER_EXPORTED, {"size": number})
        assert (tmp_path / "out" / "checkpoint").read_text("utf-8") == view.head()


def test_the_commands_say_what_was_written(home: Path, tmp_path: Path) -> None:
    _fill(home, 1)
    said = _run(home, tmp_path / "out").output
    assert "2 entries (2 new)" in said
    assert ledger_keys(config.load(home)).newest.encode() in said


def test_a_tampered_database_does_not_leave(home: Path, tmp_path: Path) -> None:
    _fill(home, 3)
    sessions = session_factory_for(_url(home))
    with sessions.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE governance_ledger_entries SET entry = "
            "(SELECT entry FROM governance_ledger_entries WHERE position = 2) WHERE position = 1"
        )
    failed = _run(home, tmp_path / "out")
    assert isinstance(failed.exception, LedgerError), failed.output
    assert not (tmp_path / "out").exists()


def test_an_export_that_is_refused_is_no_entry(home: Path, tmp_path: Path) -> None:
    _fill(home, 1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").touch()

    failed = _run(home, tmp_path / "full")

    assert isinstance(failed.exception, InvalidRequest), failed.output
    assert len(list(SqlLedger(session_factory_for(_url(home))).entries())) == 1
    assert not list(tmp_path.glob("*.unfinished"))


def test_the_verifier_is_written_out_as_it_is(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(cli, ["ledger", "verifier", "-o", str(tmp_path / "v.py")]).exit_code == 0
    assert (tmp_path / "v.py").read_bytes() == VERIFIER.read_bytes()
    assert runner.invoke(cli, ["ledger", "verifier"]).output == VERIFIER.read_text("utf-8")


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_an_act_whose_entry_no_tile_could_hold_is_refused_and_changes_nothing(home: Path) -> None:
    sessions = session_factory_for(_url(home))
    store = SqlStore(sessions, ledger_signer=ledger_signer(config.load(home)))
    _fill(home, 1)
    before = SqlLedger(sessions).head()
    with pytest.raises(InvalidRequest, match="at most 65535"), store.begin() as uow:
        uow.record(event(facts={"asked": "x" * 70_000}))
    assert SqlLedger(sessions).head() == before
    _fill(home, 1)
    assert len(list(SqlLedger(sessions).entries())) == 2
