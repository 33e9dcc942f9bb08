"""Which policy decides in a running process, and how another comes into force without a gap."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.core import digest as digests
from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.event import Act
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import (
    ConfigurationError,
    Denied,
    GovernanceError,
    Unavailable,
    VerificationError,
)
from mlflow_governance.policy import bundle as bundles
from mlflow_governance.policy.bundle import Bundle, from_files
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import EngineError
from mlflow_governance.store.tables import policies
from mlflow_governance.workflows import live_policies
from mlflow_governance.workflows.admit import admit
from mlflow_governance.workflows.judge import judge
from mlflow_governance.workflows.live_policies import Engines
from mlflow_governance.workflows.policy import PolicyChanged
from mlflow_governance.workflows.policy_change import activate
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import rejudge, transition
from mlflow_governance.workflows.record import write_denial
from tests.unit.policy.builders import shipped, with_module
from tests.unit.workflows.builders import EVE, PIA, ROOT, Clock
from tests.unit.workflows.policy_builders import LAXER, STRICTER, LivingRegistry, Shelf

LONG = os.environ.get("GOVERNANCE_LOAD") == "long"
UNREADABLE = with_module("package registry.extra\n\nbroken :=\n")
PRINTING = with_module('package registry.extra\n\nx := sprintf("%s", ["a"])\n')


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[LivingRegistry]:
    made = LivingRegistry(tmp_path)
    yield made
    made.sessions.dispose()


def test_the_first_start_takes_what_the_source_has_and_says_so(registry: LivingRegistry) -> None:
    (entry,) = registry.told("policy.changed")

    assert registry.now == shipped().digest
    assert entry["before"] == {"policy_digest": None}
    assert entry["after"] == {"policy_digest": registry.now}
    assert entry["facts"]["how"] == "first start"
    assert entry["facts"]["decision"]["allow"] is True
    with registry.ports.store.read() as reading:
        archive = reading.policy_archive(shipped().digest)
    assert archive == shipped().archive()
    assert digests.of_bytes(archive) == entry["facts"]["archive_digest"]


def test_a_new_bundle_in_the_source_comes_into_force_and_is_recorded(
    registry: LivingRegistry,
) -> None:
    registry.put(STRICTER)

    entry = registry.told("policy.changed")[-1]
    assert registry.now == STRICTER.digest
    assert entry["before"] == {"policy_digest": shipped().digest}
    assert entry["facts"]["how"] == "source"
    assert registry.live.report().note == ""
    ref = registry.accepted("churn")
    assert registry.record(ref).policy_digest == STRICTER.digest


def test_a_source_in_the_midst_of_being_written_is_left_alone(registry: LivingRegistry) -> None:
    registry.shelf.there = LAXER
    registry.look()
    assert registry.now == shipped().digest

    registry.shelf.there = STRICTER
    registry.look()
    assert registry.now == shipped().digest

    registry.look()
    assert registry.now == STRICTER.digest
    with registry.ports.store.read() as reading:
        assert reading.policy_archive(LAXER.digest) is None


def test_every_bundle_that_was_in_force_stays_readable(registry: LivingRegistry) -> None:
    registry.put(STRICTER)
    registry.put(LAXER)

    with registry.ports.store.read() as reading:
        for bundle in (shipped(), STRICTER, LAXER):
            archive = reading.policy_archive(bundle.digest)
            assert archive is not None
            assert bundles.kept_as(archive, bundle.digest) == bundle
        assert reading.policy_archive(digests.of_bytes(b"never")) is None


def test_a_bundle_that_was_in_force_before_does_not_come_back_by_itself(
    registry: LivingRegistry,
) -> None:
    registry.put(STRICTER)
    registry.put(shipped())

    assert registry.now == STRICTER.digest
    assert f"policy activate {shipped().digest}" in registry.live.report().note
    assert len(registry.told("policy.changed")) == 2


def test_two_replicas_whose_sources_differ_do_not_take_turns(tmp_path: Path) -> None:
    one = LivingRegistry(tmp_path)
    two = LivingRegistry(tmp_path)
    one.put(STRICTER)
    for _ in range(3):
        two.look(2)
        one.look(2)

    assert one.now == two.now == STRICTER.digest
    assert len(one.told("policy.changed")) == 2


def test_a_replica_follows_the_database_at_its_next_question(tmp_path: Path) -> None:
    one = LivingRegistry(tmp_path)
    two = LivingRegistry(tmp_path)
    ref = one.accepted("churn")
    one.put(STRICTER)

    judgement = judge(two.ports, Gate.DOWNLOAD, Request(EVE, ref), {"door": "registry"})

    assert judgement.decision.policy_digest == STRICTER.digest
    assert judgement.dossier.runtime["policy_digest"] == STRICTER.digest
    assert judgement.policy.bundle == STRICTER


def test_a_start_follows_the_database_and_not_an_older_source(tmp_path: Path) -> None:
    LivingRegistry(tmp_path).put(STRICTER)

    assert LivingRegistry(tmp_path).now == STRICTER.digest


def test_a_start_with_a_new_source_takes_it_at_once(tmp_path: Path) -> None:
    LivingRegistry(tmp_path)

    assert LivingRegistry(tmp_path, shelf=Shelf(STRICTER)).now == STRICTER.digest


@pytest.mark.parametrize(
    ("there", "failed"),
    [
        (UNREADABLE, "POL-001"),
        (ConfigurationError("the policy bundle is refused: it has no .manifest"), "POL-001"),
        (VerificationError("the bundle is not signed"), "POL-002"),
        (PRINTING, "POL-003"),
    ],
)
def test_a_broken_bundle_never_replaces_the_one_in_force(
    registry: LivingRegistry, there: Bundle | GovernanceError, failed: str
) -> None:
    registry.put(there)
    registry.look(3)

    denied = [e for e in registry.told("policy.changed") if not e["allowed"]]
    assert registry.now == shipped().digest
    assert len(denied) == 1
    decision = denied[0]["facts"]["decision"]
    assert [r["code"] for r in decision["reasons"]] == [failed]
    assert decision["checks"][failed] is decision["allow"] is False
    assert denied[0]["before"] == denied[0]["after"] == {"policy_digest": shipped().digest}
    assert failed in registry.live.report().note
    registry.accepted("churn")

    registry.put(STRICTER)
    assert registry.now == STRICTER.digest
    assert registry.live.report().note == ""


def test_a_second_replica_does_not_record_the_same_refusal_again(tmp_path: Path) -> None:
    one, two = LivingRegistry(tmp_path), LivingRegistry(tmp_path)
    one.put(UNREADABLE)
    two.put(UNREADABLE)

    assert len(one.told("policy.changed")) == 2


def test_a_source_that_does_not_answer_changes_and_records_nothing(
    registry: LivingRegistry,
) -> None:
    registry.put(Unavailable("nobody answers at the source"))

    assert registry.now == shipped().digest
    assert len(registry.told("policy.changed")) == 1
    assert registry.live.report().note == "nobody answers at the source"


def test_nothing_starts_without_a_policy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="POL-001"):
        LivingRegistry(tmp_path, shelf=Shelf(UNREADABLE))
    with pytest.raises(ConfigurationError, match="away"):
        LivingRegistry(tmp_path, shelf=Shelf(Unavailable("the source is away")))


def test_a_start_goes_on_with_what_is_in_force_when_the_source_is_broken(tmp_path: Path) -> None:
    LivingRegistry(tmp_path)

    again = LivingRegistry(tmp_path, shelf=Shelf(UNREADABLE))

    assert again.now == shipped().digest
    assert "POL-001" in again.live.report().note


def test_an_archive_that_is_another_bundle_decides_nothing(tmp_path: Path) -> None:
    one, two = LivingRegistry(tmp_path), LivingRegistry(tmp_path)
    ref = one.accepted("churn")
    one.put(STRICTER)
    with one.ports.store.begin() as uow:
        (other,) = uow._store([LAXER.archive()])
        uow._connection.execute(
            policies.update()
            .where(policies.c.digest == STRICTER.digest)
            .values(archive_digest=other)
        )

    with pytest.raises(VerificationError, match="holds"):
        admit(two.ports, Request(EVE, ref), "registry")


def test_of_two_processes_with_one_source_one_brings_its_bundle_into_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = LivingRegistry(tmp_path), LivingRegistry(tmp_path)
    weigh = live_policies.weigh_bundle

    def late(*arguments: Any) -> Any:
        verdict = weigh(*arguments)
        monkeypatch.setattr(live_policies, "weigh_bundle", weigh)
        one.put(STRICTER)
        two.live._follow()  # as any thread that answers somebody does
        return verdict

    monkeypatch.setattr(live_policies, "weigh_bundle", late)
    two.put(STRICTER)

    assert one.now == two.now == STRICTER.digest
    assert [e["after"]["policy_digest"] for e in two.told("policy.changed")] == [
        shipped().digest, STRICTER.digest,
    ]  # fmt: skip


def test_what_was_judged_under_another_bundle_is_not_written(registry: LivingRegistry) -> None:
    ref = registry.accepted("churn")
    judgement = judge(registry.ports, Gate.DOWNLOAD, Request(PIA, ref), {"door": "registry"})
    registry.put(STRICTER)
    before = registry.entries()

    with pytest.raises(PolicyChanged, match="another policy"):
        write_denial(registry.ports, judgement, Act.DOWNLOAD_DENIED)

    assert registry.entries() == before


def test_an_act_in_the_midst_of_a_change_is_done_again_under_the_new_policy(
    registry: LivingRegistry,
) -> None:
    ref = registry.accepted("churn")
    inner, done = registry.outcomes.examine, []

    def examine(*arguments: Any) -> Any:
        if not done:
            done.append(True)
            registry.put(STRICTER)
        return inner(*arguments)

    registry.outcomes.examine = examine  # type: ignore[method-assign]

    judgement = rejudge(registry.ports, Request(PIA, ref))

    assert judgement.decision.policy_digest == STRICTER.digest
    assert registry.record(ref).policy_digest == STRICTER.digest


def bundle_number(number: int) -> Bundle:
    """A bundle whose refusals name it."""
    files = dict(shipped().files)
    name = "registry/download/download.rego"
    marked = files[name].replace(b"is not served to {actor}", b"is not served by %d" % number)
    assert marked != files[name]
    return from_files({**files, name: marked})


def test_no_answer_is_an_error_or_a_mixture_while_policies_change(registry: LivingRegistry) -> None:
    ref = registry.accepted("churn")
    made = [bundle_number(number) for number in range(12 if LONG else 6)]
    said = {bundle.digest: f"is not served by {n}" for n, bundle in enumerate(made)}
    said[shipped().digest] = "is not served to"
    wrong: list[object] = []
    seen: set[str] = set()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                judgement = judge(
                    registry.ports, Gate.DOWNLOAD, Request(PIA, ref), {"door": "registry"}
                )
                decision = judgement.decision
                digest = decision.policy_digest
                seen.add(digest)
                told = any(said[digest] in reason.message for reason in decision.reasons)
                one = {digest, judgement.policy.bundle.digest, judgement.policy.digest}
                one.add(judgement.dossier.runtime["policy_digest"])
                if decision.error or decision.allow or not told or len(one) != 1:
                    wrong.append((decision, one))
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for bundle in made:
        registry.put(bundle)
    stop.set()
    for thread in threads:
        thread.join()

    assert not wrong
    assert len(seen) > 3
    assert registry.now == made[-1].digest


class Server:
    """A policy server: it serves one bundle, whatever anybody else believes."""

    serving = shipped()
    broken = ""


def remote(server: Server) -> Any:
    class Remote:
        name = "a server"

        def __init__(self, bundle: Bundle) -> None:
            self.policy_digest = bundle.digest
            self._inner = EmbeddedEngine(bundle)

        def evaluate(self, gate: Gate, document: bytes) -> Any:
            if server.broken:
                raise EngineError(server.broken, "it does not answer")
            if server.serving.digest != self.policy_digest:
                raise EngineError("ENG-REVISION", f"it serves {server.serving.digest}")
            return self._inner.evaluate(gate, document)

    return Remote


def test_a_bundle_comes_into_force_when_the_policy_server_serves_it(tmp_path: Path) -> None:
    server = Server()
    registry = LivingRegistry(tmp_path, engines=remote(server))
    ref = registry.accepted("churn")
    registry.put(STRICTER)
    assert registry.now == shipped().digest
    assert "does not serve" in registry.live.report().note

    server.serving = STRICTER
    registry.live._looked = float("-inf")
    judgement = judge(registry.ports, Gate.DOWNLOAD, Request(EVE, ref), {"door": "registry"})

    assert registry.now == STRICTER.digest
    assert judgement.decision.policy_digest == STRICTER.digest
    assert "ENG-REVISION" not in judgement.decision.checks


@pytest.mark.parametrize("code", ["ENG-UNREACHABLE", "ENG-HTTP-401", "ENG-HTTP-503", "ENG-ERROR"])
def test_nothing_comes_into_force_that_the_policy_server_did_not_answer_with(
    tmp_path: Path, code: str
) -> None:
    server = Server()
    registry = LivingRegistry(tmp_path, engines=remote(server))
    server.broken = code
    registry.put(STRICTER)
    assert registry.now == shipped().digest
    assert "mlflow-governance doctor" in registry.live.report().note

    server.broken, server.serving = "", STRICTER
    registry.live._looked = float("-inf")
    registry.live.refresh()
    assert registry.now == STRICTER.digest


def test_a_policy_server_with_a_foreign_bundle_is_a_denial_and_no_storm(tmp_path: Path) -> None:
    server = Server()
    registry = LivingRegistry(tmp_path, engines=remote(server))
    ref = registry.accepted("churn")
    server.serving = LAXER
    fetched = registry.shelf.fetched

    for _ in range(20):
        judgement = judge(registry.ports, Gate.DOWNLOAD, Request(EVE, ref), {"door": "registry"})
        assert judgement.decision.checks == {"ENG-REVISION": False}

    assert registry.shelf.fetched <= fetched + 3


def test_a_question_in_time_looks_aside_and_waits_for_nobody(tmp_path: Path) -> None:
    registry = LivingRegistry(tmp_path)
    ref = registry.accepted("churn")
    entered, leave = threading.Event(), threading.Event()

    def slow() -> Bundle:
        entered.set()
        leave.wait(10)
        return STRICTER

    registry.shelf.fetch = slow  # type: ignore[method-assign]
    registry.live._every = 0.0

    judge(registry.ports, Gate.DOWNLOAD, Request(EVE, ref), {"door": "registry"})
    assert entered.wait(10)
    judgement = judge(registry.ports, Gate.DOWNLOAD, Request(EVE, ref), {"door": "registry"})
    assert judgement.decision.policy_digest == shipped().digest
    leave.set()


def test_bytes_that_are_no_archive_are_no_bundle() -> None:
    for junk in (b"", b"x" * 100, b"\x1f\x8b\x08" + b"0" * 50):
        with pytest.raises(ConfigurationError):
            bundles.from_archive(junk)


def test_a_bundle_for_a_policy_server_is_parsed_here_only_after_its_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = LivingRegistry(tmp_path, engines=remote(Server()))

    def over_budget(bundle: Bundle) -> Any:
        raise ConfigurationError("it took more than 10 s")

    monkeypatch.setattr(registry.live, "_engines", Engines(over_budget, remote=True))
    monkeypatch.setattr(live_policies, "EmbeddedEngine", lambda _: pytest.fail("it was parsed"))

    with pytest.raises(ConfigurationError, match="10 s"):
        registry.live.prepare(STRICTER)


def test_the_time_of_a_replaced_policy_does_not_begin_again(registry: LivingRegistry) -> None:
    registry.put(STRICTER)
    with registry.ports.store.read() as reading:
        ((digest, at),) = reading.former_policies()
    assert digest == shipped().digest

    # What took its place comes again: that says nothing about when it was replaced.
    registry.put(LAXER)
    activate(registry.board, ROOT, STRICTER.digest, "it denied too much")

    with registry.ports.store.read() as reading:
        former = dict(reading.former_policies())
    assert former[shipped().digest] == at
    assert former.keys() == {shipped().digest, LAXER.digest}


def test_what_is_released_is_served_on_for_the_grace_and_goes_no_further_by_it(
    registry: LivingRegistry,
) -> None:
    released, waiting = registry.accepted("churn"), registry.accepted("other")
    transition(registry.ports, Request(PIA, released), Stage.STAGING)
    registry.live._grace = timedelta(days=2)
    registry.put(STRICTER)

    assert admit(registry.ports, Request(EVE, released), "registry").stage is Stage.STAGING
    with pytest.raises(Denied, match="PRO-010"):
        transition(registry.ports, Request(PIA, waiting), Stage.STAGING)

    clock = registry.ports.clock
    assert isinstance(clock, Clock)
    clock.now += timedelta(days=2)
    with pytest.raises(Denied, match="DLD-004"):
        admit(registry.ports, Request(EVE, released), "registry")


def test_without_grace_a_replaced_policy_serves_nothing(registry: LivingRegistry) -> None:
    ref = registry.accepted("churn")
    transition(registry.ports, Request(PIA, ref), Stage.STAGING)

    registry.put(STRICTER)

    with pytest.raises(Denied, match="DLD-004"):
        admit(registry.ports, Request(EVE, ref), "registry")
