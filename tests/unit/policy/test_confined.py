from __future__ import annotations

import gc
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mlflow_governance.core.dossier import Dossier, Gate
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy import process as process_module
from mlflow_governance.policy.confined import ConfinedEngine
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import MAX_DOSSIER_BYTES, EngineError
from mlflow_governance.policy.process import Budget
from mlflow_governance.policy.samples import mutated, starts
from tests.unit.policy.builders import dossier, shipped, with_module
from tests.unit.policy.hostile import HUGE, SLOW, WORDY, alias, nested

ENDLESS = SLOW.replace("3000", "30000")
"""Nine hundred million pairs: minutes."""


def boom() -> Dossier:
    case = dossier(Gate.ALIAS)
    from dataclasses import replace

    return replace(case, subject=replace(case.subject, ref=VersionRef("boom", 3)))


def codes(engine: ConfinedEngine, case: Dossier) -> list[str]:
    return [reason.code for reason in decide(engine, case).reasons]


@pytest.fixture(scope="module")
def engine() -> Iterator[ConfinedEngine]:
    made = ConfinedEngine(shipped(), Budget(seconds=20))  # a busy machine is no failure
    yield made
    made.close()


def children(engine: ConfinedEngine) -> list[int]:
    return [process._process.pid for process in engine._pool._all]


def test_it_says_that_it_is_confined(engine: ConfinedEngine) -> None:
    assert engine.name.startswith("regorus 0.13")
    assert engine.name.endswith("(confined)")
    assert engine.policy_digest == shipped().digest


def test_it_answers_as_the_embedded_engine_does(engine: ConfinedEngine) -> None:
    embedded, source, begins = EmbeddedEngine(shipped()), random.Random(20261121), starts()
    for number in range(400):
        value = begins[number % len(begins)]
        value = mutated(source, value) if number >= len(begins) else value
        document = json.dumps(value).encode()
        gate = Gate(begins[number % len(begins)]["gate"])
        answers = []
        for one in (embedded, engine):
            try:
                answers.append(one.evaluate(gate, document))
            except EngineError as error:
                answers.append((error.reason_code, error.message))
        assert answers[0] == answers[1]


def test_a_slow_rule_is_a_denial_in_time_while_others_are_decided() -> None:
    engine = ConfinedEngine(alias(ENDLESS), Budget(seconds=2), processes=2)
    good, bad = dossier(Gate.DOWNLOAD), boom()
    decide(engine, good)
    over, took = threading.Event(), [0.0]

    def overrun() -> list[str]:
        started = time.monotonic()
        found = codes(engine, bad)
        took[0] = time.monotonic() - started
        over.set()
        return found

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(overrun)
        allowed = 0
        while not over.is_set():
            assert decide(engine, good).allow
            allowed += 1
        assert slow.result() == ["ENG-TIMEOUT"]

    assert took[0] < 5
    assert allowed > 10
    assert decide(engine, good).allow
    engine.close()


def test_a_rule_that_takes_too_much_memory_is_a_denial() -> None:
    engine = ConfinedEngine(alias(HUGE), Budget(seconds=30, megabytes=128), processes=1)

    assert codes(engine, boom()) == ["ENG-MEMORY"]
    assert decide(engine, dossier(Gate.DOWNLOAD)).allow
    engine.close()


def test_an_answer_too_large_is_not_read() -> None:
    engine = ConfinedEngine(alias(WORDY), Budget(seconds=20), processes=1)

    assert codes(engine, boom()) == ["ENG-SHAPE"]
    assert decide(engine, dossier(Gate.DOWNLOAD)).allow
    engine.close()


def test_a_dossier_too_large_is_put_to_nobody(engine: ConfinedEngine) -> None:
    with pytest.raises(EngineError) as error:
        engine.evaluate(Gate.ALIAS, b'{"a":"' + b"x" * MAX_DOSSIER_BYTES + b'"}')
    assert error.value.reason_code == "ENG-SIZE"


def test_four_mebibytes_are_read_and_answered(engine: ConfinedEngine) -> None:
    document = b'{"a":"' + b"x" * (MAX_DOSSIER_BYTES - 8) + b'"}'

    assert engine.evaluate(Gate.ALIAS, document)["allow"] is False


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"a": NaN}', b"[" * 100_000, b"\n\n", b"5"])
def test_foreign_bytes_are_denied_and_the_next_dossier_is_judged(
    engine: ConfinedEngine, data: bytes
) -> None:
    for gate in Gate:
        try:
            answer = engine.evaluate(gate, data)
        except EngineError as error:
            answer = {"allow": error.reason_code not in ("ENG-ERROR", "ENG-UNDEFINED")}
        assert answer["allow"] is False
    assert engine.evaluate(Gate.ACCEPT, dossier(Gate.ACCEPT).encoded)["allow"] is True


def test_a_process_killed_while_idle_is_replaced_unnoticed() -> None:
    engine = ConfinedEngine(shipped(), Budget(seconds=20), processes=2)
    for _ in range(3):
        for pid in children(engine):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
        assert decide(engine, dossier(Gate.DOWNLOAD)).allow
    engine.close()


def test_a_process_killed_over_an_answer_is_a_denial_and_the_next_is_judged() -> None:
    engine = ConfinedEngine(alias(ENDLESS), Budget(seconds=20), processes=1)
    (pid,) = children(engine)
    timer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    timer.start()

    decision = decide(engine, boom())
    timer.join()

    assert [reason.code for reason in decision.reasons] == ["ENG-ERROR"]
    assert decide(engine, dossier(Gate.DOWNLOAD)).allow
    engine.close()


def test_a_process_that_is_stopped_runs_into_the_deadline() -> None:
    engine = ConfinedEngine(shipped(), Budget(seconds=2), processes=1)
    (pid,) = children(engine)
    os.kill(pid, signal.SIGSTOP)

    # Larger than a pipe: writing it must not wait for ever either.
    with pytest.raises(EngineError) as error:
        engine.evaluate(Gate.ALIAS, b'{"a":"' + b"x" * 1_000_000 + b'"}')

    assert error.value.reason_code == "ENG-TIMEOUT"
    assert decide(engine, dossier(Gate.DOWNLOAD)).allow
    engine.close()


def test_eight_threads_get_their_own_right_answers(engine: ConfinedEngine) -> None:
    changes: list[dict[str, Any]] = [{}, {"evidence": {}, "approvals": (), "action": {}}]
    cases = [(g, dossier(g, **change), not change) for g in Gate for change in changes]
    for _, case, _ in cases:
        _ = case.encoded
    start = threading.Barrier(8)

    def run(offset: int) -> int:
        start.wait()
        right = 0
        for step in range(250):
            gate, case, expected = cases[(step + offset) % len(cases)]
            decision = decide(engine, case)
            right += decision.allow is expected and decision.gate is gate
        return right

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(run, range(8))) == 2000
    assert len(children(engine)) <= 4


def test_processes_killed_at_random_never_give_a_wrong_answer() -> None:
    engine = ConfinedEngine(shipped(), processes=3)
    good, bare = dossier(Gate.PROMOTE), dossier(Gate.PROMOTE, evidence={}, approvals=())
    stop = threading.Event()

    def kill() -> None:
        source = random.Random(5)
        while not stop.wait(0.15):
            for pid in source.sample(children(engine)[:3], k=min(1, len(children(engine)))):
                os.kill(pid, signal.SIGKILL)

    def run(_: int) -> tuple[int, int]:
        allowed = wrong = 0
        for _ in range(40):
            allowed += decide(engine, good).allow
            wrong += decide(engine, bare).allow
        return allowed, wrong

    killer = threading.Thread(target=kill)
    killer.start()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(run, range(4)))
    stop.set()
    killer.join()

    assert sum(wrong for _, wrong in found) == 0
    assert sum(allowed for allowed, _ in found) > 0
    assert decide(engine, good).allow
    engine.close()


def test_too_many_waiting_decisions_time_out() -> None:
    engine = ConfinedEngine(alias(ENDLESS), Budget(seconds=0.5), processes=1)
    with ThreadPoolExecutor(3) as pool:
        decisions = list(pool.map(lambda case: decide(engine, case), [boom()] * 3))
    engine.close()

    (reasons,) = zip(*(decision.reasons for decision in decisions), strict=True)
    assert {reason.code for reason in reasons} == {"ENG-TIMEOUT"}
    assert any("too many decisions wait" in reason.message for reason in reasons)


def test_the_budget_holds_the_wait_too(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ConfinedEngine(alias(ENDLESS), Budget(seconds=0.6), processes=1)
    started, left = threading.Event(), []
    real = process_module.PolicyProcess.ask

    def ask(self: Any, rule: str, document: bytes, until: float) -> object:
        left.append(until - time.monotonic())
        started.set()
        return real(self, rule, document, until)

    monkeypatch.setattr(process_module.PolicyProcess, "ask", ask)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(codes, engine, boom())
        assert started.wait(20)
        time.sleep(0.3)
        second = pool.submit(codes, engine, boom())  # its process is started anew, after 0.3 s
        assert first.result() == second.result() == ["ENG-TIMEOUT"]
    engine.close()

    assert len(left) == 2
    assert left[1] < 0.5


def test_an_interrupted_question_spoils_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ConfinedEngine(shipped(), processes=1)
    real = process_module.PolicyProcess._read

    def interrupted(self: Any, source: int) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(process_module.PolicyProcess, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.evaluate(Gate.DOWNLOAD, dossier(Gate.DOWNLOAD).encoded)
    monkeypatch.setattr(process_module.PolicyProcess, "_read", real)

    assert engine.evaluate(Gate.ALIAS, dossier(Gate.ALIAS).encoded)["gate"] == "alias"
    engine.close()


def test_a_fork_has_processes_of_its_own(engine: ConfinedEngine) -> None:
    decide(engine, dossier(Gate.DOWNLOAD))
    before = set(children(engine))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            allowed = decide(engine, dossier(Gate.DOWNLOAD)).allow
            mine = set(children(engine))
            engine.close()
            os.write(writer, b"ok" if allowed and mine and not mine & before else b"no")
        finally:
            os._exit(0)
    os.close(writer)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reader, 9) == b"ok"
    os.close(reader)
    assert decide(engine, dossier(Gate.DOWNLOAD)).allow
    assert before <= set(children(engine))


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def gone(pids: list[int]) -> bool:
    end = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, pids))


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc here")


@needs_proc
def test_nothing_outlives_an_engine_nobody_holds() -> None:
    engine = ConfinedEngine(shipped())
    pids = children(engine)
    del engine
    gc.collect()

    assert gone(pids)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)  # no zombie either


@needs_proc
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_its_server_not_even_a_rule_without_end(how: signal.Signals) -> None:
    program = (
        "import sys, threading\n"
        "from tests.unit.policy.hostile import *\n"
        "from tests.unit.policy.test_confined import *\n"
        "e = ConfinedEngine(alias(ENDLESS), Budget(seconds=1.5))\n"
        "threading.Thread(target=decide, args=(e, boom()), daemon=True).start()\n"
        "time.sleep(0.2); decide(e, dossier(Gate.DOWNLOAD))\n"
        "print(*children(e), flush=True)\n"
        "import os, time; time.sleep(0.3); os.kill(os.getpid(), int(sys.argv[1])); time.sleep(9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(int(how))], capture_output=True, text=True, timeout=60
    )
    pids = [int(word) for word in done.stdout.split()]

    assert len(pids) == 2, done.stderr
    assert gone(pids)


@pytest.mark.parametrize(
    ("bundle", "said"),
    [
        (nested(5000), "registry/deep/deep.rego"),
        (with_module("package registry.x\n\na if {\n"), "do not compile"),
        (alias("package registry.alias\n\ndecision := {`allow`: true}\n"), "does not deny"),
    ],
)
def test_a_bundle_that_cannot_be_used_is_refused_at_the_start(bundle: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        ConfinedEngine(bundle, Budget(load_seconds=2))


@pytest.mark.parametrize(
    "bounds",
    [{"seconds": 0}, {"seconds": 61}, {"seconds": True}, {"seconds": "2"}, {"megabytes": 64},
     {"megabytes": 1.5}, {"load_seconds": -1}, {"seconds": float("nan")}],
)  # fmt: skip
def test_a_budget_nothing_could_be_decided_within_is_refused(bounds: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Budget(**bounds)


def test_the_process_knows_none_of_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.path.isdir("/proc/self"):
        pytest.skip("no /proc here")
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    engine = ConfinedEngine(shipped(), processes=1)
    (pid,) = children(engine)
    with open(f"/proc/{pid}/environ", "rb") as file:
        assert b"s3cret" not in file.read()
    assert len(os.listdir(f"/proc/{pid}/fd")) <= 5
    engine.close()
