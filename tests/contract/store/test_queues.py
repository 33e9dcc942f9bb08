"""The outbox queue and the task queue: leases, retries, replay, and two takers at once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from mlflow_governance.core import canonical, moment
from mlflow_governance.core.event import Act
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.ledger.merkle import leaf_hash
from mlflow_governance.store.outbox_queue import OutboxQueue
from mlflow_governance.store.task_queue import SqlTaskQueue
from mlflow_governance.workflows.queue import Queue, TaskQueue
from tests.unit.store.builders import AT, Database, event

LEASE = 60.0


@dataclass(frozen=True)
class Target:
    name: str
    acts: tuple[str, ...] = ()


ALL, REVOCATIONS = Target("all"), Target("revocations", (Act.VERSION_REVOKED.value,))


@dataclass
class Clock:
    now: datetime = AT

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(database: Database, clock: Clock) -> Queue:
    return OutboxQueue(database.sessions, clock)


def recorded(database: Database, *acts: Act) -> list[str]:
    events = [event(act=act) for act in acts]
    for happened in events:
        with database.store.begin() as uow:
            uow.record(happened)
    return [happened.event_id for happened in events]


def claimed(queue: Queue, now: datetime, name: str = "all", limit: int = 10) -> list[str]:
    return [d.event_id for d in queue.claim([name], limit, LEASE, now)]


def test_every_target_gets_what_it_wants_in_the_order_of_the_ledger(
    database: Database, queue: Queue
) -> None:
    ids = recorded(database, Act.VERSION_REGISTERED, Act.VERSION_REVOKED, Act.ALIAS_MOVED)

    assert queue.enqueue_missing([ALL, REVOCATIONS]) == 4
    assert queue.enqueue_missing([ALL, REVOCATIONS]) == 0

    assert claimed(queue, AT) == ids
    assert claimed(queue, AT, "revocations") == [ids[1]]
    more = recorded(database, Act.VERSION_REVOKED)
    assert queue.enqueue_missing([ALL, REVOCATIONS]) == 2
    assert claimed(queue, AT) == more


def test_a_delivery_carries_the_event(database: Database, queue: Queue) -> None:
    (event_id,) = recorded(database, Act.ALIAS_MOVED)
    queue.enqueue_missing([ALL])

    (delivery,) = queue.claim(["all"], 10, LEASE, AT)

    assert (delivery.event_id, delivery.target, delivery.attempts) == (event_id, "all", 1)
    assert json.loads(delivery.body)["id"] == event_id


def test_an_event_is_the_same_at_every_attempt_but_for_who_was_erased(
    database: Database, queue: Queue, clock: Clock
) -> None:
    recorded(database, Act.ALIAS_MOVED, Act.ALIAS_MOVED)
    queue.enqueue_missing([ALL])
    (first,) = queue.claim(["all"], 1, LEASE, AT)

    (again,) = queue.claim(["all"], 1, LEASE, clock.forward(LEASE))[:1]
    assert again.body == first.body

    pseudonym = database.erase("ann")
    (then,) = queue.claim(["all"], 1, LEASE, clock.forward(LEASE))[:1]
    assert json.loads(then.body) == {**json.loads(first.body), "actor": pseudonym, "reason": ""}


def test_what_a_receiver_answers_about_somebody_erased_meanwhile_is_not_kept(
    database: Database, queue: Queue, clock: Clock
) -> None:
    recorded(database, Act.ALIAS_MOVED)
    queue.enqueue_missing([ALL])
    (under_way,) = queue.claim(["all"], 1, LEASE, AT)
    pseudonym = database.erase("ann")

    queue.failed(under_way, "HTTP 400 who is ann?", AT, 400)

    assert database.run("SELECT last_error FROM governance_deliveries") == [("",)]
    (again,) = queue.claim(["all"], 1, LEASE, clock.forward(LEASE))
    assert json.loads(again.body)["actor"] == pseudonym
    queue.failed(again, "HTTP 400 who is that?", None, 400)
    assert queue.pending_counts() == {"all": {"pending": 0, "dead": 1}}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE governance_ledger_entries SET entry = leaf_hash WHERE position = 1",
        "DELETE FROM governance_ledger_entries WHERE position = 1",
        "UPDATE governance_private SET text = 'eve'",
    ],
)
def test_what_was_changed_in_the_database_is_not_told_and_stops_nothing(
    database: Database, queue: Queue, change: str
) -> None:
    recorded(database, Act.ALIAS_MOVED, Act.ALIAS_MOVED, Act.VERSION_REVOKED)
    queue.enqueue_missing([ALL])
    database.run(change)

    first, changed, last = queue.claim(["all"], 10, LEASE, AT)

    assert (changed.body, bool(changed.problem)) == (b"", True)
    assert all(one.body or one.problem for one in (first, last))
    assert queue.enqueue_missing([Target("new")]) >= 2


@pytest.mark.parametrize(
    "change",
    [
        {"after": {"stage": "Approved"}},
        {"index": 0},
        {"event_id": None},
        {"event_id": "x" * 65},
        {"event_id": "\0"},
        {"facts": []},
        {"actor": 7},
    ],
    ids=str,
)
@pytest.mark.parametrize("with_its_hash", [False, True])
def test_an_entry_that_says_something_else_by_now_is_not_told(
    database: Database, queue: Queue, change: dict[str, Any], with_its_hash: bool
) -> None:
    ids = recorded(database, *[Act.VERSION_REVOKED] * 3)
    data = canonical.encode({**canonical.decode_object(database.entry(2)), **change})
    database.write_entry(2, data)
    if with_its_hash:
        database.run("UPDATE governance_ledger_entries SET leaf_hash = :leaf WHERE position = 2",
                     leaf=leaf_hash(data))  # fmt: skip

    assert queue.enqueue_missing([ALL]) == 3
    first, second, changed = queue.claim(["all"], 10, LEASE, AT)

    assert [one.event_id for one in (first, second)] == ids[:2]
    assert changed.problem == "entry 2 is not the one that was recorded"
    assert changed.body == b""


def test_an_entry_under_the_id_of_another_is_not_passed_over(
    database: Database, queue: Queue
) -> None:
    recorded(database, Act.ALIAS_MOVED, Act.VERSION_REVOKED)
    queue.enqueue_missing([ALL])
    stolen = canonical.decode_object(database.entry(0))["event_id"]
    data = {**canonical.decode_object(database.entry(1)), "event_id": stolen}
    database.write_entry(1, canonical.encode(data))

    assert queue.enqueue_missing([Target("new")]) == 2


def test_an_event_that_is_recorded_twice_is_told_once(database: Database, queue: Queue) -> None:
    twice = event()
    for happened in (twice, twice, event(), twice):
        with database.store.begin() as uow:
            uow.record(happened)
        queue.enqueue_missing([ALL])

    assert claimed(queue, AT)[0] == twice.event_id
    assert queue.enqueue_missing([Target("new")]) == 2


def test_many_events_are_queued_in_small_steps(
    database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflow_governance.store.outbox_queue._STEP", 3)
    ids = recorded(database, *[Act.ALIAS_MOVED, Act.VERSION_REVOKED] * 4)

    assert queue.enqueue_missing([ALL, REVOCATIONS]) == 12
    assert claimed(queue, AT) == ids
    assert claimed(queue, AT, "revocations") == ids[1::2]


def test_a_claim_takes_no_more_than_asked(database: Database, queue: Queue) -> None:
    ids = recorded(database, *[Act.ALIAS_MOVED] * 3)
    queue.enqueue_missing([ALL])

    assert claimed(queue, AT, limit=2) == ids[:2]
    assert claimed(queue, AT, limit=2) == ids[2:]
    assert claimed(queue, AT, limit=2) == []
    assert queue.claim([], 2, LEASE, AT) == []


def test_what_was_delivered_is_not_delivered_again(
    database: Database, queue: Queue, clock: Clock
) -> None:
    recorded(database, Act.ALIAS_MOVED)
    queue.enqueue_missing([ALL])
    (delivery,) = queue.claim(["all"], 1, LEASE, AT)

    queue.delivered(delivery, 204)

    assert claimed(queue, clock.forward(3600)) == []
    assert queue.enqueue_missing([ALL]) == 0
    assert queue.pending_counts() == {}


def test_a_lease_that_ended_frees_the_delivery(
    database: Database, queue: Queue, clock: Clock
) -> None:
    recorded(database, Act.ALIAS_MOVED)
    queue.enqueue_missing([ALL])
    (first,) = queue.claim(["all"], 1, LEASE, AT)
    assert queue.claim(["all"], 1, LEASE, clock.forward(LEASE - 1)) == []

    (second,) = queue.claim(["all"], 1, LEASE, clock.forward(1))

    assert (second.event_id, second.attempts) == (first.event_id, 2)
    queue.failed(first, "too late to say so", None)
    assert queue.pending_counts() == {"all": {"pending": 1, "dead": 0}}
    queue.delivered(first, 200)
    queue.failed(second, "and it was delivered after all", None)
    assert queue.pending_counts() == {}


def test_a_failure_is_retried_when_due_and_given_up_when_told(
    database: Database, queue: Queue, clock: Clock
) -> None:
    recorded(database, Act.ALIAS_MOVED)
    queue.enqueue_missing([ALL])
    (first,) = queue.claim(["all"], 1, LEASE, AT)
    queue.failed(first, "HTTP 500 \0 \ud800" + "x" * 9999, AT + timedelta(seconds=5), 500)

    assert queue.claim(["all"], 1, LEASE, clock.forward(4)) == []
    (second,) = queue.claim(["all"], 1, LEASE, clock.forward(1))
    assert second.attempts == 2
    queue.failed(second, "gone", None)

    assert claimed(queue, clock.forward(10**6)) == []
    assert queue.pending_counts() == {"all": {"pending": 0, "dead": 1}}


def test_a_replay_makes_deliveries_due_again(
    database: Database, queue: Queue, clock: Clock
) -> None:
    ids = recorded(database, Act.ALIAS_MOVED, Act.VERSION_REVOKED)
    queue.enqueue_missing([ALL, REVOCATIONS])
    for delivery in queue.claim(["all", "revocations"], 10, LEASE, AT):
        queue.delivered(delivery, 200)

    assert queue.replay(event_id=ids[1]) == 2
    assert claimed(queue, AT) == [ids[1]]
    assert queue.replay(target="all") == 2
    assert claimed(queue, AT) == ids
    assert queue.replay(event_id=ids[0], target="revocations") == 0
    with pytest.raises(InvalidRequest):
        queue.replay()


def test_two_relays_never_hold_the_same_delivery(database: Database, queue: Queue) -> None:
    ids = recorded(database, *[Act.ALIAS_MOVED] * 12)

    def relay(_: int) -> list[str]:
        queue.enqueue_missing([ALL])
        mine: list[str] = []
        while batch := claimed(queue, AT, limit=2):
            mine += batch
        return mine

    with ThreadPoolExecutor(4) as pool:
        taken = [event_id for mine in pool.map(relay, range(4)) for event_id in mine]

    assert sorted(taken) == sorted(ids)


@pytest.fixture
def tasks(database: Database, clock: Clock) -> TaskQueue:
    clock.now = moment.now() + timedelta(seconds=1)
    return SqlTaskQueue(database.sessions, clock)


def test_a_task_is_done_once(database: Database, tasks: TaskQueue, clock: Clock) -> None:
    with database.store.begin() as uow:
        uow.add_task("register", "u1")
        uow.add_task("mirror", "u2", delay_seconds=30)

    (task,) = tasks.claim(10, LEASE)

    assert (task.kind, task.version_uid, task.attempts) == ("register", "u1", 1)
    assert tasks.claim(10, LEASE) == []
    tasks.done(task)
    clock.forward(30)
    assert [later.kind for later in tasks.claim(10, LEASE)] == ["mirror"]
    assert tasks.pending_counts() == {"pending": 1, "dead": 0}


def test_a_task_whose_worker_died_is_due_again(
    database: Database, tasks: TaskQueue, clock: Clock
) -> None:
    with database.store.begin() as uow:
        uow.add_task("register", "u1")
    (first,) = tasks.claim(1, LEASE)
    clock.forward(LEASE)
    (second,) = tasks.claim(1, LEASE)

    assert (second.id, second.attempts) == (first.id, 2)
    tasks.give_up(first, "says who")
    assert tasks.pending_counts() == {"pending": 1, "dead": 0}
    tasks.retry(second, "later", clock.now + timedelta(seconds=5))
    assert tasks.claim(1, LEASE) == []
    clock.forward(5)
    (third,) = tasks.claim(1, LEASE)
    tasks.give_up(third, "for good")
    clock.forward(10**6)
    assert tasks.claim(1, LEASE) == []
    assert tasks.pending_counts() == {"pending": 0, "dead": 1}


def test_a_lease_that_is_renewed_is_nobody_elses(
    database: Database, tasks: TaskQueue, clock: Clock
) -> None:
    with database.store.begin() as uow:
        uow.add_task("register", "u1")
    (first,) = tasks.claim(1, LEASE)

    clock.forward(LEASE - 1)
    tasks.renew(first, LEASE)
    clock.forward(LEASE - 1)
    assert tasks.claim(1, LEASE) == []
    clock.forward(1)
    (second,) = tasks.claim(1, LEASE)

    tasks.renew(first, 10 * LEASE)
    clock.forward(LEASE)
    assert tasks.claim(1, LEASE) != [], "who lost a lease renews nothing"
    assert second.attempts == 2


def test_a_task_of_a_change_that_failed_was_never_there(
    database: Database, tasks: TaskQueue
) -> None:
    def fail_late() -> None:
        with database.store.begin() as uow:
            uow.add_task("register", "u1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_late()
    assert tasks.claim(1, LEASE) == []
