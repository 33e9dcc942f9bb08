"""Letting entries go, and forgetting events, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from mlflow_governance.core import digest
from mlflow_governance.core.event import Act
from mlflow_governance.errors import Conflict, NotFound
from mlflow_governance.ledger.entry import read_entry
from mlflow_governance.ledger.merkle import leaf_hash
from mlflow_governance.ledger.verify import Outline
from mlflow_governance.store.ledger_scan import Scan
from mlflow_governance.store.outbox_queue import OutboxQueue
from mlflow_governance.store.retention import clean
from mlflow_governance.workflows.queue import Queue
from mlflow_governance.workflows.retention import Passing
from tests.contract.store.test_queues import ALL, REVOCATIONS, Clock, Target, recorded
from tests.unit.store.builders import AT, MODEL, Database, decision, event

LATER = AT + timedelta(days=8 * 366)
MONTH = timedelta(days=30)


def passing(database: Database, *positions: int, **members: object) -> list[Passing]:
    """These entries with what stands behind them."""
    found = []
    for position in positions:
        entry = read_entry(database.ledger.entry(position))
        sealed = tuple(one for one in (entry["actor"], entry["reason"]) if one)
        found.append(
            Passing(position, entry["act"], sealed, entry["decision_id"], **{"uid": "", **members})
        )
    return found


def let_go(database: Database, entries: list[Passing], said: str = "") -> None:
    positions = [str(entry.position) for entry in entries]
    facts = {"entries": said or ",".join(positions), "count": len(positions), "years": 7.0,
             "before": "2026-11-22T00:00:00.000000Z", "holds": []}  # fmt: skip
    with database.store.begin() as uow:
        uow.let_go(entries)
        uow.record(event(act=Act.LEDGER_EXPIRED, at=LATER, subject={}, facts=facts))


def test_an_entry_goes_with_what_stands_behind_it(database: Database) -> None:
    database.fill(6)
    before = {n: database.ledger.inclusion_proof(n) for n in range(6)}
    data = {n: database.ledger.entry(n) for n in range(6)}
    let_go(database, passing(database, 1, 3))

    report = database.ledger.verify(database.key, [before[0].checkpoint])
    assert (report.size, report.deleted) == (7, 2)
    assert [index for index, _ in database.ledger.entries()] == [0, 2, 4, 5, 6]
    ((_, none, leaf),) = database.ledger.stored(1, 2)
    assert (none, leaf) == (b"", leaf_hash(data[1]))
    assert database.count("governance_private") == 2 * 7 - 2 * 2
    for index in range(6):
        before[index].verify(data[index], database.key)
        database.ledger.inclusion_proof(index).verify(data[index], database.key)
    with pytest.raises(NotFound, match="entry 3 was deleted after its retention; entry 6 says so"):
        database.ledger.entry(3)


def test_decision_and_dossier_go_and_what_others_refer_to_stays(database: Database) -> None:
    record = database.register()
    made, dossier = decision()
    other, other_dossier = decision()
    with database.store.begin() as uow:
        for one, document in ((made, dossier), (other, other_dossier)):
            uow.add_decision(one, document, record.uid)
            uow.record(event(decision_id=one.decision_id))
    let_go(database, passing(database, 0, documents=(digest.of_bytes(other_dossier),)))

    with database.store.read() as reading:
        assert reading.decision(made.decision_id) is None
        assert reading.document(made.dossier_digest) is None
        assert reading.document(other.dossier_digest) == other_dossier


def test_a_former_version_is_forgotten_with_its_history(database: Database) -> None:
    database.fill(1)  # the first entry of all never goes
    record = database.register()
    with database.store.begin() as uow:
        uow.remove_version(record)
        uow.record(event(subject={"uid": record.uid, "name": "churn", "version": 1}))
    let_go(database, passing(database, 1, uid=record.uid, documents=(MODEL,)))

    assert database.count("governance_former_versions") == 0
    database.ledger.verify(database.key)


def test_two_at_once_let_each_entry_go_once(database: Database) -> None:
    database.fill(40)
    chosen = passing(database, *range(1, 31))

    def attempt(_: int) -> bool:
        try:
            let_go(database, chosen, "1-30")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(attempt, range(4))) == [False, False, False, True]
    report = database.ledger.verify(database.key)
    assert (report.size, report.deleted) == (41, 30)


@pytest.mark.parametrize(
    "act", [Act.LEDGER_EXPIRED, Act.LEDGER_REKEYED, Act.LEDGER_RECOVERED, Act.PERSON_ERASED]
)
def test_what_the_ledger_is_verified_by_is_not_let_go(database: Database, act: Act) -> None:
    with database.store.begin() as uow:
        uow.record(event())
        uow.record(event(act=act))

    with pytest.raises(Conflict):
        let_go(database, passing(database, 0, 1), "0-1")
    assert database.ledger.entry(1)
    assert database.ledger.entry(0)


def test_a_verification_follows_a_server_that_lets_go_meanwhile(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.fill(8)
    outline = Scan.outline

    def then_let_go(scan: Scan) -> Outline:
        found = outline(scan)
        let_go(database, passing(database, 3))
        return found

    monkeypatch.setattr(Scan, "outline", then_let_go)
    report = database.ledger.verify(database.key)

    assert (report.size, report.deleted) == (8, 1)


def test_the_files_may_be_cleaned_while_others_work(database: Database) -> None:
    database.fill(3)
    let_go(database, passing(database, 1, 2), "1-2")
    clean(database.sessions)

    assert database.ledger.verify(database.key).deleted == 2


# Events --------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(database: Database, clock: Clock) -> OutboxQueue:
    return OutboxQueue(database.sessions, clock)


def deliver(queue: Queue, clock: Clock, *targets: str) -> int:
    found = queue.claim(targets, 100, 60, clock.forward(1))
    for one in found:
        queue.delivered(one, 200)
    return len(found)


def test_deliveries_that_were_made_are_forgotten_in_time(
    database: Database, queue: OutboxQueue, clock: Clock
) -> None:
    recorded(database, Act.VERSION_TRANSITIONED, Act.VERSION_REVOKED)
    queue.enqueue_missing([ALL, REVOCATIONS])
    assert deliver(queue, clock, ALL.name, REVOCATIONS.name) == 3

    assert queue.forget([ALL, REVOCATIONS]) == 0
    clock.forward(MONTH.total_seconds() + 1)
    assert queue.forget([ALL, REVOCATIONS]) == 3
    assert database.count("governance_deliveries") == 0
    assert queue.enqueue_missing([ALL, REVOCATIONS]) == 0


def test_what_is_to_be_delivered_or_was_given_up_is_kept(
    database: Database, queue: OutboxQueue, clock: Clock
) -> None:
    recorded(database, *[Act.VERSION_REVOKED] * 3)
    queue.enqueue_missing([ALL])
    first, second, _ = queue.claim([ALL.name], 3, 60, clock.forward(1))
    queue.delivered(first, 200)
    queue.failed(second, "gone", None, 410)

    clock.forward(MONTH.total_seconds() + 1)
    assert queue.forget([ALL]) == 1
    assert queue.replay(target=ALL.name) == 2
    assert deliver(queue, clock, ALL.name) == 2
    assert queue.forget([ALL]) == 2


def test_a_new_receiver_is_told_of_the_time_that_is_kept(
    database: Database, queue: OutboxQueue, clock: Clock
) -> None:
    month = MONTH.total_seconds()
    recorded(database, *[Act.VERSION_REVOKED] * 3)
    with database.store.begin() as uow:
        uow.record(event(at=clock.forward(month)))
    clock.forward(month / 2)

    assert queue.enqueue_missing([ALL]) == 1
    (delivery,) = queue.claim([ALL.name], 9, 60, clock.now)
    assert database.told(3)["id"] == delivery.event_id
    clock.forward(month)
    assert queue.enqueue_missing([Target("new")]) == 0


@pytest.mark.parametrize("wrong", [-10 * MONTH, 10 * MONTH])
def test_a_wrong_clock_hides_nothing_recent_from_a_new_receiver(
    database: Database, queue: OutboxQueue, clock: Clock, wrong: timedelta
) -> None:
    recorded(database, *[Act.VERSION_REVOKED] * 4)
    now = clock.forward(2 * MONTH.total_seconds())
    for at in (now, now + wrong, now, now, now, now, now):
        with database.store.begin() as uow:
            uow.record(event(act=Act.VERSION_REVOKED, at=at))

    assert queue.enqueue_missing([ALL]) == 7


def test_a_receiver_that_is_none_any_more_keeps_nothing(
    database: Database, queue: OutboxQueue, clock: Clock
) -> None:
    recorded(database, *[Act.VERSION_REVOKED] * 3)
    queue.enqueue_missing([ALL])

    clock.forward(MONTH.total_seconds() + 1)
    assert queue.forget([]) == 3
    assert database.count("governance_deliveries") == 0
    assert database.ledger.verify(database.key).size == 3


def test_a_receiver_that_comes_back_is_told_of_the_time_that_is_kept(
    database: Database, queue: OutboxQueue, clock: Clock
) -> None:
    month = MONTH.total_seconds()
    recorded(database, Act.VERSION_REVOKED)
    assert queue.enqueue_missing([ALL, REVOCATIONS]) == 2
    for _ in range(3):
        with database.store.begin() as uow:
            uow.record(event(act=Act.VERSION_REVOKED, at=clock.forward(month)))
        queue.forget([REVOCATIONS])  # the other was taken out of the settings
    clock.forward(month / 2)

    assert queue.enqueue_missing([ALL]) == 1
    assert queue.enqueue_missing([REVOCATIONS]) == 3, "the registry was away, not the receiver"


def test_a_receiver_that_wants_more_gets_it_from_then_on(
    database: Database, queue: OutboxQueue
) -> None:
    recorded(database, Act.VERSION_REGISTERED, Act.VERSION_REVOKED)
    assert queue.enqueue_missing([REVOCATIONS]) == 1

    greedy = Target(REVOCATIONS.name)
    assert queue.enqueue_missing([greedy]) == 0
    recorded(database, Act.VERSION_REGISTERED)
    assert queue.enqueue_missing([greedy]) == 1


def test_of_an_entry_that_is_gone_nothing_is_told(database: Database, queue: OutboxQueue) -> None:
    recorded(database, *[Act.VERSION_TRANSITIONED] * 4)
    queue.enqueue_missing([ALL])
    let_go(database, passing(database, 0, 2))

    assert database.count("governance_deliveries") == 2
    assert queue.enqueue_missing([ALL, Target("new")]) == 1 + 3
