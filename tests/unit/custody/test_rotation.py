"""The ledger's key is changed: whatever dies, one key signs, and the whole of it verifies."""

from __future__ import annotations

import multiprocessing
import shutil
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mlflow_governance.core.event import Act
from mlflow_governance.custody import ledger as custody
from mlflow_governance.errors import ConfigurationError, GovernanceError, LedgerError
from mlflow_governance.evidence.keys import generate_key_pair
from mlflow_governance.evidence.trust_file import read
from mlflow_governance.ledger import checkpoint, handover
from mlflow_governance.ledger.checkpoint import Checkpoint
from mlflow_governance.ledger.handover import KeyHistory
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.ledger.recovery import note_digest
from mlflow_governance.plugin.anchors import anchoring_of
from mlflow_governance.store.checkpoint_book import SqlCheckpointBook
from tests.unit.custody.builders import Site, fill, site
from tests.unit.custody.killing import kill_everywhere
from tests.unit.store.builders import event


@pytest.fixture
def place(tmp_path: Path) -> Site:
    made = site(tmp_path)
    fill(made.server())
    return made


def test_a_ledger_goes_on_under_a_new_key_and_the_whole_of_it_verifies(place: Site) -> None:
    first = custody.known_keys(place.settings)
    fill(place.server(), 2)
    history = place.rotate()
    fill(place.server(), 2)

    assert place.verify() == 3 + 2 + 1 + 2
    assert history.keys[0] == first.newest != history.newest
    assert custody.ledger_signer(place.settings).key == history.newest
    keys = place.home / "keys"
    assert (keys / "ledger.vkeys").read_text() == history.encode()
    assert (keys / "ledger.pub").read_bytes() == history.newest.pem
    assert not list(keys.glob("ledger.next*"))
    kept = custody.retired_place(keys / "ledger.pem", first.newest)
    assert custody.open_signer(place.settings, kept).key == first.newest
    assert place.recorded.verify(first).size == 8  # the first key is all an auditor has to know


def test_a_worker_that_runs_meanwhile_takes_checkpoints_of_the_new_key_off_the_host(
    place: Site, tmp_path: Path
) -> None:
    sessions, vault = place.sessions, tmp_path / "vault"
    vault.mkdir()
    place.configure(f"checkpoints: {{destinations: [{{name: vault, path: {vault}}}]}}\n")
    worker = anchoring_of(place.settings, place.recorded, SqlCheckpointBook(sessions))
    (destination,) = worker.destinations
    worker.gather()
    assert worker.deliver(destination)

    place.rotate()
    fill(place.server(), 2)
    worker.gather()

    assert worker.deliver(destination)
    notes = [path.read_text() for path in vault.glob("*-*.checkpoint")]
    assert max(checkpoint.parse(note).size for note in notes) == 6
    stolen = checkpoint.make(9, bytes(32), custody.open_signer(place.settings, retired(place)))
    with pytest.raises(LedgerError):
        checkpoint.verify(stolen, worker.key)


def retired(place: Site) -> Path:
    (found,) = (place.home / "keys").glob("*.retired")
    return found


def test_a_ledger_is_handed_over_twice_and_before_its_first_entry(tmp_path: Path) -> None:
    place = site(tmp_path)
    place.server()
    first = custody.known_keys(place.settings)
    place.rotate()
    place.rotate()
    fill(place.server())

    assert place.verify() == 5
    assert len(place.recorded.handovers()) == 2
    assert len(first.following(place.recorded.checkpoints()).keys) == 3


def test_the_old_private_key_is_removed_where_that_is_asked_for(place: Site) -> None:
    place.rotate(destroy=True)

    assert not list((place.home / "keys").glob("*.retired"))


def test_servers_that_run_go_on_with_the_new_key(place: Site) -> None:
    running, another = place.server(), place.server()
    place.rotate()

    fill(another, 1)
    fill(running, 1)
    place.rotate()
    fill(running, 1)
    assert place.verify() == 3 + 1 + 2 + 1 + 1


def test_a_server_that_has_not_got_the_new_key_writes_nothing_and_says_so(
    place: Site, tmp_path: Path
) -> None:
    shutil.copytree(place.home, tmp_path / "other")
    elsewhere = Site(tmp_path / "other", place.url)
    remote = elsewhere.server()
    fill(remote, 1)
    place.rotate()

    with pytest.raises(LedgerError, match="handed over to the key") as caught:
        fill(remote, 1)
    assert "ledger_key in config.yaml" in caught.value.advice
    fill(place.server(), 1)
    with pytest.raises(LedgerError, match="not signed by") as caught:
        fill(remote, 1)
    assert "ledger_key in config.yaml" in caught.value.advice
    with pytest.raises(ConfigurationError, match="and the ledger is signed with"):
        elsewhere.server()
    shutil.copy(place.home / "keys" / "ledger.pem", elsewhere.home / "keys" / "ledger.pem")
    fill(elsewhere.server(), 1)
    assert place.verify() == elsewhere.verify() == 3 + 1 + 1 + 2


def test_a_stolen_retired_key_signs_nothing_new(place: Site) -> None:
    before = shutil.copytree(place.home / "keys", place.home.parent / "stolen")
    place.rotate()
    fill(place.server(), 1)
    stolen = custody.open_signer(place.settings, before / "ledger.pem")
    head = checkpoint.parse(place.recorded.head())
    with place.sessions.engine.begin() as connection:
        forged = checkpoint.make(head.size, head.root, stolen)
        connection.exec_driver_sql("UPDATE governance_ledger_head SET note = ?", (forged,))

    with pytest.raises(LedgerError, match="does not count"):
        place.verify()
    with pytest.raises(LedgerError, match="head of the ledger"):
        fill(place.server(), 1)


def test_a_stolen_retired_key_disowns_no_handover(place: Site, tmp_path: Path) -> None:
    old = shutil.copytree(place.home.parent, tmp_path / "stolen")
    fill(place.server(), 2)
    keys = place.rotate()
    (hand,) = place.recorded.handovers()
    told = checkpoint.parse(hand)
    url = place.url.replace(str(place.home.parent), str(old))
    thief = Site(old / place.home.name, url)
    store = thief.server()
    fill(store, told.size - thief.recorded.size() - 2)
    lost = {"size": told.size, "root": told.root.hex(), "note": note_digest(hand)}
    with store.begin() as uow:
        facts = {"lost": lost, "continues": {"size": told.size - 2, "root": ""}}
        uow.record(replace(event(), act=Act.LEDGER_RECOVERED, facts=facts))
    with store.begin() as uow:
        facts = handover.facts(keys.keys[0], keys.newest)
        uow.record(replace(event(), act=Act.LEDGER_REKEYED, facts=facts))

    with pytest.raises(LedgerError, match="head of the ledger"):
        thief.recorded.verify(keys, [hand])
    kept = thief.recorded._standing([hand], KeyHistory((keys.keys[0],)))
    assert not kept, "of a history that knows of no handover it is one like others"
    assert thief.recorded._standing([hand], keys.following([hand])) == [hand]


def test_a_database_administrator_invents_no_handover(place: Site, tmp_path: Path) -> None:
    generate_key_pair(tmp_path / "evil.pem", algorithm="ed25519")
    evil = custody.open_signer(place.settings, tmp_path / "evil.pem")
    generate_key_pair(tmp_path / "guess.pem", algorithm="ed25519")
    guess = custody.open_signer(place.settings, tmp_path / "guess.pem")
    head = checkpoint.parse(place.recorded.head())
    note = handover.make(Checkpoint(head.origin, head.size, head.root), guess, evil)
    place.recorded.add_checkpoint(note)

    assert custody.settle(place.settings, place.recorded.handovers()).newest != evil.key
    with pytest.raises(LedgerError):
        place.verify()


def test_a_removed_handover_is_missed(place: Site) -> None:
    place.rotate()
    fill(place.server(), 1)
    with place.sessions.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM governance_ledger_checkpoints")
    assert place.verify() == 5  # the home folder has it, too
    for path in place.settings.checkpoint_folder.glob("*.checkpoint"):
        path.unlink()

    with pytest.raises(LedgerError, match="is missing"):
        place.verify()


def test_an_entry_that_tells_of_another_handover_is_found(place: Site) -> None:
    place.rotate()
    with place.server().begin() as uow:
        from mlflow_governance.core.event import Act
        from tests.unit.store.builders import event

        uow.record(event(act=Act.LEDGER_REKEYED, facts={"key": "x", "former": "00000000"}))

    with pytest.raises(LedgerError, match="same change"):
        place.verify()


def test_a_database_from_before_the_handover_is_not_signed_on(place: Site, tmp_path: Path) -> None:
    with (
        closing(sqlite3.connect(tmp_path / "registry.db")) as now,
        closing(sqlite3.connect(tmp_path / "backup.db")) as backup,
    ):
        now.backup(backup)
    old = Site(place.home, f"sqlite:///{tmp_path}/backup.db")
    place.rotate()
    fill(place.server(), 1)

    with pytest.raises(LedgerError, match="head of the ledger"):
        fill(old.server(), 1)
    with pytest.raises(LedgerError):
        old.verify()


def test_an_entry_is_proved_across_the_handover(place: Site) -> None:
    old = place.recorded.inclusion_proof(1)
    place.rotate()
    fill(place.server(), 1)
    new = place.recorded.inclusion_proof(1)
    (row,) = place.recorded.entries(1, 1)
    keys = custody.ledger_keys(place.settings)

    for proof in (old, new):
        assert InclusionProof.parse(proof.encode()).verify(row[1], keys)


def test_the_new_key_may_be_a_file_of_another_kind_elsewhere(place: Site, tmp_path: Path) -> None:
    generate_key_pair(tmp_path / "vault.pem", algorithm="ecdsa-p256")
    history = place.rotate(str(tmp_path / "vault.pem"))
    fill(place.server(), 1)

    assert history.newest.algorithm == "ecdsa-p256"
    assert not (place.home / "keys" / "ledger.pem").exists()
    place.configure(f"ledger_key: {tmp_path}/vault.pem\n")
    fill(place.server(), 1)
    assert not (place.home / "keys" / "ledger.next").exists()
    assert place.verify() == 3 + 1 + 2


def test_a_key_that_was_or_is_used_is_no_new_key(place: Site) -> None:
    keys = place.home / "keys"
    history = place.rotate()
    retired = custody.retired_place(keys / "ledger.pem", history.keys[0])
    size = place.verify()
    for used, why in [
        (retired, "signed the ledger"), (keys / "ledger.pem", "signs the ledger"),
        (keys / "registry.pem", "the same key"),
    ]:  # fmt: skip
        with pytest.raises(ConfigurationError, match=why):
            place.rotate(str(used))
    assert place.verify() == size


def test_a_signer_s_key_is_no_ledger_key(place: Site, tmp_path: Path) -> None:
    generate_key_pair(tmp_path / "ci.pem", algorithm="ed25519")
    trust = place.settings.trust_file
    key = "".join(f"      {line}\n" for line in (tmp_path / "ci.pub").read_text().splitlines())
    trust.write_text("version: 1\nsigners:\n  - name: ci\n    for: [signature]\n    key: |\n" + key)
    assert read(trust)

    with pytest.raises(ConfigurationError, match="'ci' sign evidence"):
        place.rotate(str(tmp_path / "ci.pem"))


def test_a_key_others_can_read_does_not_take_over(place: Site, tmp_path: Path) -> None:
    generate_key_pair(tmp_path / "open.pem", algorithm="ed25519")
    (tmp_path / "open.pem").chmod(0o644)

    with pytest.raises(ConfigurationError, match="open to other users"):
        place.rotate(str(tmp_path / "open.pem"))
    assert place.verify() == 3


def test_a_name_the_ledger_was_not_signed_under_stops_the_start(place: Site) -> None:
    place.configure("registry_name: another\n")

    with pytest.raises(ConfigurationError, match="back to what it was"):
        place.server()


def test_another_key_in_the_place_of_the_ledger_s_stops_the_start(place: Site) -> None:
    keys = place.home / "keys"
    (keys / "ledger.pem").unlink()
    with pytest.raises(ConfigurationError, match=r"ledger\.pem cannot be opened"):
        place.server()
    generate_key_pair(keys / "other.pem", algorithm="ed25519")
    (keys / "other.pem").rename(keys / "ledger.pem")

    with pytest.raises(ConfigurationError, match="is signed with"):
        place.server()


def test_history_is_kept_when_the_home_folder_comes_from_before_it_was(place: Site) -> None:
    (place.home / "keys" / "ledger.vkeys").unlink()
    fill(place.server(), 1)

    assert custody.known_keys(place.settings) == KeyHistory(
        (custody.ledger_signer(place.settings).key,)
    )
    generate_key_pair(place.home / "keys" / "x.pem", algorithm="ed25519")
    (place.home / "keys" / "x.pub").rename(place.home / "keys" / "ledger.pub")
    (place.home / "keys" / "ledger.vkeys").unlink()
    with pytest.raises(GovernanceError, match="not the public half"):
        place.server()


def test_a_rotation_killed_anywhere_leaves_one_key_that_signs(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(1, mp_context=context) as worker:
        url = f"sqlite:///{tmp_path}/registry.db"
        steps = worker.submit(kill_everywhere, tmp_path, url).result(300)

    assert steps > 15
