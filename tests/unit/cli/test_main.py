"""What every command has in common: how it ends, and what it leaves behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlflow_governance import config
from mlflow_governance.bootstrap import prepare_home
from mlflow_governance.cli import main
from mlflow_governance.cli.operation import open_sessions
from mlflow_governance.errors import ConfigurationError, NotFound, Unavailable

READING = (
    ("ledger", "verify"),
    ("ledger", "head"),
    ("ledger", "prove", "1"),
    ("ledger", "anchors"),
    ("ledger", "export", "out"),
    ("ledger", "recover", "--reason", "why"),
    ("as-of", "1h"),
    ("explain", "churn/1"),
    ("evidence", "churn/1"),
    ("validate",),
    ("retention", "status"),
    ("privacy", "export", "ann"),
    ("keys", "rotate", "ledger", "--reason", "why"),
    ("outbox", "status"),
    ("outbox", "replay", "--target", "siem"),
    ("policy", "log"),
    ("policy", "rates"),
    ("policy", "differences"),
)


def ends(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["mlflow-governance", *words])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.mark.parametrize("place", ["nowhere/verify.py", "file/verify.py"])
def test_a_file_that_cannot_be_written_is_one_line(
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()

    assert ends(monkeypatch, "ledger", "verifier", "-o", str(tmp_path / place)) == 2

    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path / place}: ")
    assert len(said.splitlines()) == 1


def test_what_is_about_no_file_is_shown_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("not of a file")

    monkeypatch.setattr(main, "cli", fail)
    with pytest.raises(OSError, match="not of a file"):
        main.main()


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_database_that_is_not_there_is_named_and_not_made(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    prepare_home(config.load(home))
    monkeypatch.setenv("MLFLOW_GOVERNANCE_HOME", str(home))
    monkeypatch.chdir(tmp_path)

    refused = CliRunner().invoke(main.cli, words, standalone_mode=False).exception

    assert isinstance(refused, NotFound), refused
    assert str(tmp_path / "mlflow.db") in refused.message
    assert "--backend-store-uri" in refused.advice
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize(
    ("command", "log", "said"),
    [
        ("serve", "registry.example.org/ledger", "ledger key"),
        ("forget", "mlflow-governance/ledger+8e5e1bb7+AQ", "there is no key"),
    ],
)
def test_a_witness_that_cannot_be_makes_no_key(
    command: str, log: str, said: str, tmp_path: Path
) -> None:
    words = ["witness", command, "--name", "w", "--state", str(tmp_path / "state"), "--log", log]
    words += ["--key", str(tmp_path / "w.pem"), *(["--yes"] if command == "forget" else [])]

    refused = CliRunner().invoke(main.cli, words, standalone_mode=False).exception

    assert isinstance(refused, ConfigurationError), refused
    assert said in refused.message
    assert refused.advice
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_damaged_database_is_called_so(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_home(config.load(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_GOVERNANCE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 100)

    refused = CliRunner().invoke(main.cli, words, standalone_mode=False).exception

    assert isinstance(refused, ConfigurationError), refused
    assert "the database is damaged: file is not a database" in refused.message
    assert "restore a backup" in refused.advice


@pytest.mark.parametrize("may", [True, False])
def test_who_may_not_open_a_database_is_not_told_to_ask_again(
    may: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(engine: object) -> None:
        raise Unavailable("unable to open database file")

    monkeypatch.setattr("mlflow_governance.store.migrate.require_current", refuse)
    monkeypatch.setattr("os.access", lambda path, mode: may)
    (tmp_path / "mlflow.db").touch()
    with pytest.raises(Unavailable if may else ConfigurationError) as refused:
        open_sessions(f"sqlite:///{tmp_path / 'mlflow.db'}")
    if not may:
        assert "this user cannot open" in refused.value.message
        assert "as the user the server runs as" in refused.value.advice
