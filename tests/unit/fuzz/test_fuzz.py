"""Every parser of foreign bytes, on damaged files: our own errors and no others."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS
from tests.golden.mutate import damaged

ROOT = Path(__file__).parents[3]
SECONDS, SEED = os.environ.get("FUZZ_SECONDS", "1"), "0" if "FUZZ_SECONDS" in os.environ else "7"
"""The suite asks the same each time; whoever gives it longer looks elsewhere each time."""

everything = pytest.mark.parametrize("name", TARGETS)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the fuzzer said of each target; it starts a process for each."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not there: it runs on Linux, x86-64, up to Python 3.13")
    keep = tmp_path_factory.mktemp("fuzz")
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", SECONDS, "--seed", SEED,
               "--keep", str(keep)]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    said = re.split(r"^([a-z-]+): (ok|BROKEN)$", done.stdout, flags=re.MULTILINE)[1:]
    found = {name: word + told for name, word, told in zip(*[iter(said)] * 3, strict=True)}
    assert set(found) == set(TARGETS), done.stdout + done.stderr
    return found


@everything
def test_a_fuzzer_finds_nothing_that_breaks_a_parser(name: str, fuzzed: dict[str, str]) -> None:
    assert fuzzed[name].strip() == "ok"


@everything
def test_each_seed_is_read(name: str) -> None:
    """A fuzzer that begins with refused files would not get far."""
    target = TARGETS[name]
    seeds = list(target.seeds())
    assert seeds
    for seed in seeds:
        target.run(seed)


@everything
@pytest.mark.filterwarnings("ignore")  # a library's words about a broken certificate
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(drawn=st.data())
def test_a_damaged_file_breaks_no_parser(name: str, drawn: st.DataObject) -> None:
    target = TARGETS[name]
    seed = drawn.draw(st.sampled_from(sorted(target.seeds())))
    target.run(drawn.draw(damaged(seed)))


@everything
@pytest.mark.parametrize("junk", [b"", b"\0", b"null", b"[]", b"{}", b'"', b"\xff\xfe", b"- a\n"])
def test_junk_breaks_no_parser(name: str, junk: bytes) -> None:
    TARGETS[name].run(junk)
