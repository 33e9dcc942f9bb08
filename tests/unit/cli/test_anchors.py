"""Checkpoints on the command line: verify, recover, anchors; and who gets away with nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlflow_governance import config
from mlflow_governance.bootstrap import ledger_signer, prepare_home
from mlflow_governance.cli.ledger import ledger
from mlflow_governance.errors import GovernanceError, InvalidRequest, LedgerError, Unavailable
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.cosignature import cosign, with_lines, witness_key
from mlflow_governance.ledger.note import split
from mlflow_governance.plugin.anchors import anchoring_of
from mlflow_governance.store.unit_of_work import SqlStore
from tests.unit.ledger.builders import signer
from tests.unit.outbox.anchors import Ahead, Anchored
from tests.unit.store.builders import open_database

CONFIG = """\
checkpoints:
  destinations:
    - name: vault
      path: {vault}
  witnesses:
    - vkey: {vkey}
      url: http://127.0.0.1:9
"""
SECOND = 1_790_000_000
WITNESS = signer("w.example")


@pytest.fixture
def ours(tmp_path: Path) -> Anchored:
    home, vault = tmp_path / "home", tmp_path / "vault"
    home.mkdir()
    vault.mkdir()
    vkey = witness_key(WITNESS).encode()
    (home / "config.yaml").write_text(CONFIG.format(vault=vault, vkey=vkey))
    settings = config.load(home)
    prepare_home(settings)
    database = open_database(f"sqlite:///{tmp_path}/registry.db")
    mine = ledger_signer(settings)
    database = replace(database, signer=mine, store=SqlStore(database.sessions, ledger_signer=mine))
    made = Anchored(database, settings.checkpoint_folder, Ahead(), None)  # type: ignore[arg-type]
    from mlflow_governance.store.checkpoint_book import SqlCheckpointBook

    book = SqlCheckpointBook(database.sessions, made.clock)
    made.anchoring = anchoring_of(settings, database.ledger, book)
    made.fill(3)
    return made


def cosigned(ours: Anchored) -> None:
    """The witness has cosigned the head of now."""
    note = ours.database.ledger.head()
    ours.anchoring.book.keep(with_lines(note, [cosign(split(note)[0], WITNESS, SECOND)]))


def run(ours: Anchored, *arguments: str) -> Result:
    given = [*arguments, "--home", str(ours.home.parent)]
    given += ["--backend-store-uri", str(ours.database.sessions.engine.url)]
    return CliRunner().invoke(ledger, given, catch_exceptions=True)


def failed(result: Result, kind: type[GovernanceError]) -> GovernanceError:
    assert isinstance(result.exception, kind), (result.output, result.exception)
    return result.exception


def rolled_back(ours: Anchored, went_on: int = 0) -> None:
    """Seven entries were exported and cosigned; then somebody restored the backup of three."""
    old = ours.backup()
    ours.fill(4)
    cosigned(ours)
    ours.round()
    ours.restore(old)
    ours.fill(went_on)


def test_verify_says_who_holds_the_ledger_and_what_nobody_does(ours: Anchored) -> None:
    cosigned(ours)
    ours.round()
    ours.fill(2)

    said = run(ours, "verify").output

    assert "the ledger verifies: 5 entries" in said
    assert "vault: has it up to 3 entries" in said
    assert "cosigned by 1 of 1 witnesses: 3 entries, since 2026-09-21T" in said
    assert "not yet anchored outside: 2 entries" in said
    document = json.loads(run(ours, "verify", "--json").output)["anchors"]
    assert (document["places"], document["not_anchored"]) == ({"vault": 3}, 2)
    assert document["quorum"]["size"] == 3


def test_verify_without_a_quorum_says_so(ours: Anchored) -> None:
    ours.round()

    assert "1 of 1 witnesses: no checkpoint yet" in run(ours, "verify").output


def test_a_destination_that_cannot_be_read_is_no_success(ours: Anchored, tmp_path: Path) -> None:
    (tmp_path / "vault").rmdir()

    result = run(ours, "verify")

    assert "vault" in failed(result, Unavailable).message
    assert "NOT COMPARED: vault" in result.output
    assert run(ours, "verify", "--offline").exception is None


def test_a_file_somebody_kept_is_held_against_the_ledger(ours: Anchored, tmp_path: Path) -> None:
    kept = tmp_path / "kept.checkpoint"
    kept.write_text(ours.database.ledger.head())
    ours.fill(2)
    assert (
        "kept.checkpoint: has it up to 3" in run(ours, "verify", "--checkpoint", str(kept)).output
    )
    tree = checkpoint.make(3, b"3" * 32, ours.database.signer)
    kept.write_text(tree)

    error = failed(run(ours, "verify", "--checkpoint", str(kept)), LedgerError)

    assert "not the one signed at 3 entries" in error.message
    assert f"in {kept}" in error.message
    kept.write_text(checkpoint.make(3, b"3" * 32, signer()))
    failed(run(ours, "verify", "--checkpoint", str(kept)), LedgerError)


# The database administrator


def test_one_who_rewrites_everything_has_no_key(ours: Anchored) -> None:
    """Entries, hashes, head: all consistent, and signed by somebody else."""
    theirs = signer(ours.database.key.name)
    for table in ("ledger_entries", "private"):
        ours.database.run(f"DELETE FROM governance_{table}")
    ours.database.run("UPDATE governance_ledger_head SET size=0, compact_range=x'', note=''")
    replace(ours.database, store=SqlStore(ours.database.sessions, ledger_signer=theirs)).fill(3)

    assert "head of the ledger" in failed(run(ours, "verify"), LedgerError).message


@pytest.mark.parametrize("went_on", [0, 9])
def test_one_who_restores_a_backup_is_found_by_what_was_exported(
    ours: Anchored, went_on: int
) -> None:
    rolled_back(ours, went_on)
    for file in ours.home.iterdir():
        file.unlink()

    error = failed(run(ours, "verify"), LedgerError)

    assert "rolled back" in error.message or "forked" in error.message
    assert "7 entries" in error.message
    assert "in vault, cosigned by a quorum of witnesses on 2026-09-21T" in error.message


def test_one_with_the_key_of_the_ledger_too_is_contradicted_by_the_witness(
    ours: Anchored, tmp_path: Path
) -> None:
    """Home folder, database and vault were all taken. An auditor has one cosigned checkpoint."""
    rolled_back(ours, 9)
    (auditors,) = (tmp_path / "vault").glob("*.checkpoint")
    auditors = auditors.rename(tmp_path / "of-the-auditor.checkpoint")
    for file in ours.home.iterdir():
        file.unlink()
    assert run(ours, "verify").exception is None, "the ledger alone is consistent"

    error = failed(run(ours, "verify", "--checkpoint", str(auditors)), LedgerError)

    assert "cosigned by a quorum of witnesses" in error.message


# Recovery


@pytest.mark.parametrize("went_on", [0, 9])
def test_a_recovery_lets_the_registry_go_on_and_stays_in_every_report(
    ours: Anchored, went_on: int
) -> None:
    rolled_back(ours, went_on)
    failed(run(ours, "verify"), LedgerError)

    result = run(ours, "recover", "--reason", "the disk failed")

    assert "acknowledged as lost: 7 entries" in result.output, result.exception
    assert f"goes on at {3 + went_on} entries" in result.output
    said = run(ours, "verify").output
    assert f"the ledger verifies: {4 + went_on} entries" in said
    assert f"RECOVERED: entry {3 + went_on} of" in said
    ours.fill(8)
    ours.round()
    assert ours.place("vault").alarm == ""  # type: ignore[attr-defined]
    assert "vault: has it up to" in run(ours, "verify").output
    assert "RECOVERED" in run(ours, "verify").output


def test_a_recovery_is_about_one_checkpoint_and_no_other(ours: Anchored, tmp_path: Path) -> None:
    rolled_back(ours)
    run(ours, "recover", "--reason", "the disk failed")
    other = tmp_path / "other.checkpoint"
    other.write_text(checkpoint.make(6, b"6" * 32, ours.database.signer))

    failed(run(ours, "verify", "--checkpoint", str(other)), LedgerError)

    result = run(ours, "recover", "--reason", "found later", "--checkpoint", str(other))
    assert "acknowledged as lost: 6 entries" in result.output
    assert run(ours, "verify", "--checkpoint", str(other)).exception is None


def test_every_lost_checkpoint_becomes_an_entry(ours: Anchored) -> None:
    old = ours.backup()
    for _ in range(3):
        ours.fill()
        ours.round()
    ours.restore(old)

    said = run(ours, "recover", "--reason", "the disk failed").output

    assert [size for size in (4, 5, 6) if f"lost: {size} entries" in said] == [4, 5, 6]
    assert run(ours, "verify").output.count("RECOVERED") == 3


def test_nothing_is_recovered_where_nothing_is_lost(ours: Anchored) -> None:
    ours.round()

    for _ in range(2):
        error = failed(run(ours, "recover", "--reason", "just in case"), InvalidRequest)
        assert "nothing is lost" in error.message
    failed(run(ours, "recover", "--reason", " "), InvalidRequest)


def test_a_recovery_written_without_the_key_acknowledges_nothing(ours: Anchored) -> None:
    rolled_back(ours)
    run(ours, "recover", "--reason", "the disk failed")
    ((entry,),) = ours.database.run("SELECT entry FROM governance_ledger_entries WHERE position=3")
    ours.database.run("DELETE FROM governance_ledger_entries WHERE position = 3")
    ours.database.run(
        "UPDATE governance_ledger_entries SET entry = :entry, act = 'ledger.recovered' "
        "WHERE position = 2",
        entry=entry,
    )

    failed(run(ours, "verify"), LedgerError)


def test_a_damaged_ledger_is_not_recovered(ours: Anchored) -> None:
    rolled_back(ours)
    ours.database.run("UPDATE governance_ledger_entries SET entry = 'x' WHERE position = 1")

    error = failed(run(ours, "recover", "--reason", "the disk failed"), LedgerError)

    assert "does not verify" in error.message


def test_anchors_prints_the_key_and_how_each_place_stands(ours: Anchored) -> None:
    assert "stale    vault: has 0 of 3 entries" in run(ours, "anchors").output
    ours.round()

    said = run(ours, "anchors").output

    assert f"ledger key: {ours.database.key.encode()}" in said
    assert "ok       vault: has 3 of 3 entries" in said
    assert "stale    witness w.example: has 0 of 3 entries; 1 failures" in said
    rolled_back(ours)
    ours.round()
    result = run(ours, "anchors")
    assert "ALARM    vault" in result.output
    failed(result, LedgerError)
