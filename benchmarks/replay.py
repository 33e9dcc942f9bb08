"""A changed bundle over a recorded history, by every processor."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.history import History
from benchmarks.measure import Scale, alternate
from benchmarks.report import Row, Spread
from mlflow_governance.cli.history import Wanted, gather
from mlflow_governance.cli.policy_replay import ReplayJob
from mlflow_governance.core.resources import folder as resource_folder
from mlflow_governance.policy.bundle import load
from mlflow_governance.workflows.recorded import Scope
from mlflow_governance.workflows.replay import Report

_AIM = 100_000 / 60
"""Decisions a second: a hundred thousand in a minute."""


def run(folder: Path, scale: Scale) -> Iterator[Row]:
    """The shipped bundle over a history it made; what it reads is the limit."""
    count = scale.pick(20_000, 3_000)
    bundle = load(resource_folder("policies"))
    file = folder / "history.db"
    History(count).write(f"sqlite:///{file}", bundle)

    def replay() -> None:
        report = Report()
        wanted = Wanted(f"sqlite:///{file}", Scope())
        gather(wanted, ReplayJob(dict(bundle.files), wanted.scope), report.add)
        if report.asked != count or report.groups or report.corrupt:
            raise RuntimeError("the history of the benchmark is not what its bundle says")

    def read() -> None:
        query = "SELECT document, data FROM governance_decisions JOIN governance_blobs b"
        with closing(sqlite3.connect(file)) as connection:
            for _ in connection.execute(f"{query} ON b.digest = dossier_digest"):
                pass

    found = alternate(scale.pick(3, 1), ours=replay, limit=read)
    ours = Spread.rate(found["ours"], count)
    yield Row(
        f"policy replay over {count:,} decisions (limit: read them)",
        "1/s",
        ours,
        Spread.rate(found["limit"], count),
        f"100,000 in {100_000 / ours.p50:.0f} s",
        f"≥ {_AIM:,.0f}/s",
        ours.p50 >= _AIM,
    )
