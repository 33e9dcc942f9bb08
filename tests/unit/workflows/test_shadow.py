"""A shadow bundle sees every judgement, keeps what differs, and is felt by nobody."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mlflow_governance import config
from mlflow_governance.bootstrap import watched
from mlflow_governance.cli.main import cli
from mlflow_governance.core.dossier import Dossier, Gate
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import ConfigurationError, NotFound, Unavailable
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import EngineError
from mlflow_governance.policy.replay import Verdict
from mlflow_governance.store.differences import SqlDifferences
from mlflow_governance.workflows import shadow as module
from mlflow_governance.workflows.admit import admit, permits
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import transition
from mlflow_governance.workflows.shadow import Counts, Difference, Shadow
from tests.unit.policy.builders import NOW, configured, dossier, shipped
from tests.unit.workflows.builders import ALICE, NOBODY, InProcessRegistry
from tests.unit.workflows.past import Past, many

LIVE = EmbeddedEngine(shipped())
STRICT = configured(deployable_stages=["Approved"])
ENGINE = EmbeddedEngine(STRICT)


def staging(name: str = "churn", **changes: Any) -> Dossier:
    """A download that the live bundle permits and the strict one does not."""
    subject = replace(
        dossier(Gate.DOWNLOAD).subject, ref=VersionRef(name, 1), uid=name, stage=Stage.STAGING
    )
    return dossier(Gate.DOWNLOAD, subject=subject, **changes)


@dataclass
class Memory:
    """Notes in memory; ``away`` as long as the database is."""

    away: bool = False
    counts: list[Counts] = field(default_factory=list)
    found: dict[str, Difference] = field(default_factory=dict)

    def add(self, shadow: Any, counts: Counts, found: Any, at: Any) -> None:
        if self.away:
            raise Unavailable("the database does not answer")
        self.counts.append(counts)
        for difference, data in found:
            assert Dossier.from_encoded(data).digest == difference.dossier
            known = self.found.get(difference.key)
            self.found[difference.key] = known.joined(difference) if known else difference

    @property
    def total(self) -> Counts:
        rows = [(c.asked, c.dropped, c.failed) for c in self.counts]
        return Counts(*(sum(column) for column in zip(*rows, strict=True))) if rows else Counts()


class Waiting:
    """An engine that answers when it is let."""

    def __init__(self, bundle: Bundle) -> None:
        self._inner, self.let = EmbeddedEngine(bundle), threading.Event()
        self.name, self.policy_digest = self._inner.name, bundle.digest

    def evaluate(self, gate: Gate, document: bytes) -> Any:
        self.let.wait(30)
        return self._inner.evaluate(gate, document)


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    opened = Past(tmp_path)
    yield opened
    opened.close()


def show(shadow: Shadow, *dossiers: Dossier) -> None:
    for made in dossiers:
        shadow.watch(made, decide(LIVE, made))


def test_only_differences_are_kept(memory: Memory) -> None:
    shadow = Shadow(ENGINE, memory)
    show(shadow, staging(), dossier(Gate.DOWNLOAD), dossier(Gate.ALIAS))
    shadow.stop()

    assert memory.total == Counts(asked=3)
    (found,) = memory.found.values()
    assert (found.model, found.gate) == ("churn", Gate.DOWNLOAD)
    assert (found.live, found.shadow) == (shipped().digest, STRICT.digest)
    assert found.before == Verdict(True, frozenset())
    assert found.after.allow is False
    assert found.dossier == staging().digest


def test_it_finds_what_deciding_both_finds(memory: Memory) -> None:
    dossiers = list(many(150))
    shadow = Shadow(ENGINE, memory)
    show(shadow, *dossiers)
    shadow.stop(30)

    both = [(Verdict.of(decide(LIVE, d)), Verdict.of(decide(ENGINE, d))) for d in dossiers]
    assert memory.total.asked == len(dossiers)
    assert sum(d.count for d in memory.found.values()) == sum(a != b for a, b in both)


def test_a_hot_path_fills_nothing(past: Past) -> None:
    shadow = Shadow(ENGINE, SqlDifferences(past.database.sessions), every=0.05)
    for number in range(60):
        show(shadow, staging(now=NOW + timedelta(seconds=number)))
        if number == 30:
            time.sleep(0.2)  # in several writings
    shadow.stop()

    assert past.database.count("governance_policy_differences") == 1
    assert past.database.count("governance_blobs") == 1
    kept = SqlDifferences(past.database.sessions)
    (found,) = kept.of(STRICT.digest)
    assert isinstance(found, Difference)
    assert found.count == 60
    assert found.last_at - found.first_at == timedelta(seconds=59)
    (asked,) = kept.watched()
    assert asked.counts == Counts(asked=60)


def test_a_full_queue_is_counted_and_never_waited_for(memory: Memory) -> None:
    engine = Waiting(STRICT)
    shadow = Shadow(engine, memory, size=5)
    made = staging()
    decision = decide(LIVE, made)
    started = time.perf_counter()
    for _ in range(2000):
        shadow.watch(made, decision)
    waited = time.perf_counter() - started
    engine.let.set()
    shadow.stop()

    assert waited < 1.0  # with an engine that answers nothing
    total = memory.total
    assert total.asked + total.dropped == 2000
    assert 5 <= total.asked <= 6


def test_watching_adds_microseconds() -> None:
    engine, made = Waiting(STRICT), staging()
    shadow = Shadow(engine, Memory(), size=500)
    decision = decide(LIVE, made)
    shadow.watch(made, decision)  # starts the thread
    times = []
    for _ in range(400):
        started = time.perf_counter()
        shadow.watch(made, decision)
        times.append(time.perf_counter() - started)
    engine.let.set()
    shadow.stop(20)

    assert sorted(times)[len(times) // 2] < 0.0001


def test_the_live_bundle_is_not_its_own_shadow(memory: Memory) -> None:
    shadow = Shadow(LIVE, memory)
    show(shadow, staging())
    shadow.stop()

    assert memory.counts == []


@pytest.mark.parametrize("error", [EngineError("ENG-ERROR", "broke"), ValueError("broke")])
def test_a_bundle_that_breaks_is_a_difference_and_nothing_else(
    memory: Memory, error: Exception
) -> None:
    class Broken(Waiting):
        def evaluate(self, gate: Gate, document: bytes) -> Any:
            raise error

    shadow = Shadow(Broken(STRICT), memory)
    show(shadow, staging())
    shadow.stop()

    (found,) = memory.found.values()
    assert found.after == Verdict(False, frozenset({"ENG-ERROR"}))


def test_watching_never_raises(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shadow = Shadow(ENGINE, memory)
    shadow.watch(None, None)  # type: ignore[arg-type]

    def breaks(*_: object) -> Any:
        raise RuntimeError("no more threads")

    monkeypatch.setattr(module._Asking, "start", breaks)
    show(shadow, staging())
    monkeypatch.undo()
    assert "could not be watched" in caplog.text
    shadow.stop()


def test_what_cannot_be_compared_is_counted(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(*_: object) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(module, "replay", breaks)
    shadow = Shadow(ENGINE, memory)
    show(shadow, staging())
    shadow.stop()

    assert memory.total == Counts(failed=1)
    assert "could not be compared" in caplog.text


def test_nothing_is_lost_while_the_database_is_away(memory: Memory) -> None:
    memory.away = True
    shadow = Shadow(ENGINE, memory, every=0.02)
    show(shadow, staging())
    time.sleep(0.2)
    memory.away = False
    show(shadow, staging())
    shadow.stop()

    (found,) = memory.found.values()
    assert found.count == 2
    assert memory.total == Counts(asked=2)


def test_stopping_ends_the_thread_and_later_judgements_are_left_alone(memory: Memory) -> None:
    shadow = Shadow(ENGINE, memory)
    show(shadow, staging())
    shadow.stop()
    show(shadow, staging())
    shadow.stop()

    assert memory.total == Counts(asked=1)
    assert shadow._asking is not None
    assert not shadow._asking._thread.is_alive()


def test_a_forked_process_has_a_thread_of_its_own(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow = Shadow(ENGINE, memory)
    show(shadow, staging())
    parent = shadow._asking
    monkeypatch.setattr(module.os, "getpid", lambda: -1)
    show(shadow, staging("fraud"))
    shadow.stop()
    assert shadow._asking is not parent
    assert parent is not None
    parent.stop(5)

    assert {found.model for found in memory.found.values()} == {"churn", "fraud"}


def test_several_processes_add_up(past: Past) -> None:
    notes = SqlDifferences(past.database.sessions)
    made = staging()

    def work(_: int) -> None:
        shadow = Shadow(EmbeddedEngine(STRICT), notes, every=0.01)
        for _ in range(20):
            show(shadow, made)
        shadow.stop(20)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))

    (found,) = notes.of(STRICT.digest)
    assert isinstance(found, Difference)
    assert found.count == 80
    assert notes.watched()[0].counts == Counts(asked=80)


@pytest.fixture
def registry(tmp_path: Path) -> InProcessRegistry:
    """A version at Staging."""
    registry = InProcessRegistry(tmp_path)
    ref = registry.accepted("churn")
    transition(registry.ports, Request(ALICE, ref), Stage.STAGING)
    return registry


def test_a_permitted_download_is_seen(registry: InProcessRegistry) -> None:
    notes = SqlDifferences(registry.sessions)
    shadow = Shadow(ENGINE, notes)
    ports = replace(registry.ports, watch=shadow.watch)
    before = registry.entries()

    admit(ports, Request(NOBODY, VersionRef("churn", 1)), "registry")
    assert permits(ports, Request(NOBODY, VersionRef("churn", 1)), "artifact")
    shadow.stop()

    assert registry.entries() == before  # the ledger says nothing of it
    (found,) = notes.of(STRICT.digest)
    assert isinstance(found, Difference)
    assert (found.model, found.count, found.after.allow) == ("churn", 2, False)


def told(url: str, *arguments: str) -> Result:
    command = ["policy", "differences", "--backend-store-uri", url, *arguments]
    return CliRunner().invoke(cli, command)


def test_the_command_groups_what_differs(past: Past) -> None:
    shadow = Shadow(ENGINE, SqlDifferences(past.database.sessions))
    show(shadow, staging(), staging(), staging("fraud"), dossier(Gate.ALIAS))
    shadow.stop()

    text = told(past.url).stdout
    assert "4 judgements from 2" in text
    assert STRICT.digest in text
    assert "newly denied" in text
    assert "churn 2, fraud 1" in text
    (document,) = json.loads(told(past.url, "--format", "json").stdout)["shadows"]
    assert (document["asked"], document["same"], document["newly_denied"]) == (4, 1, 3)
    assert sum(g["decisions"] for g in document["groups"]) == 3
    assert told(past.url, "--bundle", STRICT.digest).exit_code == 0
    assert isinstance(told(past.url, "--bundle", shipped().digest).exception, NotFound)


def test_a_shadow_that_was_never_asked_is_told(past: Past) -> None:
    error = told(past.url).exception

    assert isinstance(error, NotFound)
    assert "shadow_policies" in error.advice


@pytest.mark.parametrize(
    "change",
    [
        "version_uid = 'other'", "gate = 'alias'", "gate = 'nothing'", "verdicts = '{}'",
        "verdicts = 'x'", "live = 'sha256:x'",
    ],
)  # fmt: skip
def test_a_changed_row_is_named(past: Past, change: str) -> None:
    shadow = Shadow(ENGINE, SqlDifferences(past.database.sessions))
    show(shadow, staging())
    shadow.stop()
    past.database.run(f"UPDATE governance_policy_differences SET {change}")

    result = told(past.url)

    assert result.exit_code == 3
    assert "INTEGRITY ALARM" in result.stdout


def test_the_setting_names_the_bundle(tmp_path: Path, registry: InProcessRegistry) -> None:
    for name, data in STRICT.files.items():
        (tmp_path / "next" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "next" / name).write_bytes(data)
    (tmp_path / "config.yaml").write_text("shadow_policies: next\n")
    settings = config.load(tmp_path)
    notes = SqlDifferences(registry.sessions)

    ports = watched(settings, registry.ports, notes)
    assert ports.watch is not None
    ports.watch(staging(), decide(LIVE, staging()))
    ports.watch.__self__.stop()  # type: ignore[attr-defined]

    assert [w.shadow for w in notes.watched()] == [STRICT.digest]
    assert watched(config.load(tmp_path / "none"), registry.ports, notes) is registry.ports


def test_a_shadow_bundle_that_is_none_is_refused_at_the_start(
    tmp_path: Path, registry: InProcessRegistry
) -> None:
    (tmp_path / "config.yaml").write_text("shadow_policies: nowhere\n")

    with pytest.raises(ConfigurationError, match=r"shadow_policies: .*nowhere"):
        watched(config.load(tmp_path), registry.ports, SqlDifferences(registry.sessions))


def test_a_shadow_bundle_that_is_slow_about_one_model_stops_no_other_thread(
    tmp_path: Path, registry: InProcessRegistry
) -> None:
    gate = "registry/download/download.rego"
    pairs = "some x in numbers.range(1, 4000); some y in numbers.range(1, 4000); x + y < 0"
    slow = f'\n\nallow if {{\n\tinput.subject.name == "slow"\n\tcount([1 | {pairs}]) > 0\n}}\n'
    for name, data in STRICT.files.items():
        (tmp_path / "next" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "next" / name).write_bytes(data + slow.encode() if name == gate else data)
    (tmp_path / "config.yaml").write_text(
        "shadow_policies: next\npolicy_budget: {seconds: 1, megabytes: 512, load_seconds: 30}\n"
    )
    notes = SqlDifferences(registry.sessions)
    ports = watched(config.load(tmp_path), registry.ports, notes)
    assert ports.watch is not None
    question = staging("slow")
    decision = decide(LIVE, question)

    ports.watch(question, decision)
    longest, before = 0.0, time.monotonic()
    while time.monotonic() - before < 2:
        begun = time.monotonic()
        time.sleep(0.005)
        longest = max(longest, time.monotonic() - begun)
    ports.watch.__self__.stop()  # type: ignore[attr-defined]

    assert longest < 0.8
    (told,) = notes.of(notes.watched()[0].shadow)
    assert isinstance(told, Difference)
    assert told.after.codes == {"ENG-TIMEOUT"}


def test_a_shadow_bundle_with_a_misspelt_setting_is_refused_at_the_start(
    tmp_path: Path, registry: InProcessRegistry
) -> None:
    (tmp_path / "next.tar.gz").write_bytes(configured(blocking_cvs=7.0).archive())
    (tmp_path / "config.yaml").write_text("shadow_policies: next.tar.gz\n")

    with pytest.raises(ConfigurationError, match=r"shadow_policies: [\s\S]*blocking_cvss"):
        watched(config.load(tmp_path), registry.ports, SqlDifferences(registry.sessions))
