"""Checkpoints leave the host, and whoever goes back behind them is found."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.cosignature import cosigned, witness_key
from mlflow_governance.outbox import sightings
from mlflow_governance.outbox.anchoring import GATHERING, Anchoring, witness_place
from mlflow_governance.outbox.checkpoint_options import WitnessOptions
from mlflow_governance.outbox.destinations import Folder
from mlflow_governance.web.witness import Witness, app_of
from mlflow_governance.workflows.checkpoints import Kept
from tests.unit.ledger.builders import signer
from tests.unit.outbox.anchors import Anchored, Shelf, anchored, size_of


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def ours(tmp_path: Path, shelf: Shelf) -> Anchored:
    made = anchored(tmp_path, shelf)
    made.fill(3)
    return made


class Running:
    """A witness over HTTP, in this process."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness
        self.key = witness_key(witness.signer)
        self._server = make_server("127.0.0.1", 0, app_of(witness), threaded=True)
        self.options = WitnessOptions(self.key, f"http://127.0.0.1:{self._server.port}")
        import threading

        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def witness(ours: Anchored, tmp_path: Path) -> Iterator[Running]:
    running = Running(Witness(signer("w.example"), [ours.database.key], tmp_path / "witness"))
    yield running
    running.stop()


def sizes(shelf: Shelf) -> list[int]:
    return [size_of(one.note) for one in shelf.has]


def test_a_checkpoint_reaches_the_home_folder_and_every_place_once(
    ours: Anchored, shelf: Shelf
) -> None:
    ours.round()
    ours.round()

    assert sizes(shelf) == [3]
    (file,) = ours.home.iterdir()
    assert file.read_text() == shelf.has[0].note
    assert (file.name[:13], file.suffix) == ("000000000003-", ".checkpoint")
    assert ours.place().size == 3  # type: ignore[attr-defined]


def test_nothing_was_ever_recorded_and_nothing_leaves(tmp_path: Path, shelf: Shelf) -> None:
    made = anchored(tmp_path, shelf)

    made.round()

    assert (shelf.has, list(made.home.iterdir())) == ([], [])


def test_a_place_that_was_away_for_days_gets_the_newest(ours: Anchored, shelf: Shelf) -> None:
    shelf.away = True
    for _ in range(3):
        ours.round()
        ours.fill()
    assert ours.place().failures == 3  # type: ignore[attr-defined]
    assert "away" in ours.place().last_error  # type: ignore[attr-defined]
    shelf.away = False

    ours.round()

    assert sizes(shelf) == [6]
    assert (ours.place().failures, ours.place().last_error) == (0, "")  # type: ignore[attr-defined]


def test_a_place_that_is_away_is_left_alone_for_a_while(ours: Anchored, shelf: Shelf) -> None:
    shelf.away = True
    ours.round()
    shelf.away = False

    assert not ours.anchoring.deliver(shelf)
    ours.clock.seconds += 3600
    assert ours.anchoring.deliver(shelf)


def test_of_several_workers_one_delivers(ours: Anchored, shelf: Shelf) -> None:
    ours.anchoring.gather()
    held = ours.anchoring.book.hold("shelf", 60)

    assert held is not None
    assert not ours.anchoring.deliver(shelf), "another one is at it"
    ours.clock.seconds += 61
    assert ours.anchoring.deliver(shelf), "it died"
    assert sizes(shelf) == [3]


def test_a_head_that_is_not_signed_goes_nowhere(ours: Anchored, shelf: Shelf) -> None:
    forged = checkpoint.make(9, b"9" * 32, signer())
    ours.database.run("UPDATE governance_ledger_head SET note = :note", note=forged)
    ours.anchoring.book.keep(forged)

    ours.round()

    assert (shelf.has, list(ours.home.iterdir())) == ([], [])


def test_a_row_somebody_put_above_stops_no_delivery(ours: Anchored, shelf: Shelf) -> None:
    ours.anchoring.book.keep(checkpoint.make(10**6, b"9" * 32, signer(ours.database.key.name)))

    ours.round()

    assert sizes(shelf) == [3]


# Rolled back and forked


def test_an_older_database_is_refused_at_the_start(ours: Anchored, shelf: Shelf) -> None:
    old = ours.backup()
    ours.fill(4)
    ours.round()
    ours.restore(old)

    for places in ([ours.anchoring.home], [shelf]):
        with pytest.raises(LedgerError, match="ends at 3 entries, and 7 were signed") as caught:
            sightings.require_current(places, ours.database.ledger, ours.database.key)
        assert "ledger recover --reason" in caught.value.advice


def test_an_older_database_that_went_on_is_refused_at_the_start(
    ours: Anchored, shelf: Shelf
) -> None:
    old = ours.backup()
    ours.fill(4)
    ours.round()
    ours.restore(old)
    ours.fill(9)

    for places in ([ours.anchoring.home], [shelf]):
        with pytest.raises(LedgerError, match="not the one that was signed at 7 entries"):
            sightings.require_current(places, ours.database.ledger, ours.database.key)


def test_the_ledger_as_it_is_starts(ours: Anchored, shelf: Shelf) -> None:
    ours.round()
    ours.fill(5)

    seen = sightings.require_current(
        [ours.anchoring.home, shelf], ours.database.ledger, ours.database.key
    )

    assert [one.checkpoint.size for one in seen.found] == [3, 3]


def test_an_empty_database_in_a_home_that_has_checkpoints_is_refused(ours: Anchored) -> None:
    ours.round()
    ours.database.run("DELETE FROM governance_ledger_entries")
    ours.database.run("UPDATE governance_ledger_head SET size = 0, compact_range = '', note = ''")

    with pytest.raises(LedgerError, match="ends at 0 entries, and 3 were signed"):
        sightings.require_current([ours.anchoring.home], ours.database.ledger, ours.database.key)


def test_a_place_that_is_away_stops_no_start(ours: Anchored, shelf: Shelf) -> None:
    ours.round()
    shelf.away = True

    seen = sightings.require_current([shelf], ours.database.ledger, ours.database.key)

    assert seen.unread == {"shelf": "the shelf is away"}


def test_a_place_that_hangs_stops_no_start(ours: Anchored) -> None:
    class Hanging(Shelf):
        def seen(self, at_least: int) -> Iterator[Kept]:
            import time

            time.sleep(20)
            yield from ()

    seen = sightings.look([Hanging()], ours.database.key, 0, deadline_seconds=0.1)

    assert list(seen.unread) == ["shelf"]


def test_what_others_put_into_a_place_proves_nothing(ours: Anchored, shelf: Shelf) -> None:
    """Else whoever can write to a bucket could stop the registry."""
    stranger = signer(ours.database.key.name)
    shelf.has = [Kept(checkpoint.make(99, b"9" * 32, stranger)), Kept("junk")]
    shelf.has[1:] = []

    ours.round()

    seen = sightings.require_current([shelf], ours.database.ledger, ours.database.key)
    assert (seen.foreign, sizes(shelf)) == ({"shelf": 1}, [99, 3])


@pytest.mark.parametrize("went_on", [0, 9])
def test_a_place_that_has_seen_another_ledger_gets_nothing_and_raises_an_alarm(
    ours: Anchored, shelf: Shelf, went_on: int, caplog: pytest.LogCaptureFixture
) -> None:
    old = ours.backup()
    ours.fill(4)
    ours.round()
    ours.restore(old)
    ours.fill(went_on)
    for file in ours.home.iterdir():
        file.unlink()

    ours.round()

    assert sizes(shelf) == [7]
    assert "does not continue" in ours.place().alarm  # type: ignore[attr-defined]
    assert "ALARM" in caplog.text


def test_a_fork_is_neither_exported_nor_shown_to_witnesses(
    ours: Anchored, shelf: Shelf, witness: Running
) -> None:
    old = ours.backup()
    ours.fill(4)
    ours = ours.with_(witnesses=(witness.options,))
    ours.round()
    ours.restore(old)
    ours.fill(9)
    shelf.has.clear()

    ours.round()

    assert "does not continue" in ours.place(GATHERING).alarm  # type: ignore[attr-defined]
    assert sizes(shelf) == []


# Witnesses


def test_a_witness_cosigns_what_leaves(ours: Anchored, shelf: Shelf, witness: Running) -> None:
    ours = ours.with_(witnesses=(witness.options,))
    for _ in range(3):
        ours.round()
        ours.fill()

    assert sizes(shelf) == [3, 4, 5]
    for one in shelf.has:
        assert list(cosigned(one.note, [witness.key])) == [witness.key]
        assert checkpoint.verify(one.note, ours.database.key)


def test_a_witness_that_was_away_cosigns_later_and_the_place_gets_it_too(
    ours: Anchored, shelf: Shelf, witness: Running
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        nobody = WitnessOptions(witness.key, f"http://127.0.0.1:{listener.getsockname()[1]}")
        away = ours.with_(witnesses=(nobody,))
        away.round()
    place = ours.place(witness_place(witness.key))
    assert "does not answer" in place.last_error  # type: ignore[attr-defined]
    assert sizes(shelf) == [3], "nothing waits for it"

    back = ours.with_(witnesses=(witness.options,))
    back.round()

    assert sizes(shelf) == [3, 3]
    assert cosigned(shelf.has[1].note, [witness.key])
    assert len(list(ours.home.iterdir())) == 2, "nothing is written over"


def test_a_stolen_key_does_not_help_against_a_witness(
    ours: Anchored, shelf: Shelf, witness: Running
) -> None:
    """The whole host was taken: database, home folder and key. The witness was not."""
    ours = ours.with_(witnesses=(witness.options,))
    old = ours.backup()
    ours.fill(4)
    ours.round()
    before = shelf.has[0].note
    ours.restore(old)
    ours.fill(9)
    shelf.has.clear()
    for file in ours.home.iterdir():
        file.unlink()

    ours.round()

    place = ours.place(witness_place(witness.key))
    assert "is no continuation of the ledger of 7" in place.alarm  # type: ignore[attr-defined]
    (delivered,) = shelf.has
    assert not cosigned(delivered.note, [witness.key])
    with pytest.raises(LedgerError, match="fork"):
        ours.database.ledger.verify(ours.database.key, [before])


def test_a_witness_tells_of_entries_that_are_gone(ours: Anchored, witness: Running) -> None:
    ours = ours.with_(witnesses=(witness.options,))
    old = ours.backup()
    ours.fill(4)
    ours.round()
    ours.restore(old)
    for file in ours.home.iterdir():
        file.unlink()

    ours.with_(Shelf()).round()

    place = ours.place(witness_place(witness.key))
    assert "at 7 entries, and the database has 3: it was rolled back" in place.alarm  # type: ignore[attr-defined]


def test_a_witness_that_does_not_know_the_ledger_is_named(
    ours: Anchored, tmp_path: Path, shelf: Shelf
) -> None:
    running = Running(Witness(signer("w.example"), [signer("other").key], tmp_path / "w2"))
    try:
        ours.with_(witnesses=(running.options,)).round()
    finally:
        running.stop()

    place = ours.place(witness_place(running.key))
    assert "does not know this ledger" in place.last_error  # type: ignore[attr-defined]
    assert place.alarm == ""  # type: ignore[attr-defined]
    assert sizes(shelf) == [3]


def test_a_cosignature_of_another_key_is_not_taken(
    ours: Anchored, shelf: Shelf, witness: Running
) -> None:
    other = replace(witness.options, key=witness_key(signer("w.example")))

    ours.with_(witnesses=(other,)).round()

    place = ours.place(witness_place(other.key))
    assert "without its cosignature" in place.last_error  # type: ignore[attr-defined]
    assert "w.example" not in shelf.has[0].note


def test_a_folder_that_is_not_mounted_is_not_made(ours: Anchored, tmp_path: Path) -> None:
    away = Folder("vault", tmp_path / "mount")
    ours = ours.with_(away)

    ours.round()

    assert not (tmp_path / "mount").exists()
    assert "No such file" in ours.place("vault").last_error  # type: ignore[attr-defined]
    (tmp_path / "mount").mkdir()
    ours.round()
    assert len(list((tmp_path / "mount").iterdir())) == 1


def test_the_job_stops_when_it_is_told_to(ours: Anchored, shelf: Shelf) -> None:
    import threading
    import time

    stop = threading.Event()
    made = replace(ours.anchoring, options=replace(ours.anchoring.options, every_seconds=0.05))
    thread = threading.Thread(target=Anchoring.run, args=(made, stop))
    thread.start()
    latest = time.monotonic() + 20
    while not shelf.has and time.monotonic() < latest:
        time.sleep(0.02)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    assert sizes(shelf) == [3]
