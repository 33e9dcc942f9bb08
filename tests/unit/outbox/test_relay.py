"""Events reach real HTTP receivers on loopback, at least once, whatever goes wrong."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime

import pytest
from werkzeug.wrappers import Response

from mlflow_governance.core.event import Act
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.outbox import relay as relay_module
from mlflow_governance.outbox import signing
from mlflow_governance.outbox.interface import Target
from mlflow_governance.outbox.relay import Relay, RelayOptions, retry_after
from tests.unit.outbox.builders import (
    NOW,
    OTHER_SECRET,
    SECRET,
    SOURCE,
    Clock,
    MemoryQueue,
    Received,
    Receiver,
    event,
    free_port,
    stored,
    target,
)

NO_JITTER = RelayOptions(jitter=0.0)


def queue_of(*documents: dict[str, object]) -> MemoryQueue:
    queue = MemoryQueue()
    queue.add(*(documents or (stored(),)))
    return queue


def relay_to(
    queue: MemoryQueue, *targets: Target, clock: Clock | None = None, **options: object
) -> Relay:
    return Relay(queue, targets, SOURCE, RelayOptions(jitter=0.0, **options), clock or Clock())


def answering(status: int, **headers: str) -> Receiver:
    return Receiver(
        lambda _: Response("no", status, {k.replace("_", "-"): v for k, v in headers.items()})
    )


@contextmanager
def running(relay: Relay) -> Iterator[threading.Event]:
    stop = threading.Event()
    thread = threading.Thread(target=relay.run, args=(stop,))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def eventually(condition: object, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_an_event_arrives_signed_as_a_cloudevent():
    queue = queue_of()
    with Receiver().listening() as receiver:
        assert relay_to(queue, target(receiver.url)).run_once() == 1
    (got,) = receiver.got
    assert got.headers["content-type"] == "application/cloudevents+json"
    assert json.loads(got.body) == event()
    assert signing.verify(signing.keys_of(SECRET), got.headers, got.body, now=NOW) == event()["id"]
    assert (queue.only().state, queue.only().status) == ("delivered", 204)


def test_a_delivered_event_is_not_sent_again():
    queue = queue_of()
    with Receiver().listening() as receiver:
        relay = relay_to(queue, target(receiver.url))
        assert [relay.run_once() for _ in range(3)] == [1, 0, 0]


def test_both_secrets_sign_while_one_replaces_the_other():
    queue = queue_of()
    with Receiver().listening() as receiver:
        relay_to(queue, target(receiver.url, secret=f"{OTHER_SECRET} {SECRET}")).run_once()
    (got,) = receiver.got
    for secret in (SECRET, OTHER_SECRET):
        signing.verify(signing.keys_of(secret), got.headers, got.body, now=NOW)


def test_a_receiver_that_was_down_gets_the_event_later_under_the_same_id():
    queue, clock, port = queue_of(), Clock(), free_port()
    relay = relay_to(queue, target(f"http://127.0.0.1:{port}"), clock=clock)
    assert relay.run_once() == 0
    assert (queue.only().state, queue.only().due) == ("pending", NOW + timedelta(seconds=5))
    assert "Connection" in queue.only().error
    broken = answering(500)
    clock.forward(5)
    with broken.listening(port):
        assert relay.run_once() == 0
    clock.forward(30)
    with Receiver().listening(port) as receiver:
        assert relay.run_once() == 1
    first, second = broken.got[0], receiver.got[0]
    assert (first.id, first.body) == (second.id, second.body)
    # The attempt is signed anew: an old timestamp would be refused as a replay.
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 30


def test_the_pauses_grow_and_end_with_a_dead_delivery():
    queue, clock, pauses = queue_of(), Clock(), []
    with answering(503).listening() as receiver:
        relay = relay_to(queue, target(receiver.url), clock=clock)
        while True:
            relay.run_once()
            if queue.only().state == "dead":
                break
            pauses.append((queue.only().due - clock.now).total_seconds())
            clock.now = queue.only().due
    assert pauses == list(NO_JITTER.retry_delays)
    assert pauses[:3] == [5, 30, 120]
    assert pauses == sorted(pauses)
    assert len(receiver.got) == len(pauses) + 1
    assert (queue.only().error, queue.only().status) == ("HTTP 503 no", 503)
    assert len({got.id for got in receiver.got}) == 1


def test_jitter_adds_at_most_its_share():
    queue = queue_of(*(stored(index=index) for index in range(8)))
    with answering(500).listening() as receiver:
        Relay(queue, [target(receiver.url)], SOURCE, RelayOptions(jitter=0.5), Clock()).run_once()
    pauses = {(row.due - NOW).total_seconds() for row in queue.rows.values()}
    assert len(pauses) > 1
    assert all(5 <= pause <= 7.5 for pause in pauses)


def test_gone_ends_a_delivery_at_once():
    queue = queue_of()
    with answering(410).listening() as receiver:
        relay_to(queue, target(receiver.url)).run_once()
    assert queue.only().state == "dead"


def test_a_dead_delivery_can_be_replayed():
    queue = queue_of()
    with answering(410).listening() as receiver:
        relay_to(queue, target(receiver.url)).run_once()
    queue.replay(target="serving")
    with Receiver().listening() as receiver:
        assert relay_to(queue, target(receiver.url)).run_once() == 1


def test_a_redirect_is_a_failure_and_is_not_followed():
    queue = queue_of()
    with (
        Receiver().listening() as elsewhere,
        answering(307, Location=elsewhere.url).listening() as receiver,
    ):
        assert relay_to(queue, target(receiver.url)).run_once() == 0
        assert elsewhere.got == []
    assert queue.only().error == "HTTP 307 no"


def test_retry_after_lengthens_the_pause_and_is_bounded():
    for asked, pause in (("60", 60), ("1", 5), ("999999999", 6 * 3600)):
        queue = queue_of()
        with answering(429, Retry_After=asked).listening() as receiver:
            relay_to(queue, target(receiver.url)).run_once()
        assert (queue.only().due - NOW).total_seconds() == pause


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 0),
        ("120", 120),
        (" 7 ", 7),
        ("-5", 0),
        ("1.5", 0),
        ("٣", 0),
        ("9" * 400, 21600),
        ("soon", 0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 21600),
        ("Fri, 99 Dec 9999 99:99:99 GMT", 0),
        ("Sat, 21 Nov 2026 09:31:00", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float):
    assert retry_after(header, NOW) == seconds


def test_a_target_gets_only_the_acts_it_wants():
    queue = queue_of(stored(Act.ALIAS_MOVED, 0), stored(Act.VERSION_REVOKED, 1))
    with Receiver().listening() as receiver:
        relay = relay_to(queue, target(receiver.url, acts=("version.revoked",)))
        assert relay.run_once() == 1
    assert [json.loads(got.body)["type"] for got in receiver.got] == [
        "io.mlflow-governance.version.revoked"
    ]
    assert queue.pending_counts() == {}


def test_a_document_that_is_no_event_is_dead_and_does_not_block_the_next():
    queue = queue_of(stored(index=0) | {"act": "version.promoted"}, stored(index=1))
    with Receiver().listening() as receiver:
        assert relay_to(queue, target(receiver.url)).run_once() == 1
    assert queue.pending_counts() == {"serving": {"pending": 0, "dead": 1}}


def test_an_entry_that_cannot_be_told_is_dead_and_does_not_block_the_next():
    queue = queue_of(stored(index=0), stored(index=1))
    with Receiver().listening() as receiver:
        relay = relay_to(queue, target(receiver.url))
        queue.enqueue_missing([target(receiver.url)])
        row = queue.rows[stored(index=0)["id"], "serving"]
        row.delivery = replace(row.delivery, body=b"", problem="entry 0 was changed")
        assert relay.run_once() == 1
    assert [got.id for got in receiver.got] == [stored(index=1)["id"]]
    assert (row.state, row.error) == ("dead", "not deliverable: entry 0 was changed")


def test_two_relays_at_once_deliver_each_event_once():
    queue = queue_of(*(stored(index=index) for index in range(40)))
    with Receiver().listening() as receiver:
        relays = [relay_to(queue, target(receiver.url)) for _ in range(2)]
        with ThreadPoolExecutor(2) as pool:
            for _ in range(5):
                list(pool.map(Relay.run_once, relays))
    ids = [got.id for got in receiver.got]
    assert sorted(ids) == sorted(json.loads(body)["id"] for body in queue.documents)


def test_an_event_whose_relay_died_is_delivered_by_another_when_the_lease_ends():
    queue, clock = queue_of(), Clock()
    queue.enqueue_missing([target("http://serving.example")])
    queue.claim(["serving"], 8, 60, clock())  # and the process is killed here
    with Receiver().listening() as receiver:
        relay = relay_to(queue, target(receiver.url), clock=clock)
        assert relay.run_once() == 0
        clock.forward(61)
        assert relay.run_once() == 1


def test_an_answer_that_could_not_be_recorded_means_the_same_id_again():
    queue, clock = queue_of(), Clock()
    record = queue.delivered
    queue.delivered = lambda delivery, status: (_ for _ in ()).throw(OSError("database away"))  # type: ignore[method-assign]
    with Receiver().listening() as receiver:
        relay = relay_to(queue, target(receiver.url), clock=clock)
        assert relay.run_once() == 0
        queue.delivered = record  # type: ignore[method-assign]
        clock.forward(3600)
        assert relay.run_once() == 1
    first, second = receiver.got
    assert first.id == second.id


def test_nothing_is_sent_on_a_lease_that_has_run_out(monkeypatch: pytest.MonkeyPatch):
    queue = queue_of(*(stored(index=index) for index in range(3)))
    ticks = iter([0.0, 0.0, 59.0, 59.0])
    with Receiver().listening() as receiver:
        monkeypatch.setattr(relay_module.time, "monotonic", lambda: next(ticks))
        relay = relay_to(queue, target(receiver.url))
        assert relay.run_once() == 1
        monkeypatch.undo()
    assert len(receiver.got) == 1


def test_a_slow_target_does_not_stop_another():
    release = threading.Event()
    slow = Receiver(lambda _: Response(status=204 if release.wait(8) else 500))
    queue = queue_of()
    with slow.listening(), Receiver().listening() as quick:
        targets = (target(slow.url, "slow", timeout_seconds=10), target(quick.url, "quick"))
        with running(relay_to(queue, *targets, poll_seconds=0.01)):
            eventually(lambda: len(slow.got) == 1)
            queue.add(*(stored(index=index) for index in range(1, 4)))
            eventually(lambda: len(quick.got) == 4)
            assert queue.pending_counts()["slow"]["pending"] >= 1
            release.set()
            eventually(lambda: not queue.pending_counts())


def test_a_target_that_never_answers_times_out_and_is_tried_again():
    release = threading.Event()
    silent = Receiver(lambda _: Response(status=204 if release.wait(8) else 500))
    queue = queue_of()
    with silent.listening():
        relay_to(queue, target(silent.url, timeout_seconds=0.2)).run_once()
        release.set()
    assert "Timeout" in queue.only().error
    assert queue.only().state == "pending"


@pytest.mark.parametrize("status", [500, 307])
def test_the_body_of_an_answer_is_not_read_beyond_an_excerpt(status: int):
    def flood() -> Iterator[bytes]:
        for _ in range(100_000):
            yield b"\x1b[2J\n no " * 1000

    def answer() -> Response:
        return Response(flood(), status, {"Location": "http://127.0.0.1:1/"})

    queue, started = queue_of(), time.monotonic()
    with Receiver(lambda _: answer()).listening() as receiver:
        relay_to(queue, target(receiver.url)).run_once()
    assert time.monotonic() - started < 5
    assert len(queue.only().error) < 400
    assert queue.only().error.isprintable()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 999999 x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500,
    ],
    ids=["nothing", "nonsense", "odd status", "too many headers"],
)
def test_an_answer_that_is_no_http_is_a_failure(answer: bytes):
    queue = queue_of()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reply() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        assert (
            relay_to(queue, target(f"http://127.0.0.1:{server.getsockname()[1]}")).run_once() == 0
        )
        thread.join()
    assert queue.only().state == "pending"
    assert queue.only().error


def test_the_environment_neither_redirects_nor_authenticates(
    monkeypatch: pytest.MonkeyPatch, tmp_path
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ann password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    with Receiver().listening() as receiver:
        assert relay_to(queue_of(), target(receiver.url)).run_once() == 1
    assert "authorization" not in receiver.got[0].headers


def test_a_receivers_cookies_are_not_kept():
    queue = queue_of(stored(index=0), stored(index=1))

    def cookie(_: Received) -> Response:
        return Response(status=204, headers={"Set-Cookie": "a=b"})

    with Receiver(cookie).listening() as receiver:
        relay_to(queue, target(receiver.url)).run_once()
    assert all("cookie" not in got.headers for got in receiver.got)


def test_a_queue_that_is_away_stops_nothing():
    class Away(MemoryQueue):
        away = True

        def claim(self, *args, **kwargs):
            if self.away:
                raise OSError("database away")
            return super().claim(*args, **kwargs)

    queue = Away()
    queue.add(stored())
    with Receiver().listening() as receiver:
        relay = relay_to(queue, target(receiver.url), poll_seconds=0.01)
        assert relay.run_once() == 0
        with running(relay):
            queue.away = False
            eventually(lambda: len(receiver.got) == 1)


def test_stopping_finishes_the_attempt_in_hand_and_starts_no_other():
    queue = queue_of(*(stored(index=index) for index in range(5)))
    arrived, release = threading.Event(), threading.Event()

    def wait(_: Received) -> Response:
        arrived.set()
        release.wait(8)
        return Response(status=204)

    with Receiver(wait).listening() as receiver:
        with running(relay_to(queue, target(receiver.url), poll_seconds=0.01)) as stop:
            assert arrived.wait(8)
            stop.set()
            release.set()
        assert len(receiver.got) == 1
    assert sum(row.state == "delivered" for row in queue.rows.values()) == 1


def test_without_targets_there_is_nothing_to_do():
    relay = relay_to(queue_of())
    assert relay.run_once() == 0
    with running(relay):
        pass


def test_two_targets_of_one_name_are_refused():
    with pytest.raises(ConfigurationError):
        relay_to(queue_of(), target("http://a.example"), target("http://b.example"))
