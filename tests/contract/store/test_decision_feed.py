"""Recorded decisions for the decision log: in order, with a place for each sink."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlflow_governance.store.decision_feed import SqlDecisionFeed
from mlflow_governance.workflows.queue import DecisionFeed
from tests.contract.store.test_queues import Clock
from tests.unit.store.builders import Database, decision


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def feed(database: Database, clock: Clock) -> DecisionFeed:
    return SqlDecisionFeed(database.sessions, clock)


def record(database: Database, number: int) -> None:
    for _ in range(number):
        with database.store.begin() as uow:
            uow.add_decision(*decision(), "v1")


def test_decisions_come_in_the_order_of_their_commits(
    database: Database, feed: DecisionFeed
) -> None:
    record(database, 5)

    found = feed.after(0, 3)
    rest = feed.after(found[-1].position, 10)

    positions = [one.position for one in (*found, *rest)]
    assert positions == sorted(set(positions))
    assert len(positions) == 5
    assert found[0].document is not None
    assert found[0].dossier is not None
    assert found[0].dossier["gate"] == found[0].document["gate"]
    assert feed.after(positions[-1], 10) == []


def test_concurrent_writers_leave_no_gap_for_a_reader(
    database: Database, feed: DecisionFeed
) -> None:
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        last = False
        while not last:
            last = done.is_set()
            seen.extend([one.position for one in feed.after(seen[-1] if seen else 0, 5)])

    reader = threading.Thread(target=read)
    reader.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: record(database, 5), range(4)))
    done.set()
    reader.join(30)
    seen.extend(one.position for one in feed.after(seen[-1] if seen else 0, 100))

    assert len(seen) == 20
    assert database.count("governance_decisions") == 20


def test_a_place_is_held_by_one_until_its_lease_ends(
    database: Database, feed: DecisionFeed, clock: Clock
) -> None:
    record(database, 1)
    assert feed.waits("file")
    place = feed.hold("file", 60)
    assert place is not None
    assert feed.hold("file", 60) is None
    assert feed.hold("http", 60) is not None
    clock.forward(61)

    later = feed.hold("file", 60)

    assert later is not None
    assert not feed.advance(place, 7, 0)  # whose lease ended has no say
    feed.release(place, "late")
    assert feed.hold("file", 60) is None
    assert feed.advance(later, feed.after(0, 9)[-1].position, 2)
    feed.release(later, "")
    assert not feed.waits("file")
    (file, _) = feed.places()
    assert (file.sink, file.waiting, file.dropped, file.last_error) == ("file", 0, 2, "")


def test_a_lease_written_under_a_clock_that_was_ahead_ends_now(
    feed: DecisionFeed, clock: Clock
) -> None:
    clock.forward(10 * 24 * 3600)
    assert feed.hold("file", 60) is not None
    clock.forward(-10 * 24 * 3600)

    assert feed.hold("file", 60) is not None


def test_exactly_one_of_many_gets_the_place(feed: DecisionFeed) -> None:
    start = threading.Barrier(6)

    def take(_: int) -> bool:
        start.wait()
        return feed.hold("file", 60) is not None

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(take, range(6))) == 1


def test_what_was_lost_is_counted(feed: DecisionFeed) -> None:
    feed.lost("file", 3)
    feed.lost("file", 4)

    (place,) = feed.places()
    assert place.dropped == 7


@pytest.mark.parametrize("column", ["document", "digest", "dossier_digest"])
def test_changed_bytes_are_not_taken_for_a_decision(
    database: Database, feed: DecisionFeed, column: str
) -> None:
    record(database, 1)
    database.run(f"UPDATE governance_decisions SET {column} = 'x'")

    (one,) = feed.after(0, 10)

    assert one.document is None or one.dossier is None
