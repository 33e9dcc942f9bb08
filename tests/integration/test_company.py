"""The company of `examples/`: from warn over replay to enforce, on a server of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(600)
def test_a_check_comes_into_force_and_surprises_nobody() -> None:
    command = [sys.executable, "-m", "examples.company"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    told = done.stdout
    in_order = (
        "lacks risks",  # Ben is warned,
        "wine/1 is at Candidate",
        "only reason",  # the rates are looked at,
        "newly denied           3",
        "in force, 2 of 2 approved",  # two people put it into force,
        "wine/2 is registered with its evidence and not accepted",  # it denies now,
        "wine/2 is at Candidate",  # and is met;
        "may not go from Staging to Approved",
        "re-executed: the same answer",  # what was decided stays as it was.
        "the ledger verifies",
    )
    places = [found.start() if (found := re.search(text, told)) else -1 for text in in_order]
    assert -1 not in places, (in_order[places.index(-1)], told)
    assert places[2:] == sorted(places[2:])
