"""The book of checkpoints: each note once, the first stamp stays, one worker a place."""

from __future__ import annotations

import threading

import pytest

from mlflow_governance.core.event import Act
from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger import checkpoint, recovery
from mlflow_governance.store.checkpoint_book import SqlCheckpointBook
from mlflow_governance.workflows.checkpoints import Kept
from tests.unit.ledger.builders import signer
from tests.unit.outbox.anchors import Ahead
from tests.unit.store.builders import Database, event


@pytest.fixture
def clock() -> Ahead:
    return Ahead()


@pytest.fixture
def book(database: Database, clock: Ahead) -> SqlCheckpointBook:
    return SqlCheckpointBook(database.sessions, clock)


def note(size: int) -> str:
    return checkpoint.make(size, bytes([size]) * 32, signer())


def test_a_note_is_kept_once_and_its_first_stamp_stays(book: SqlCheckpointBook) -> None:
    three = note(3)
    for _ in range(2):
        book.keep(three)
    book.stamp(three, b"first")
    book.stamp(three, b"second")

    assert book.all() == [Kept(three, b"first")]
    with pytest.raises(LedgerError):
        book.keep("no checkpoint\n")


def test_the_largest_comes_first_and_of_one_size_the_last(
    book: SqlCheckpointBook, clock: Ahead
) -> None:
    notes = [note(4), note(3), note(4)]
    for one in notes:
        book.keep(one)
        clock.seconds += 1

    assert [kept.note for kept in book.newest()] == [notes[2], notes[0], notes[1]]
    assert [kept.note for kept in book.newest(3)] == [notes[1]]


def test_a_place_is_one_workers_until_the_lease_ends(book: SqlCheckpointBook, clock: Ahead) -> None:
    first = book.hold("vault", 60)
    assert first is not None
    assert book.hold("vault", 60) is None
    clock.seconds = 61
    second = book.hold("vault", 60)
    assert second is not None

    book.took(first, 3, "late")  # its lease has ended: another one holds the place
    book.took(second, 4, "content")

    (place,) = book.places("vault")
    assert (place.size, place.content, place.failures, place.lease) == (4, "content", 0, "")


def test_a_place_that_failed_is_left_alone_and_its_alarm_stays_until_it_takes_something(
    book: SqlCheckpointBook, clock: Ahead
) -> None:
    held = book.hold("vault", 60)
    assert held is not None
    book.failed(held, "away\0", 30, alarm="it has seen more")

    assert book.hold("vault", 60) is None
    clock.seconds = 31
    again = book.hold("vault", 60)
    assert again is not None
    assert (again.failures, again.last_error, again.alarm) == (1, "away ", "it has seen more")
    book.took(again, 5, "x")
    assert book.places()[0].alarm == ""


def test_a_lease_from_a_clock_that_was_far_ahead_ends(
    book: SqlCheckpointBook, clock: Ahead
) -> None:
    clock.seconds = 10 * 86400
    assert book.hold("vault", 60) is not None
    clock.seconds = 0

    assert book.hold("vault", 60) is not None


def test_of_many_at_once_one_holds_a_place(book: SqlCheckpointBook) -> None:
    held: list[object] = []
    threads = [
        threading.Thread(target=lambda: held.append(book.hold("vault", 60))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(one is not None for one in held) == 1


def test_a_recovery_is_read_with_its_proof_and_silences_one_checkpoint(database: Database) -> None:
    database.fill(3)
    lost = checkpoint.make(7, b"7" * 32, database.signer)
    head = checkpoint.parse(database.ledger.head())
    with pytest.raises(LedgerError, match="rolled back"):
        database.ledger.verify(database.key, [lost])
    with database.store.begin() as uow:
        uow.record(event(act=Act.LEDGER_RECOVERED, facts=recovery.facts_of(lost, head)))

    (told,) = database.ledger.recoveries(database.key)

    assert (told.index, told.size, told.went_on) == (3, 7, 3)
    assert database.ledger.verify(database.key, [lost]).size == 4
    other = checkpoint.make(7, b"8" * 32, database.signer)
    with pytest.raises(LedgerError, match="rolled back"):
        database.ledger.verify(database.key, [lost, other])


def test_a_row_that_only_calls_itself_a_recovery_is_refused(database: Database) -> None:
    database.fill(3)
    database.run("UPDATE governance_ledger_entries SET act = 'ledger.recovered' WHERE position = 1")

    with pytest.raises(LedgerError, match=r"no recovery|what was recovered"):
        database.ledger.recoveries(database.key)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"lost": 3},
        {"lost": {"size": 7, "root": "00", "note": "x"}, "continues": {"size": 0}},
        {
            "lost": {"size": "7", "root": "00", "note": "sha256:" + "0" * 64},
            "continues": {"size": 0},
        },
        {"lost": {"size": 7, "root": "00", "note": "sha256:" + "0" * 64}, "continues": {"size": 9}},
    ],
    ids=["empty", "number", "no-digest", "text-size", "goes-on-later"],
)
def test_an_entry_that_does_not_say_what_was_lost_is_no_recovery(
    database: Database, facts: dict[str, object]
) -> None:
    with database.store.begin() as uow:
        uow.record(event(act=Act.LEDGER_RECOVERED, facts=facts))

    with pytest.raises(LedgerError):
        database.ledger.recoveries(database.key)
