"""The decision log of a governed store: the worker ships, the server tells of downloads."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlflow_governance.errors import ConfigurationError
from mlflow_governance.outbox.decision_log import DownloadLog
from mlflow_governance.plugin.worker import Worker
from mlflow_governance.store.decision_feed import SqlDecisionFeed
from mlflow_governance.store.outbox_queue import OutboxQueue
from mlflow_governance.store.task_queue import SqlTaskQueue
from tests.unit.plugin.builders import NAME, Governed
from tests.unit.plugin.conftest import _point_at


def configured(
    template: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, **log: Any
) -> Governed:
    _point_at(folder, monkeypatch)
    (folder / "home").mkdir()
    (folder / "home" / "config.yaml").write_text(yaml.safe_dump({"decision_log": log}))
    return Governed(folder, template)


def worker(governed: Governed) -> Worker:
    sessions = governed.store.sessions.for_us
    return Worker(
        governed.store.governance,
        SqlTaskQueue(sessions),
        OutboxQueue(sessions),
        SqlDecisionFeed(sessions),
    )


def records(governed: Governed) -> list[dict[str, Any]]:
    path = governed.folder / "home" / "logs" / "decisions.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def test_decisions_and_permitted_downloads_are_in_the_file(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    governed = configured(
        template, tmp_path, monkeypatch, file="logs/decisions.jsonl", downloads="all",
        labels={"site": "here"},
    )  # fmt: skip
    ref = governed.staging()
    governed.store.get_model_version_download_uri(NAME, ref.version)
    stop = threading.Event()
    running = threading.Thread(target=worker(governed).run, args=(stop,))
    running.start()
    end = time.monotonic() + 30
    while len(records(governed)) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    stop.set()
    running.join(30)
    governed.store.engine.dispose()

    found = records(governed)
    assert sorted(one["path"] for one in found) == [
        "registry/accept/decision", "registry/download/decision", "registry/promote/decision",
    ]  # fmt: skip
    assert {one["labels"]["site"] for one in found} == {"here"}
    assert "alice" not in json.dumps(found)
    salt = governed.folder / "home" / "keys" / "decision-log.salt"
    assert salt.stat().st_mode & 0o777 == 0o600


def test_without_the_setting_nothing_is_logged(governed: Governed) -> None:
    assert worker(governed)._decisions is None
    assert not isinstance(governed.store.governance.ports.permitted, DownloadLog)
    assert not (governed.folder / "home" / "keys" / "decision-log.salt").exists()


def test_a_log_that_cannot_be_kept_stops_the_start(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="NOWHERE"):
        configured(
            template, tmp_path, monkeypatch, url="https://logs.example", downloads="all",
            token_variable="NOWHERE",
        )  # fmt: skip
