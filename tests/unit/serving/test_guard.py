from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mlflow_governance.core import digest
from mlflow_governance.serving.guard import TOKEN, Timing, guard
from tests.unit.serving.builders import HOUR, URI, World, blocked, revocations

QUICK = Timing(refresh=0.1, grace=2.0)
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"


def python(program: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", program, *arguments]


def run(world: World, command: Sequence[str], timing: Timing = QUICK) -> int:
    return guard(URI, command, world.settings, timing=timing, connections=world.connections)


def serving(world: World, extra: str = "") -> list[str]:
    """A command that writes its process id into ``started`` and then serves for a minute."""
    started = world.home / "started"
    program = (
        f"import os, sys, time, pathlib; {extra}"
        "pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"
    )
    return python(program, str(started), TOKEN)


def once_started(world: World, act: Callable[[], None]) -> threading.Thread:
    def wait() -> None:
        while not (world.home / "started").exists():
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def is_running(world: World) -> bool:
    try:
        os.kill(int((world.home / "started").read_text()), 0)
    except ProcessLookupError:
        return False
    return True


def test_the_command_runs_on_the_verified_copy_and_its_exit_code_is_returned(world: World) -> None:
    out = world.home / "seen"
    program = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.argv[2]); sys.exit(42)"

    code = run(world, python(program, str(out), f"--model={TOKEN}"))

    assert code == 42
    assert out.read_text() == f"--model={world.copy}"


def test_a_real_model_predicts_under_guard_and_the_copy_stays_whole(world: World) -> None:
    program = (
        "import sys, mlflow.pyfunc; from sklearn.datasets import load_breast_cancer as d;"
        "m = mlflow.pyfunc.load_model(sys.argv[1]);"
        "sys.exit(7 if list(m.predict(d(return_X_y=True)[0][:2])) == [0, 0] else 1)"
    )

    assert run(world, python(program, TOKEN), Timing(refresh=30)) == 7
    world.change(offline=True)
    assert run(world, python("pass", TOKEN)) == 0


def test_what_does_not_verify_is_never_started(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    (world.registry.stored / "MLmodel").write_bytes(b"other")

    assert run(world, serving(world)) == 3

    assert not (world.home / "started").exists()
    assert "file changed: MLmodel" in capfd.readouterr().err


def test_a_command_that_ignores_the_copy_is_never_started(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(world, ["touch", str(world.home / "started")]) == 2
    assert run(world, []) == 2

    assert not (world.home / "started").exists()
    assert "{model} is not in it" in capfd.readouterr().err


def test_a_program_that_is_not_there_is_said_so(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(world, ["/nonexistent/program", TOKEN]) == 127
    assert "cannot be started" in capfd.readouterr().err


def test_a_registry_that_is_away_at_the_start_starts_nothing(world: World) -> None:
    world.registry.away = True

    assert run(world, serving(world)) == 7
    assert not (world.home / "started").exists()


def test_a_revocation_ends_the_running_command(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    def revoke() -> None:
        world.registry.listed = revocations(blocked(world.digest), epoch=8)

    once_started(world, revoke)
    began = time.monotonic()

    assert run(world, serving(world)) == 3

    assert time.monotonic() - began < 30
    assert not is_running(world)
    assert "the command is stopped" in capfd.readouterr().err


def test_a_command_that_ignores_sigterm_is_killed_after_the_grace(world: World) -> None:
    def revoke() -> None:
        world.registry.listed = revocations(blocked(world.digest), epoch=8)

    once_started(world, revoke)

    assert run(world, serving(world, STUBBORN), Timing(refresh=0.1, grace=0.3)) == 3
    assert not is_running(world)


def test_an_expired_list_ends_the_running_command_and_a_silent_registry_before_does_not(
    world: World,
) -> None:
    connections = world.connections
    rounds: list[int] = []

    def clock() -> object:
        rounds.append(1)
        # Two rechecks in time while the registry is away, then the list has expired.
        return world.now if len(rounds) <= 3 else world.now + 23 * HOUR

    def leave() -> None:
        world.registry.away = True

    once_started(world, leave)
    from dataclasses import replace

    code = guard(
        URI, serving(world), world.settings, timing=Timing(refresh=0.5, grace=2),
        connections=replace(connections, clock=clock),  # type: ignore[arg-type]
    )  # fmt: skip

    assert code == 3
    assert len(rounds) >= 4
    assert not is_running(world)


def test_a_policy_that_counts_no_longer_ends_the_command(world: World) -> None:
    def change() -> None:
        world.registry.policies = frozenset({digest.of_bytes(b"a new policy")})

    once_started(world, change)

    assert run(world, serving(world)) == 3


def test_what_the_command_left_in_its_group_ends_with_it(world: World) -> None:
    # A worker forked by the command goes on after it; it must not go on unguarded.
    extra = "os.fork() and (time.sleep(0.5), os._exit(5));"

    assert run(world, serving(world, extra)) == 5
    deadline = time.monotonic() + 5
    while is_running(world) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(int((world.home / "started").read_text()))


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 130)]
)
def test_signals_are_forwarded_and_handlers_put_back(
    world: World, number: signal.Signals, expected: int
) -> None:
    # Not what it was: in the background of a shell SIGINT is ignored, and then it stays so.
    started_with = signal.signal(number, lambda *_: None)
    before = signal.getsignal(number)
    extra = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL);"
    once_started(world, lambda: os.kill(os.getpid(), number))

    try:
        assert run(world, serving(world, extra), Timing(refresh=30, grace=2)) == expected
        assert signal.getsignal(number) is before
    finally:
        signal.signal(number, started_with)


def test_outside_the_main_thread_it_works_without_signals(world: World) -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run(world, python("pass", TOKEN))))
    thread.start()
    thread.join(30)

    assert codes == [0]
