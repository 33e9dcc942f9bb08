"""The worker: what was left undone is done, once, by whoever is alive."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from mlflow_governance.core import moment
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.outbox.interface import Target
from mlflow_governance.plugin import worker as worker_module
from mlflow_governance.plugin.artifacts import ServerArtifacts
from mlflow_governance.plugin.catalogue import MlflowCatalogue
from mlflow_governance.plugin.refusals import Refusal
from mlflow_governance.plugin.worker import Worker
from mlflow_governance.store import tables
from mlflow_governance.store.outbox_queue import OutboxQueue
from mlflow_governance.store.task_queue import SqlTaskQueue
from tests.unit.plugin.builders import NAME, Governed

GONE = Target("gone", "http://127.0.0.1/", f"whsec_{'A' * 32}")
"""A receiver that was removed from the settings."""


class Ahead:
    """A clock that can be put forward."""

    seconds = 0.0

    def __call__(self) -> Any:
        return moment.now() + timedelta(seconds=self.seconds)


def worker(governed: Governed, clock: Ahead) -> Worker:
    sessions = governed.store.sessions.for_us
    assembly = governed.store.governance
    governed.store.governance = replace(assembly, ports=replace(assembly.ports, clock=clock))
    return Worker(
        governed.store.governance, SqlTaskQueue(sessions, clock), OutboxQueue(sessions, clock)
    )


def _crash() -> Exception:
    return RuntimeError("the server died")


def unmirrored(governed: Governed, clock: Ahead) -> VersionRef:
    """A version at Staging whose tags still say Candidate; nothing else is left to do."""
    ref = governed.candidate()
    clock.seconds += 60
    worker(governed, clock).run_tasks()
    with governed.failing(MlflowCatalogue, "mirror", _crash):
        governed.move(ref, "Staging")
    assert governed.store.get_model_version(NAME, 1).tags["governance.stage"] == "Candidate"
    clock.seconds += 60
    return ref


def test_a_registration_the_server_did_not_finish_is_finished(
    governed: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    governed.model()
    with monkeypatch.context() as patch:
        patch.setattr(ServerArtifacts, "manifest", lambda *_: 1 / 0)
        ref = governed.register()
    record = governed.record(ref)
    assert record is not None
    assert (record.stage, record.digest) == (Stage.NONE, None)
    clock = Ahead()

    assert worker(governed, clock).run_tasks() == 0, "it is given half a minute first"
    clock.seconds = 60
    assert worker(governed, clock).run_tasks() > 0

    assert governed.store.get_model_version(NAME, 1).current_stage == "Candidate"
    governed.agrees()
    assert governed.count("governance_tasks") == 0


def test_a_large_model_is_hashed_by_the_worker_and_not_served_before(governed: Governed) -> None:
    assembly = governed.store.governance
    rules = replace(assembly.ports.rules, sync_limit_bytes=1)
    governed.store.governance = replace(assembly, ports=replace(assembly.ports, rules=rules))
    governed.model()
    ref = governed.register()
    assert governed.store.get_model_version(NAME, 1).status == "PENDING_REGISTRATION"
    with pytest.raises(Refusal, match="still being verified"):
        governed.store.get_model_version_download_uri(NAME, 1)

    assert worker(governed, Ahead()).run_tasks() > 0

    version = governed.store.get_model_version(NAME, ref.version)
    assert (version.status, version.current_stage) == ("READY", "Candidate")
    governed.agrees()


def test_tags_and_files_the_server_did_not_mirror_follow(governed: Governed) -> None:
    clock = Ahead()
    ref = unmirrored(governed, clock)

    assert worker(governed, clock).run_tasks() == 1

    assert governed.store.get_model_version(NAME, 1).tags["governance.stage"] == "Staging"
    record = governed.record(ref)
    assert record is not None
    with governed.store.governance.ports.store.read() as reading:
        assert reading.attachments(record.uid, pending_only=True) == []


def test_a_failure_is_put_off_and_tried_again(
    governed: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Ahead()
    unmirrored(governed, clock)
    with monkeypatch.context() as patch:
        patch.setattr(ServerArtifacts, "attach", _disk_full)
        assert worker(governed, clock).run_tasks() == 0
    assert worker(governed, clock).run_tasks() == 0, "not at once"

    clock.seconds += 60

    assert worker(governed, clock).run_tasks() == 1
    assert governed.store.get_model_version(NAME, 1).tags["governance.stage"] == "Staging"


def _disk_full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_living_worker_renews_its_lease(
    governed: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_LEASE_SECONDS", 0.6)
    clock = Ahead()
    unmirrored(governed, clock)
    slow, other = worker(governed, clock), worker(governed, clock)
    entered = threading.Event()

    def attach(*_: object) -> None:
        entered.set()
        time.sleep(1.5)

    monkeypatch.setattr(ServerArtifacts, "attach", attach)
    busy = threading.Thread(target=slow.run_tasks)
    busy.start()
    assert entered.wait(10)
    time.sleep(0.9)

    assert other.run_tasks() == 0
    busy.join()
    assert governed.count("governance_tasks") == 0


def test_the_task_of_a_worker_that_was_killed_is_taken_over_within_seconds(
    governed: Governed,
) -> None:
    clock = Ahead()
    unmirrored(governed, clock)
    at_work = worker(governed, clock)
    assert SqlTaskQueue(governed.store.sessions.for_us, clock).claim(
        1, worker_module._LEASE_SECONDS
    )
    assert at_work.run_tasks() == 0

    clock.seconds += 30

    assert at_work.run_tasks() == 1


def test_the_head_of_the_ledger_is_exported_once_a_size(governed: Governed) -> None:
    governed.candidate()
    anchoring = governed.store.governance.anchoring

    assert anchoring.gather() == anchoring.gather() is not None

    (exported,) = governed.store.governance.settings.checkpoint_folder.iterdir()
    assert exported.suffix == ".checkpoint"
    governed.agrees()


def test_events_that_every_receiver_has_are_forgotten_after_their_time(governed: Governed) -> None:
    governed.candidate()
    clock = Ahead()
    one = worker(governed, clock)
    OutboxQueue(governed.store.sessions.for_us, clock).enqueue_missing([GONE])
    count = sa.select(sa.func.count()).select_from(tables.deliveries)

    def kept() -> int:
        with governed.store.sessions.for_us(True) as session:
            return int(session.connection().execute(count).scalar_one())

    clock.seconds += 29 * 24 * 3600
    one._turn()
    assert kept() > 0
    clock.seconds += 2 * 24 * 3600
    one._turn()
    assert kept() > 0, "it does not look at each turn"
    worker(governed, clock)._turn()
    assert kept() == 0
