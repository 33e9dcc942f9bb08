"""How long a person waits for ``mlflow-governance --help``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.measure import Scale, alternate
from benchmarks.report import Row, latency

_AIM = 300
_ROUNDS = 7


def run(folder: Path, scale: Scale) -> Iterator[Row]:
    """Beside an interpreter that does nothing."""
    script = Path(sys.executable).with_name("mlflow-governance")
    installed = [str(script)] if script.exists() else []
    command = installed or [sys.executable, "-m", "mlflow_governance.cli.main"]
    launch = partial(subprocess.run, check=True, cwd=folder, stdout=subprocess.DEVNULL)
    launch([*command, "--help"])
    found = alternate(
        _ROUNDS,
        ours=lambda: launch([*command, "--help"]),
        limit=lambda: launch([sys.executable, "-c", "pass"]),
    )
    what = "mlflow-governance --help (limit: python -c pass)"
    yield latency(what, found["ours"], beside=found["limit"], at_most=_AIM)
