"""`keys rotate ledger`, as somebody on the host runs it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlflow_governance.cli.main import cli
from mlflow_governance.core.event import Act
from mlflow_governance.custody import ledger as custody
from mlflow_governance.errors import ConfigurationError, InvalidRequest, NotFound
from mlflow_governance.evidence.keys import generate_key_pair
from mlflow_governance.ledger.cosignature import witness_key
from mlflow_governance.ledger.entry import read_entry
from tests.unit.custody.builders import Site, fill, site
from tests.unit.ledger.builders import signer


@pytest.fixture
def place(tmp_path: Path) -> Site:
    made = site(tmp_path)
    fill(made.server())
    return made


def run(place: Site, *words: str, home: str = "") -> Result:
    where = ["--home", home or str(place.home), "--backend-store-uri", place.url]
    return CliRunner().invoke(cli, [*words, *where])


def test_the_command_tells_both_keys_and_what_to_copy(place: Site) -> None:
    old = custody.known_keys(place.settings).newest

    done = run(place, "keys", "rotate", "ledger", "--reason", "yearly")

    assert done.exit_code == 0, done.output
    new = custody.known_keys(place.settings).newest
    assert f"before {old.encode()}" in done.output
    assert f"now    {new.encode()}" in done.output
    assert str(place.settings.checkpoint_folder / "000000000004.checkpoint") in done.output
    assert run(place, "ledger", "verify").output.startswith("the ledger verifies: 4 entries")
    proof = place.home / "entry.tlog-proof"
    assert run(place, "ledger", "prove", "1", "-o", str(proof)).exit_code == 0


def test_the_entry_names_the_new_key_and_the_id_of_the_one_before(place: Site) -> None:
    run(place, "keys", "rotate", "ledger", "--reason", "yearly")

    ((_, data),) = place.recorded.entries(3, 1)
    entry = read_entry(data)
    old, new = custody.known_keys(place.settings).keys
    assert entry["act"] == Act.LEDGER_REKEYED
    assert entry["facts"] == {"key": new.encode(), "former": old.key_id.hex()}
    clear = place.recorded.private([entry["actor"], entry["reason"]])
    assert clear[entry["reason"]] == "yearly"
    assert clear[entry["actor"]].startswith("os:")


def test_after_a_move_elsewhere_the_command_and_doctor_say_what_to_set(
    place: Site, tmp_path: Path
) -> None:
    generate_key_pair(tmp_path / "elsewhere.pem")
    to = str(tmp_path / "elsewhere.pem")

    done = run(place, "keys", "rotate", "ledger", "--to", to, "--reason", "moved", "--destroy")

    assert f"set ledger_key: {to} in config.yaml" in done.output
    assert not list((place.home / "keys").glob("*.retired"))
    told = CliRunner().invoke(cli, ["doctor", "--home", str(place.home)]).output
    assert "warning  ledger key" in told
    assert f"mend: ledger_key: {to}" in told
    place.configure(f"ledger_key: {to}\n")
    told = CliRunner().invoke(cli, ["doctor", "--home", str(place.home)]).output
    assert "warning  ledger key" not in told
    assert "ok       keys" in told


def test_without_an_installation_or_a_reason_nothing_is_done(place: Site, tmp_path: Path) -> None:
    where = str(tmp_path / "nothing")
    done = run(place, "keys", "rotate", "ledger", "--reason", "x", home=where)
    assert isinstance(done.exception, NotFound)
    assert not (tmp_path / "nothing").exists()
    assert run(place, "keys", "rotate", "ledger").exit_code == 2


def test_a_reason_of_blanks_is_none(place: Site) -> None:
    done = run(place, "keys", "rotate", "ledger", "--reason", " ")
    assert isinstance(done.exception, InvalidRequest)
    assert place.verify() == 3


def test_a_home_without_its_folder_of_checkpoints_gets_one(place: Site) -> None:
    shutil.rmtree(place.settings.checkpoint_folder)
    assert run(place, "keys", "rotate", "ledger", "--reason", "x").exit_code == 0
    assert [p.name for p in place.settings.checkpoint_folder.iterdir()] == [
        "000000000004.checkpoint"
    ]


def test_the_witnesses_to_be_told_are_named(place: Site) -> None:
    witness = witness_key(signer("w.example"))
    place.configure(
        f"checkpoints: {{witnesses: [{{vkey: '{witness.encode()}', url: 'https://w.example'}}]}}\n"
    )
    done = run(place, "keys", "rotate", "ledger", "--reason", "x")
    new = custody.known_keys(place.settings).newest
    assert (
        f"next: ask the people of w.example to start it with one more --log '{new.encode()}'"
        in (done.output)
    )


def test_a_key_of_a_kind_no_ledger_has_is_refused(place: Site, tmp_path: Path) -> None:
    for name, words in (("absent.pem", "cannot be opened"), ("registry.pem", "the same key")):
        to = str(place.home / "keys" / name)
        done = run(place, "keys", "rotate", "ledger", "--to", to, "--reason", "x")
        assert isinstance(done.exception, ConfigurationError)
        assert words in str(done.exception)
    assert place.verify() == 3
