"""The decision log over a real database: at least once, in order, and only what happened."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mlflow_governance.core.dossier import Gate, Outcome
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Denied
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.outbox import decision_log
from mlflow_governance.outbox.decision_event import Recorder, labels_of
from mlflow_governance.outbox.decision_log import DecisionRelay, DownloadLog, delay
from mlflow_governance.outbox.log_sinks import FileSink, Refused
from mlflow_governance.outbox.masking import pseudonyms
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.store.decision_feed import SqlDecisionFeed
from mlflow_governance.workflows.admit import admit, permits
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import transition
from tests.unit.policy.builders import dossier, shipped
from tests.unit.workflows.builders import ALICE, NOBODY, InProcessRegistry

RECORDER = Recorder(labels_of("test", {"site": "here"}), pseudonyms(b"s" * 32))


class Kept:
    """A sink that keeps what it takes, and fails as told."""

    name = "kept"

    def __init__(self, fails: Callable[[], Exception | None] = lambda: None) -> None:
        self.records: list[dict[str, Any]] = []
        self.fails = fails

    def write(self, lines: Sequence[bytes]) -> int:
        error = self.fails()
        if error is not None:
            raise error
        self.records.extend(map(json.loads, lines))
        return 0

    @property
    def ids(self) -> list[str]:
        return [one["decision_id"] for one in self.records]


@pytest.fixture
def registry(tmp_path: Path) -> InProcessRegistry:
    return InProcessRegistry(tmp_path / "registry")


def feed(registry: InProcessRegistry, ahead: float = 0) -> SqlDecisionFeed:
    clock = registry.ports.clock
    return SqlDecisionFeed(registry.sessions, lambda: clock() + timedelta(seconds=ahead))


def stored(registry: InProcessRegistry) -> list[str]:
    with registry.sessions.engine.connect() as connection:
        rows = connection.execute(
            sa.text("SELECT decision_id FROM governance_decisions ORDER BY id")
        )
        return [row[0] for row in rows]


def test_what_was_decided_is_shipped_once_and_in_order(registry: InProcessRegistry) -> None:
    ref = registry.accepted("churn")
    transition(registry.ports, Request(ALICE, ref), Stage.STAGING)
    sink = Kept()
    relay = DecisionRelay(feed(registry), [sink], RECORDER)

    assert relay.run_once() == 2
    assert relay.run_once() == 0

    assert sink.ids == stored(registry)
    first, second = sink.records
    assert first["path"] == "registry/accept/decision"
    assert second["path"] == "registry/promote/decision"
    assert first["labels"] | {"version": ""} == {
        "app": "mlflow-governance", "id": "test", "site": "here", "version": "",
    }  # fmt: skip
    assert first["bundles"] == {"registry": {"revision": shipped().digest}}
    assert first["timestamp"] == first["input"]["now"]
    assert "alice" not in json.dumps(sink.records)
    assert all("salt" not in part for r in sink.records for part in (r, r["input"], r["result"]))


def test_what_was_rolled_back_is_in_no_log(
    registry: InProcessRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = registry.accepted("churn")
    store = type(registry.ports.store)
    begin = store.begin

    def dying(self: Any) -> Any:
        from contextlib import contextmanager

        @contextmanager
        def unit() -> Any:
            with begin(self) as uow:
                yield uow
                raise RuntimeError("killed before the commit")

        return unit()

    sink = Kept()
    relay = DecisionRelay(feed(registry), [sink], RECORDER)
    relay.run_once()
    monkeypatch.setattr(store, "begin", dying)
    with pytest.raises(RuntimeError):
        transition(registry.ports, Request(ALICE, ref), Stage.STAGING)
    monkeypatch.undo()

    assert relay.run_once() == 0
    assert sink.ids == stored(registry)


def test_a_refusal_is_in_the_log_with_its_reasons(registry: InProcessRegistry) -> None:
    registry.outcomes.spoiled = {Kind.SIGNATURE: Outcome.missing("not signed")}
    registry.accepted("churn")
    sink = Kept()

    DecisionRelay(feed(registry), [sink], RECORDER).run_once()

    (record,) = sink.records
    assert record["result"]["allow"] is False
    assert record["result"]["reasons"]


def test_a_sink_that_fails_gets_everything_later_and_another_meanwhile(
    registry: InProcessRegistry,
) -> None:
    registry.accepted("churn")
    away = [True]
    down, up = Kept(lambda: Refused("away") if away[0] else None), Kept()
    up.name = "up"
    relay = DecisionRelay(feed(registry), [up, down], RECORDER)

    with pytest.raises(Refused):
        relay.run_once()
    assert up.ids == stored(registry)
    (place,) = [p for p in feed(registry).places() if p.sink == "kept"]
    assert "away" in place.last_error
    assert place.waiting == 1

    away[0] = False
    relay.run_once()
    assert down.ids == stored(registry)
    (place,) = [p for p in feed(registry).places() if p.sink == "kept"]
    assert (place.last_error, place.waiting, place.dropped) == ("", 0, 0)


def test_a_crash_between_sink_and_place_costs_a_repetition_not_a_gap(
    registry: InProcessRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.accepted("churn")
    sink = Kept()

    def killed(*_: Any) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(SqlDecisionFeed, "advance", killed)
    with pytest.raises(KeyboardInterrupt):
        DecisionRelay(feed(registry), [sink], RECORDER).run_once()
    monkeypatch.undo()

    # Another worker waits for the lease to end.
    assert DecisionRelay(feed(registry), [sink], RECORDER).run_once() == 0
    assert DecisionRelay(feed(registry, ahead=600), [sink], RECORDER).run_once() == 1
    assert sink.ids == stored(registry) * 2


def test_two_workers_at_once_ship_each_decision_once(registry: InProcessRegistry) -> None:
    for number in range(1, 6):
        registry.accepted("churn", number)
    sink = Kept(lambda: time.sleep(0.2))  # type: ignore[func-returns-value]
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        DecisionRelay(feed(registry), [sink], RECORDER).run_once()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sink.ids == stored(registry)


def test_denied_downloads_are_shipped_unless_the_settings_leave_them_out(
    registry: InProcessRegistry,
) -> None:
    ref = registry.accepted("churn")
    with pytest.raises(Denied):
        admit(registry.ports, Request(NOBODY, ref), "registry")
    told, quiet = Kept(), Kept()
    quiet.name = "quiet"

    DecisionRelay(feed(registry), [told], RECORDER, "denied").run_once()
    DecisionRelay(feed(registry), [quiet], RECORDER, "none").run_once()

    assert [one["result"]["gate"] for one in told.records] == ["accept", "download"]
    assert [one["result"]["gate"] for one in quiet.records] == ["accept"]


def test_a_decision_changed_in_the_database_is_told_as_that(registry: InProcessRegistry) -> None:
    registry.accepted("churn")
    with registry.sessions.engine.begin() as connection:
        connection.execute(sa.text("UPDATE governance_decisions SET document = '{}'"))
    sink = Kept()

    DecisionRelay(feed(registry), [sink], RECORDER).run_once()

    (record,) = sink.records
    assert record["error"]["code"] == "STORE-CHANGED"


def test_it_runs_until_it_is_told_to_stop(registry: InProcessRegistry, tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    stop = threading.Event()
    relay = DecisionRelay(feed(registry), [FileSink(path, 1 << 20, 2)], RECORDER)
    thread = threading.Thread(target=relay.run, args=(stop,))
    thread.start()
    registry.accepted("churn")
    _until(lambda: path.exists() and path.read_bytes().count(b"\n") == 1)
    stop.set()
    thread.join(10)

    assert not thread.is_alive()


def _until(what: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_delays_double_up_to_a_bound() -> None:
    assert 1 <= delay(1) <= 1.25
    assert 4 <= delay(3) <= 5
    assert delay(10_000) <= 375


# Permitted downloads ---------------------------------------------------------------------------


def staged(registry: InProcessRegistry) -> Request:
    ref = registry.accepted("churn")
    transition(registry.ports, Request(ALICE, ref), Stage.STAGING)
    return Request(ALICE, ref)


def downloads(sink: Kept, share: float = 1.0) -> tuple[DownloadLog, list[tuple[str, int]]]:
    lost: list[tuple[str, int]] = []
    return DownloadLog([sink], RECORDER, share, lambda *told: lost.append(told)), lost


def test_a_permitted_download_is_told_and_asking_about_one_is_not(
    registry: InProcessRegistry,
) -> None:
    request, sink = staged(registry), Kept()
    log, _ = downloads(sink)
    ports = replace(registry.ports, permitted=log)

    permits(ports, request, "registry")
    admit(ports, request, "registry")

    assert log.flush(10)
    (record,) = sink.records
    assert record["path"] == "registry/download/decision"
    assert record["result"]["allow"] is True
    assert record["requested_by"].startswith("hmac:")


def test_the_many_files_of_one_decision_are_one_record(registry: InProcessRegistry) -> None:
    request, sink = staged(registry), Kept()
    log, _ = downloads(sink)
    now = registry.ports.clock()
    ports = replace(registry.ports, permitted=log, clock=lambda: now)

    for _ in range(50):
        admit(ports, request, "artifact")

    assert log.flush(10)
    assert len(sink.records) == 1


CASE = dossier(Gate.DOWNLOAD)
ENGINE = EmbeddedEngine(shipped())


def many(number: int) -> list[Any]:
    one = decide(ENGINE, CASE)
    return [replace(one, decision_id=f"{at:032x}") for at in range(number)]


def test_a_sink_that_hangs_costs_the_download_nothing_and_the_loss_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decision_log, "MAX_WAITING", 100)
    monkeypatch.setattr(decision_log, "_TELL_SECONDS", 0.0)
    hangs = threading.Event()

    def wait() -> None:
        hangs.wait(20)

    sink = Kept(wait)  # type: ignore[arg-type]
    log, lost = downloads(sink)
    started = time.monotonic()
    for decision in many(1000):
        log(decision, CASE)
    assert time.monotonic() - started < 2
    hangs.set()

    assert log.flush(20)
    _until(lambda: sum(number for _, number in lost) + len(sink.records) == 1000)
    assert len(sink.records) <= 100 + 2 * decision_log.BATCH


def test_a_sink_that_is_down_for_long_loses_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision_log, "delay", lambda _: 0.001)
    monkeypatch.setattr(decision_log, "_TELL_SECONDS", 0.0)
    log, lost = downloads(Kept(lambda: Refused("down")))

    for decision in many(5):
        log(decision, CASE)

    assert log.flush(20)
    _until(lambda: sum(number for _, number in lost) == 5)


def test_a_record_that_cannot_be_made_harms_nobody() -> None:
    sink = Kept()
    log, _ = downloads(sink)

    log(None, None)  # type: ignore[arg-type]
    log(many(1)[0], None)  # type: ignore[arg-type]
    log(replace(many(1)[0], decision_id="good"), CASE)

    assert log.flush(10)
    assert sink.ids == ["good"]


def test_a_share_of_the_downloads_can_be_logged() -> None:
    sink = Kept()
    log, _ = downloads(sink, share=0.3)

    for decision in many(1000):
        log(decision, CASE)

    assert log.flush(20)
    assert 200 < len(sink.records) < 400


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_logs_its_own_downloads(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    log = DownloadLog([FileSink(path, 1 << 20, 2)], RECORDER, 1.0, lambda *_: None)
    first, second = many(2)
    log(first, CASE)
    assert log.flush(10)

    child = os.fork()
    if child == 0:
        log(second, CASE)
        os._exit(0 if log.flush(10) else 1)

    assert os.waitpid(child, 0)[1] == 0
    assert [json.loads(line)["decision_id"] for line in path.read_bytes().splitlines()] == [
        first.decision_id, second.decision_id,
    ]  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_of_a_fork_waits_for_no_thread_of_its_parent() -> None:
    log = DownloadLog([], RECORDER, 0.0, lambda _sink, _number: None)
    asked = dossier(Gate.DOWNLOAD)
    decision = decide(EmbeddedEngine(shipped()), asked)

    with log._lock:  # as while another thread hands in a download
        child = os.fork()
        if not child:
            log(decision, asked)
            os._exit(7)
    for _ in range(100):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.05)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 7
