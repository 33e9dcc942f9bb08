"""From files to a manifest, beside what OpenSSL itself reaches on this machine at this moment.

Files are in the page cache: the limit is the processor, not the disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.measure import Samples, Scale, alternate
from benchmarks.report import Row, Spread
from mlflow_governance.evidence.hashing import hash_directory

_MIB = 1024 * 1024
_SMALL_FILES, _SMALL_SIZE = 1000, 20_000
_PROCESSES = {1: "1 process", 2: "2 processes"}
_OF_LIMIT = 0.9
_OF_FLOOR = 1.5
"""Small files: opening and reading a thousand may cost half as much again as hashing them."""


def run(folder: Path, scale: Scale) -> Iterator[Row]:
    """One large file, eight shards, a thousand small files; each beside ``model_signing``."""
    one_size, size = (scale.pick(count, 128) * _MIB for count in (1024, 4096))
    rounds = scale.pick(7, 3)
    one = _write(folder / "one", 1, one_size)
    yield _large("hash 1 file", one, one_size, 1, rounds)
    yield _beside_stock("hash 1 file", one, one_size, rounds)
    shutil.rmtree(one)
    shards = _write(folder / "shards", 8, size // 8)
    yield _large("hash 8 shards, 2 threads", shards, size, 2, rounds)
    yield _beside_stock("hash 8 shards, 2 threads", shards, size, rounds)
    shutil.rmtree(shards)
    small = _write(folder / "small", _SMALL_FILES, _SMALL_SIZE)
    yield _small(small, scale.pick(100, 30))
    yield _beside_stock(f"hash {_SMALL_FILES:,} files", small, _SMALL_FILES * _SMALL_SIZE, rounds)


def _large(what: str, path: Path, size: int, threads: int, rounds: int) -> Row:
    what = f"{what}, {size // _MIB} MiB (limit: openssl, {_PROCESSES[threads]})"
    if not shutil.which("openssl"):
        return Row.absent(what, "no openssl on PATH")
    limits, ours = [], []
    hash_all = partial(hash_directory, path, threads=threads, private=True)
    hash_all()
    for _ in range(rounds):
        before = _openssl_speed(threads)
        started = time.perf_counter()
        hash_all()
        ours.append(time.perf_counter() - started)
        # The machine may have been disturbed during either; the better of two is the limit.
        limits.append(size / max(before, _openssl_speed(threads)))
    mine, limit = Samples(tuple(ours)), Samples(tuple(limits))
    ratio = mine.speed_beside(limit)
    aim, met = (f"≥ {_OF_LIMIT:.2f}x", ratio >= _OF_LIMIT) if threads > 1 else ("", None)
    amount = size / 1e9
    ours_rate, limit_rate = Spread.rate(mine, amount), Spread.rate(limit, amount)
    return Row(what, "GB/s", ours_rate, limit_rate, f"{ratio:.2f}x", aim, met)


def _beside_stock(what: str, path: Path, size: int, rounds: int) -> Row:
    """The same files by the stock library of OpenSSF Model Signing."""
    what = f"{what}, {size // _MIB} MiB (beside: model_signing)"
    try:
        from model_signing import hashing
    except ImportError as error:
        return Row.absent(what, f"no model_signing: {error}")
    found = alternate(
        rounds,
        ours=lambda: hash_directory(path, private=True),
        stock=lambda: hashing.Config().hash(path),
    )
    ours, stock = found["ours"], found["stock"]
    amount = size / 1e9
    return Row(
        what, "GB/s", Spread.rate(ours, amount), Spread.rate(stock, amount),
        f"{ours.speed_beside(stock):.2f}x", "", None,
    )  # fmt: skip


def _openssl_speed(processes: int) -> float:
    """Bytes a second by the wall clock, over all processes."""
    several = ["-multi", str(processes)] if processes > 1 else []
    command = ["openssl", "speed", "-mr", "-elapsed", "-seconds", "1", "-bytes", "16384"]
    answer = subprocess.run(
        [*command, *several, "-evp", "sha256"], capture_output=True, text=True, check=True
    )
    return parse_speed(answer.stdout)


def parse_speed(output: str) -> float:
    """Bytes a second in the output of ``openssl speed -mr``: its last ``+F`` line.

    Raises:
        ValueError: there is none.
    """
    lines = [line for line in output.splitlines() if line.startswith("+F:")]
    if not lines:
        raise ValueError("openssl speed printed no figure")
    return float(lines[-1].rpartition(":")[2])


def _small(path: Path, rounds: int) -> Row:
    contents = [file.read_bytes() for file in sorted(path.iterdir())]

    def in_memory() -> None:
        for content in contents:
            hashlib.sha256(content).digest()

    found = alternate(rounds, ours=lambda: hash_directory(path, private=True), limit=in_memory)
    ours, limit = found["ours"], found["limit"]
    cost = 1 / ours.speed_beside(limit)
    return Row(
        f"hash {_SMALL_FILES:,} files of {_SMALL_SIZE // 1000} kB (limit: in memory, 1 core)",
        "ms",
        Spread.milliseconds(ours),
        Spread.milliseconds(limit),
        f"{cost:.2f}x",
        f"≤ {_OF_FLOOR:.2f}x",
        cost <= _OF_FLOOR,
    )


def _write(folder: Path, count: int, size: int) -> Path:
    folder.mkdir()
    for number in range(count):
        with (folder / f"part-{number:05}.bin").open("wb") as file:
            for start in range(0, size, _MIB):
                file.write(os.urandom(min(_MIB, size - start)))
    return folder
