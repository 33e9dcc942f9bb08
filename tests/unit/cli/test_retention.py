"""``retention``, as it is typed, over a registry of eight years; and what others say of it then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlflow_governance.cli.main import cli
from mlflow_governance.core import moment
from mlflow_governance.core.event import Act
from mlflow_governance.errors import ConfigurationError, LedgerError, NotFound
from mlflow_governance.ledger.entry import read_entry
from tests.unit.workflows.aged import ENDED, Aged, lived_in, opened
from tests.unit.workflows.homes import home_of

CONFIG = "registry_name: test\nretention: {years: 7, holds: [kept, chrun*]}\n"


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lived_in(tmp_path_factory.getbasetemp())


@pytest.fixture
def registry(lived: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Aged:
    made = opened(lived, tmp_path / "copy")
    home = home_of(made)
    (home / "config.yaml").write_text(CONFIG)
    monkeypatch.setenv("MLFLOW_GOVERNANCE_HOME", str(home))
    monkeypatch.setattr(moment, "now", lambda: ENDED)
    return made


def run(registry: Aged, *words: str, typed: str | None = None) -> Result:
    command = [*words, "--backend-store-uri", str(registry.sessions.engine.url)]
    return CliRunner().invoke(cli, command, input=typed, standalone_mode=False)


def test_the_status_says_what_is_kept_and_what_could_go(registry: Aged) -> None:
    result = run(registry, "retention", "status")

    assert result.exception is None, result.exception
    for words in (
        "kept for     7 years, legal holds: kept, chrun*",
        f"entries      {registry.entries()}, the oldest of 2026-11-21T03:00:02",
        "deleted      0",
        "from before 2027-11-26T00:00:00.000000Z",
        "warning      no model of this ledger is named by the hold chrun*",
        "retention expire --dry-run",
    ):
        assert words in result.output, words
    told = json.loads(run(registry, "retention", "status", "--json").output)
    assert told["could_go"] == len(registry.going(holds=("kept",)))
    assert told["uncounted_days"] == 0


def test_a_dry_run_and_a_no_change_nothing(registry: Aged) -> None:
    before = registry.entries()
    for words, typed in (
        (["--dry-run"], None),
        ([], "n\n"),
        (["--dry-run", "--as-if", "2050-01-01"], None),
    ):
        run(registry, "retention", "expire", *words, typed=typed)

    assert registry.entries() == before


def test_nothing_is_deleted_as_if_it_were_later(registry: Aged) -> None:
    rehearsed = run(registry, "retention", "expire", "--dry-run", "--as-if", "2050-01-01")
    refused = run(registry, "retention", "expire", "--yes", "--as-if", "2050-01-01")

    assert "registry.started" in rehearsed.output
    assert refused.exception is not None
    assert "nothing is deleted before its time" in str(refused.exception)
    assert registry.ledger.verify(registry.ledger_key).deleted == 0


def test_what_goes_is_told_first_and_recorded(registry: Aged) -> None:
    going = registry.going(holds=("kept",))
    size = registry.entries()
    result = run(registry, "retention", "expire", "--reason", "review 2034", typed="y\n")

    assert result.exception is None, result.exception
    for words in ("registry.started", "Delete them for ever?", f"{len(going)} entries are deleted"):
        assert words in result.output, words
    told = read_entry(registry.ledger.entry(size))
    assert (told["act"], told["facts"]["count"]) == (Act.LEDGER_EXPIRED, len(going))
    assert told["facts"]["holds"] == ["kept", "chrun*"]
    again = run(registry, "retention", "expire", "--yes")
    assert again.output.split()[:2] == ["0", "entries"]
    verified = run(registry, "ledger", "verify")
    assert f"{len(going)} of them were deleted after their retention" in verified.output


def test_others_say_that_it_is_gone_and_who_said_so(registry: Aged) -> None:
    spam = registry.index_of(Act.VERSION_REGISTERED, "spam")
    decided = read_entry(registry.ledger.entry(spam + 2))["decision_id"]
    whole = run(registry, "explain", decided)
    assert whole.exception is None, whole.exception
    run(registry, "retention", "expire", "--yes")
    told = registry.index_of(Act.LEDGER_EXPIRED)

    for words in (["ledger", "prove", str(spam)],):
        found = run(registry, *words).exception
        assert isinstance(found, NotFound)
        assert f"entry {told} says so" in found.message
    for words in (["explain", decided], ["explain", "spam/1"]):
        found = run(registry, *words).exception
        assert isinstance(found, NotFound)
        assert f"entry {told} is the last that says which" in found.advice
    past = run(registry, "as-of", "2027-06-01")
    assert "of these entries were deleted after their retention" in past.output
    assert past.exception is None


def test_nothing_is_let_go_of_a_ledger_that_does_not_verify(registry: Aged) -> None:
    registry.sessions.engine.dispose()
    with registry.sessions.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE governance_ledger_entries SET at = '2000-01-01T00:00:00.000000Z' "
            "WHERE position = 20"
        )

    for words in (["status"], ["expire", "--yes"]):
        assert isinstance(run(registry, "retention", *words).exception, LedgerError)


def test_terms_that_are_none_stop_the_command(registry: Aged) -> None:
    (home_of(registry) / "config.yaml").write_text("retention: {years: 0.1}\n")

    assert isinstance(run(registry, "retention", "expire").exception, ConfigurationError)
