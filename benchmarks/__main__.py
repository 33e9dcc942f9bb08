"""``python -m benchmarks``: every figure of the project in one table."""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks import command, evidence, hashing, ledger, policy, replay, servers
from benchmarks.measure import Scale
from benchmarks.report import Row, table, write_json

_RESULTS = Path(__file__).resolve().parent / "results"

GROUPS: dict[str, Callable[[Path, Scale], Iterator[Row]]] = {
    "servers": servers.run,
    "policy": policy.run,
    "replay": replay.run,
    "evidence": evidence.run,
    "hashing": hashing.run,
    "ledger": ledger.run,
    "command": command.run,
    "servers-basic": servers.run_with_passwords,
}
_ON_REQUEST = {"servers-basic"}


def main() -> int:
    """Measure, print, write; 0 when everything could be measured, whatever the figures."""
    options = _options()
    started = datetime.now(UTC)
    load = os.getloadavg()
    rows: list[Row] = []
    for name in options.only or [name for name in GROUPS if name not in _ON_REQUEST]:
        begin = time.monotonic()
        print(f"measuring {name} …", end="", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="mlflow-governance-bench-") as folder:
            rows.extend(GROUPS[name](Path(folder), Scale(options.quick)))
        print(f" {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    print(table(rows))
    path = options.json or _RESULTS / f"{started:%Y%m%dT%H%M%SZ}.json"
    about = {"started": started.isoformat(), "quick": options.quick, "machine": _machine(load)}
    write_json(path, rows, about)
    print(f"\n{path}", file=sys.stderr)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller and less certain")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=GROUPS, help=", ".join(GROUPS))
    parser.add_argument("--json", type=Path, metavar="FILE", help=f"default: {_RESULTS}/…")
    return parser.parse_args()


def _machine(load: tuple[float, float, float]) -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "load_average_before": load,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "mlflow": metadata.version("mlflow"),
        "sqlite": sqlite3.sqlite_version,
        "openssl": ssl.OPENSSL_VERSION,
    }


if __name__ == "__main__":
    sys.exit(main())
