"""Decisions by the embedded engine, and by an OPA server on this machine beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import requests

from benchmarks import policy_load
from benchmarks.material import Material, dossier
from benchmarks.measure import Samples, Scale, alternate
from benchmarks.report import Row, latency
from examples.local_server import free_port
from mlflow_governance.core.dossier import Dossier, Gate
from mlflow_governance.core.resources import folder as resource_folder
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy.bundle import Bundle, load
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import PolicyEngine
from mlflow_governance.policy.opa import OpaEngine

_AIMS = {Gate.DOWNLOAD: 0.15, Gate.PROMOTE: 0.3, Gate.ACCEPT: None}
_BLOCK = 10
"""Decisions a sample: one alone is too short for the clock and the scheduler."""


def run(folder: Path, scale: Scale) -> Iterator[Row]:
    """Each gate with a dossier it allows, alone, beside OPA, and many at once."""
    bundle = load(resource_folder("policies"))
    engine = EmbeddedEngine(bundle)
    material = Material.make(folder)
    blocks = scale.pick(300, 60)
    dossiers = {gate: dossier(gate, material, bundle.digest) for gate in _AIMS}
    for gate, aim in _AIMS.items():
        asked = dossiers[gate]
        found = alternate(
            blocks,
            evaluate=partial(_evaluate, engine, asked),
            decide=_fresh_decisions(engine, asked, blocks),
        )
        what = f"decide {gate.value}, embedded (limit: engine alone)"
        ours, alone = found["decide"].per(_BLOCK), found["evaluate"].per(_BLOCK)
        yield latency(what, ours, beside=alone, at_most=aim)
    beside = [dossiers[gate] for gate in (Gate.DOWNLOAD, Gate.PROMOTE)]
    yield from _beside_opa(folder, bundle, engine, beside)
    yield from policy_load.run(engine, list(dossiers.values()), scale)


def _evaluate(engine: PolicyEngine, asked: Dossier) -> None:
    for _ in range(_BLOCK):
        engine.evaluate(asked.gate, asked.encoded)


def _fresh_decisions(engine: PolicyEngine, asked: Dossier, blocks: int) -> Callable[[], None]:
    # A dossier keeps its canonical form once made; in the registry each decision makes its own.
    copies = iter([replace(asked) for _ in range(blocks * _BLOCK)])

    def decide_block() -> None:
        for _ in range(_BLOCK):
            _decide(engine, next(copies))

    return decide_block


def _decide(engine: PolicyEngine, asked: Dossier) -> None:
    decision = decide(engine, asked)
    if not decision.allow:
        raise RuntimeError(decision.explain("the dossier of the benchmark is refused"))


def _beside_opa(
    folder: Path, bundle: Bundle, embedded: PolicyEngine, dossiers: Sequence[Dossier]
) -> list[Row]:
    binary = _binary()
    if not binary:
        return [
            Row.absent(
                "decide, OPA server on loopback",
                "no opa on PATH, in $OPA or .tools/bin (make tools)",
            )
        ]
    try:
        with _serving(binary, folder, bundle) as url:
            opa = OpaEngine(url, bundle, deadline_seconds=10)
            return [_one_beside_opa(opa, embedded, asked) for asked in dossiers]
    except ConfigurationError as error:
        return [Row.absent("decide, OPA server on loopback", error.message)]


def _one_beside_opa(opa: PolicyEngine, embedded: PolicyEngine, asked: Dossier) -> Row:
    _decide(opa, replace(asked))
    found: dict[str, Samples] = alternate(
        200,
        opa=lambda: _decide(opa, replace(asked)),
        embedded=lambda: _decide(embedded, replace(asked)),
    )
    what = f"decide {asked.gate.value}, OPA server on loopback (beside: embedded)"
    return latency(what, found["opa"], beside=found["embedded"])


def _binary() -> str:
    local = Path(__file__).resolve().parent.parent / ".tools" / "bin" / "opa"
    return os.environ.get("OPA") or shutil.which("opa") or (str(local) if local.exists() else "")


@contextmanager
def _serving(binary: str, folder: Path, bundle: Bundle) -> Iterator[str]:
    archive = folder / "bundle.tar.gz"
    archive.write_bytes(bundle.archive())
    address = f"127.0.0.1:{free_port()}"
    command = [binary, "run", "--server", "--disable-telemetry", "--addr", address]
    process = subprocess.Popen([*command, "-b", str(archive)], stderr=subprocess.DEVNULL)
    try:
        _wait(f"http://{address}/health?bundles", process)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(10)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if requests.get(url, timeout=1).ok:
                return
        except requests.RequestException:
            time.sleep(0.05)
    raise ConfigurationError("opa did not start")
