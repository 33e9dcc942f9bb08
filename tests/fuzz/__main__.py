"""``python -m tests.fuzz TARGET… --seconds N``: run fuzzers, each in a process of its own."""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

MEMORY = 512 * 1024 * 1024
"""Bytes that parsing one input may take beyond what is taken before it."""
SLOW = 1.0
"""Seconds of this process's own time that one input may take."""
_LONGEST = 64 * 1024
_AT_ONCE = 2 * (os.cpu_count() or 1)


def main(arguments: Sequence[str]) -> int:
    """The exit code: how many targets met an input they should not have broken on."""
    import atheris

    warnings.simplefilter("ignore")  # what a library says about a broken certificate is no finding
    with atheris.instrument_imports(include=["mlflow_governance"]):
        from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", nargs="*", choices=[*TARGETS, []], help="all when none is given")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the same inputs; 0: others each time"
    )
    parser.add_argument("--list", action="store_true", help="name the targets")
    parser.add_argument("--keep", type=Path, default=Path(), help="where to leave what breaks one")
    told = parser.parse_args(arguments)
    if told.list:
        print("\n".join(TARGETS))
        return 0
    names = told.target or list(TARGETS)
    running: dict[int, str] = {}
    broken = 0
    while names or running:
        while names and len(running) < _AT_ONCE:
            name = names.pop(0)
            # The fuzzer ends its process, and what it needs is imported by now: fork.
            if (child := os.fork()) == 0:
                _fuzz(name, told)
            running[child] = name
        child, status = os.wait()
        name = running.pop(child)
        broken += status != 0
        print(f"{name}: {'BROKEN' if status else 'ok'}", flush=True)
        if status:
            print(_told(told.keep / f"{name}.log"), flush=True)
    return broken


def _told(log: Path) -> str:
    """What broke, of what the fuzzer wrote."""
    text = log.read_text("utf-8", "replace")
    _, found, rest = text.partition("=== Uncaught Python exception: ===")
    return rest if found else text[-2000:]


def _fuzz(name: str, told: argparse.Namespace) -> None:
    import atheris

    from tests.fuzz.targets import TARGETS

    target = TARGETS[name]
    log = os.open(told.keep / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)

    def once(data: bytes) -> None:
        started = time.process_time()
        target.run(data)
        if (taken := time.process_time() - started) > SLOW:
            raise TimeoutError(f"{taken:.1f} s for {len(data)} bytes")

    with TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds()):
            (Path(corpus) / str(number)).write_bytes(seed)
            once(seed)  # what is made once is made before memory is counted
        limit_memory()
        options = [
            f"-max_total_time={told.seconds}",
            f"-seed={told.seed}",
            "-timeout=30",
            f"-max_len={_LONGEST}",
            "-rss_limit_mb=0",
            "-verbosity=0",
            "-print_final_stats=0",
            f"-artifact_prefix={told.keep.resolve()}/{name}-",
        ]
        atheris.Setup([name, *options, corpus], once, custom_mutator=_mutated)
        atheris.Fuzz()


def _mutated(data: bytes, longest: int, seed: int) -> bytes:
    """The fuzzer's own change of bytes, or as often one of JSON that stays JSON."""
    import atheris

    from tests.golden.mutate import json_damaged

    if seed % 2:
        with suppress(ValueError, RecursionError):
            return json_damaged(data, random.Random(seed))[:longest]
    changed: bytes = atheris.Mutate(data, longest)
    return changed


def limit_memory() -> None:
    """From here on this process gets ``MEMORY`` more and then a MemoryError."""
    status = Path("/proc/self/status").read_text("ascii")
    (held,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmData:")]
    most = int(held) * 1024 + MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
