from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlflow_governance.cli.history import instant
from mlflow_governance.cli.policy import policy
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.outbox.decision_event import Recorder
from mlflow_governance.outbox.decision_log import DecisionRelay
from mlflow_governance.outbox.log_sinks import FileSink
from mlflow_governance.outbox.masking import load_salt, pseudonyms
from mlflow_governance.store.decision_feed import SqlDecisionFeed
from tests.unit.workflows.builders import InProcessRegistry


@pytest.fixture
def registry(tmp_path: Path) -> InProcessRegistry:
    found = InProcessRegistry(tmp_path / "r")
    for number in (1, 2):
        found.accepted("churn", number)
    return found


def arguments(tmp_path: Path, *more: str) -> list[str]:
    database = f"sqlite:///{tmp_path / 'r' / 'registry.db'}"
    return ["log", "--backend-store-uri", database, "--home", str(tmp_path / "home"), *more]


def run(tmp_path: Path, *more: str) -> str:
    result = CliRunner().invoke(policy, arguments(tmp_path, *more), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_recorded_decisions_are_printed_masked(registry: InProcessRegistry, tmp_path: Path) -> None:
    output = run(tmp_path)

    records = [json.loads(line) for line in output.splitlines()]
    assert [record["path"] for record in records] == ["registry/accept/decision"] * 2
    assert "alice" not in output


def test_the_command_prints_what_the_log_holds(registry: InProcessRegistry, tmp_path: Path) -> None:
    printed = [json.loads(line) for line in run(tmp_path).splitlines()]
    salt = load_salt(tmp_path / "home" / "keys" / "decision-log.salt")
    file = tmp_path / "log.jsonl"
    recorder = Recorder(printed[0]["labels"], pseudonyms(salt))
    feed = SqlDecisionFeed(registry.sessions)
    DecisionRelay(feed, [FileSink(file, 1 << 20, 1)], recorder).run_once()

    assert [json.loads(line) for line in file.read_bytes().splitlines()] == printed
    assert run(tmp_path, "--status") == "decision-log/file: 0 waiting, 0 dropped\n"


def test_since_leaves_out_what_was_decided_before(
    registry: InProcessRegistry, tmp_path: Path
) -> None:
    instants = [json.loads(line)["timestamp"] for line in run(tmp_path).splitlines()]

    assert len(run(tmp_path, "--since", instants[1]).splitlines()) == 1
    assert len(run(tmp_path, "--since", instants[0]).splitlines()) == 2
    assert run(tmp_path, "--since", "2999-01-01T00:00:00Z") == ""


def test_nothing_shipped_is_said(registry: InProcessRegistry, tmp_path: Path) -> None:
    assert "no decision was ever shipped" in run(tmp_path, "--status")


@pytest.mark.parametrize("text", ["yesterday", "", "5", "5y", "999999d", "2026-01-01T00:00:00"])
def test_an_instant_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        instant(text, datetime.now(UTC))


def test_since_is_read_as_by_the_other_commands(
    registry: InProcessRegistry, tmp_path: Path
) -> None:
    decided = datetime.fromisoformat(json.loads(run(tmp_path).splitlines()[0])["timestamp"])
    days = (datetime.now(UTC) - decided).days + 2
    for text in (f"{days}w", f"{days}d", f"{days * 24}h", "2026-01-01"):
        assert len(run(tmp_path, "--since", text).splitlines()) == 2
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert instant("30m", now) == now - timedelta(minutes=30)


def test_following_goes_on_with_what_is_decided_next(
    registry: InProcessRegistry, tmp_path: Path
) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "mlflow_governance.cli.main", "policy"]
    with subprocess.Popen(
        [*command, *arguments(tmp_path, "--follow")], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        lines: list[bytes] = []
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, b"")))  # type: ignore[union-attr]
        reader.start()
        registry.accepted("churn", 3)
        end = time.monotonic() + 60
        while len(lines) < 3 and time.monotonic() < end:
            time.sleep(0.1)
        process.terminate()
        reader.join(10)
    assert [json.loads(line)["input"]["subject"]["version"] for line in lines] == [1, 2, 3]
