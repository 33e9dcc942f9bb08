"""Permitted downloads become entries, and no download waits for one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance import config
from mlflow_governance.core import canonical
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.event import Act
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import ConfigurationError, Denied, Unavailable
from mlflow_governance.workflows import download_count
from mlflow_governance.workflows.admit import Door, admit
from mlflow_governance.workflows.download_count import DownloadCount
from mlflow_governance.workflows.download_options import DownloadEntries
from mlflow_governance.workflows.ports import Request
from tests.unit.workflows.builders import ALICE, PIA, SAM, Clock
from tests.unit.workflows.watched import Watched


@pytest.fixture
def registry(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def counting(registry: Watched, **options: Any) -> DownloadCount:
    count = DownloadCount(registry.ports.store, DownloadEntries(**options), registry.ports.clock)
    registry.ports = replace(registry.ports, permitted=count)
    return count


def download(
    registry: Watched, ref: VersionRef, actor: Actor, door: Door = "registry", times: int = 1
) -> None:
    for _ in range(times):
        admit(registry.ports, Request(actor, ref), door)


def told(registry: Watched) -> list[dict[str, Any]]:
    with registry.ports.store.read() as reading:
        found = reading.entries_of([Act.DOWNLOADS_COUNTED])
    return [canonical.decode_object(data) for _, data in found]


def test_downloads_are_summed_up_by_version_and_door(registry: Watched) -> None:
    count = counting(registry)
    churn, fraud = registry.approved("churn"), registry.approved("fraud")
    download(registry, churn, ALICE, times=3)
    download(registry, churn, PIA, times=2)
    download(registry, churn, SAM, "artifact")
    download(registry, fraud, SAM)
    assert told(registry) == []

    count.flush()
    count.flush()

    facts = {(e["subject"]["name"], e["facts"]["door"]): e["facts"] for e in told(registry)}
    assert {key: (f["count"], f["people"]) for key, f in facts.items()} == {
        ("churn", "registry"): (5, 2),
        ("churn", "artifact"): (1, 1),
        ("fraud", "registry"): (1, 1),
    }
    assert len(told(registry)) == 3
    assert facts["churn", "registry"]["first"] < facts["churn", "registry"]["last"]
    assert not any(name in str(told(registry)) for name in ("alice", "pia", "sam"))
    registry.settled()
    assert registry.findings() == []


def test_a_denial_is_never_counted_as_a_download(registry: Watched) -> None:
    count = counting(registry)
    ref = registry.accepted("churn")
    with pytest.raises(Denied):
        download(registry, ref, PIA)
    count.flush()

    assert told(registry) == []


def test_a_sample_names_its_person_by_a_commitment(registry: Watched) -> None:
    count = counting(registry, minutes=0.0, sample=1.0)
    ref = registry.approved("churn")
    download(registry, ref, PIA, times=2)
    count.flush()

    with registry.ports.store.read() as reading:
        timeline = reading.timeline(registry.record(ref).uid)
    sampled = [entry for entry in timeline if entry["act"] == Act.DOWNLOADS_COUNTED]
    assert [(e["actor"], e["facts"]["count"]) for e in sampled] == [("pia", 1)] * 2


def test_a_sample_is_about_as_large_as_was_asked(
    registry: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter([0.005, 0.011, 0.5, 0.009])
    monkeypatch.setattr(download_count.random, "random", lambda: next(drawn))
    count = counting(registry, minutes=0.0, sample=0.01)
    download(registry, registry.approved("churn"), PIA, times=4)
    count.flush()

    assert len(told(registry)) == 2


def test_what_cannot_be_written_is_written_the_next_time(registry: Watched) -> None:
    class Away:
        def begin(self) -> Any:
            raise Unavailable("the database does not answer")

    count = counting(registry)
    ref = registry.approved("churn")
    download(registry, ref, PIA, times=2)
    store = count._store
    count._store = Away()
    with pytest.raises(Unavailable):
        count.flush()
    download(registry, ref, PIA)
    count._store = store
    count.flush()

    assert sum(entry["facts"]["count"] for entry in told(registry)) == 3


def test_threads_lose_no_download(registry: Watched) -> None:
    count = counting(registry)
    ref = registry.approved("churn")
    with registry.ports.store.read():
        pass
    download(registry, ref, PIA)
    seen: list[Callable[[], None]] = []
    registry.ports = replace(
        registry.ports, permitted=lambda *what: seen.append(lambda: count(*what))
    )
    download(registry, ref, PIA)
    threads = [threading.Thread(target=lambda: [seen[0]() for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    count.flush()
    for thread in threads:
        thread.join()
    count.flush()

    assert sum(entry["facts"]["count"] for entry in told(registry)) == 2001


def test_a_period_ends_by_itself(registry: Watched) -> None:
    counting(registry, minutes=0.002)
    download(registry, registry.approved("churn"), PIA)
    over = threading.Event()
    for _ in range(300):
        if told(registry):
            break
        over.wait(0.1)

    assert [entry["facts"]["count"] for entry in told(registry)] == [1]


def test_a_process_that_ends_writes_what_it_counted(tmp_path: Path) -> None:
    program = """
import sys
from dataclasses import replace
from pathlib import Path
from mlflow_governance.config import Settings
from mlflow_governance.plugin.download_count import counting_downloads
from mlflow_governance.workflows.admit import admit
from mlflow_governance.workflows.ports import Request
from tests.unit.workflows.builders import PIA
from tests.unit.workflows.watched import Watched
registry = Watched(Path(sys.argv[1]))
registry.ports = counting_downloads(Settings(Path(sys.argv[1])), registry.ports)
admit(registry.ports, Request(PIA, registry.approved("churn")), "registry")
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, env=dict(os.environ))

    assert [entry["facts"]["count"] for entry in told(Watched(tmp_path))] == [1]


def test_counting_takes_microseconds(registry: Watched) -> None:
    count = counting(registry)
    ref = registry.approved("churn")
    seen: list[Any] = []
    registry.ports = replace(registry.ports, permitted=lambda *what: seen.append(what))
    download(registry, ref, PIA)
    clock = registry.ports.clock
    assert isinstance(clock, Clock)
    clock.now += timedelta(days=1)

    for _ in range(100_000):  # at 100 µs each it would take the ten seconds no test may take
        count(*seen[0])
    assert count._counts[registry.record(ref).uid, "registry"].count == 100_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("off", DownloadEntries(minutes=0)),
        ("'off'", DownloadEntries(minutes=0)),
        ("aggregate", DownloadEntries()),
        ("{minutes: 5}", DownloadEntries(minutes=5)),
        ("{sample: 0.01}", DownloadEntries(minutes=0, sample=0.01)),
    ],
)
def test_the_setting_is_read(tmp_path: Path, text: str, expected: DownloadEntries) -> None:
    (tmp_path / "config.yaml").write_text(f"download_entries: {text}\n")
    assert config.load(tmp_path).download_entries == expected


@pytest.mark.parametrize(
    "text",
    ["on", "none", "{minutes: 0}", "{sample: 0}", "{sample: 2}", "{minutes: true}", "[]", "0",
     "{minutes: 5, sample: 0.5}", "{every: 5}", "{minutes: .nan}", "{sample: .inf}"],
)  # fmt: skip
def test_a_setting_that_says_nothing_clear_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(f"download_entries: {text}\n")
    with pytest.raises(ConfigurationError):
        config.load(tmp_path)
