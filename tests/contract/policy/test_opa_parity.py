"""A real OPA and the embedded engine give the same answer to the same dossier.

``GOVERNANCE_LOAD=long`` asks four times as many.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.core import canonical
from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.resources import folder
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import EngineError, PolicyEngine
from mlflow_governance.policy.opa import OpaEngine
from mlflow_governance.policy.samples import mutated, starts
from tests.contract.policy.binary import OPA, needs_opa, run
from tests.unit.policy.builders import CONFIG, configured, dossier, everything, shipped

POLICIES = folder("policies")
DOSSIERS = 4000 if os.environ.get("GOVERNANCE_LOAD") == "long" else 1000

pytestmark = needs_opa

# Everything an organisation may set is in use, so that every rule of the policies is on the way.
IN_FORCE, SOON, OVER = "2027-01-01T00:00:00Z", "2026-11-30T00:00:00Z", "2025-01-01T00:00:00Z"
_WAIVER = {"model": "chu*", "owner": "sam", "approver": "ann", "reason": "known", "expires": SOON}
SETTINGS: dict[str, Any] = {
    "risk_floors": [{"pattern": "chu*", "tier": "low"}, {"pattern": "*n", "tier": "low"}],
    "waivers": [
        {**_WAIVER, "id": "W-1", "vulnerability": "CVE-9", "expires": IN_FORCE},
        {**_WAIVER, "id": "W-2", "vulnerability": "CVE-8", "expires": OVER},
        {**_WAIVER, "id": "W-3", "vulnerability": "CVE-7", "approver": "Sam "},
    ],
    "code_waivers": [{**_WAIVER, "id": "C-1", "file": "*"}],
    "check_waivers": [
        {**_WAIVER, "id": "K-1", "check": "ACC-006"},
        {**_WAIVER, "id": "K-2", "check": "PRO-009"},
        {**_WAIVER, "id": "K-3", "check": "PRO-005"},
    ],
    "modes": {"PRO-015": "warn", "ACC-012": "shadow", "DLD-004": "warn", "LIB-004": "shadow"},
    "quorum": {
        "low": {}, "medium": {"security": 1}, "high": {"security": 1, "product": 1, "legal": 0},
    },
    "required_evidence": {"release": ["signature", "canary", "vulnerabilities"]},
    "alias_rules": [
        {"aliases": ["Cha*"], "stages": ["Approved", "Staging"], "roles": ["security", "product"]},
    ],
    "library": json.loads(everything().files[CONFIG])["library"],
}  # fmt: skip


@pytest.fixture(scope="module", params=["shipped", "everything in use"])
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return shipped() if request.param == "shipped" else configured(**SETTINGS)


@pytest.fixture(scope="module")
def server(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    archive = tmp_path_factory.mktemp("opa") / "bundle.tar.gz"
    archive.write_bytes(bundle.archive())
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [OPA, "run", "--server", "--disable-telemetry", "--log-level", "error"]
    process = subprocess.Popen([*command, "--addr", address, "-b", str(archive)])
    try:
        _wait(f"http://{address}/health?bundles", process)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(10)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None, "opa did not start"
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    pytest.fail("opa did not become healthy")


def answer(engine: PolicyEngine, gate: Gate, document: bytes) -> Any:
    """The decision document in canonical order, or that there was none."""
    try:
        raw = engine.evaluate(gate, document)
    except EngineError as error:
        return "none" if error.reason_code in ("ENG-ERROR", "ENG-HTTP-500") else error.reason_code
    for key in ("reasons", "warnings", "obligations"):
        raw[key] = sorted(raw[key], key=canonical.encode)
    return raw


def test_opa_gives_the_same_document_for_a_thousand_dossiers(bundle: Bundle, server: str) -> None:
    embedded, opa = EmbeddedEngine(bundle), OpaEngine(server, bundle, deadline_seconds=10)
    source, begins = random.Random(20261121), starts()
    allowed = 0

    for number in range(DOSSIERS):
        start = begins[number % len(begins)]
        value = mutated(source, start) if number >= len(begins) else start
        document, gate = canonical.encode(value), Gate(start["gate"])
        expected, found = answer(embedded, gate, document), answer(opa, gate, document)
        assert canonical.encode(found) == canonical.encode(expected), document.decode()
        allowed += found != "none" and found["allow"]

    assert DOSSIERS / 10 < allowed < DOSSIERS * 9 / 10


def test_decisions_agree_in_everything_but_the_engine(bundle: Bundle, server: str) -> None:
    engines = EmbeddedEngine(bundle), OpaEngine(server, bundle)

    changes: list[dict[str, Any]] = [{}, {"evidence": {}, "approvals": ()}]
    for gate in Gate:
        for change in changes:
            documents = [decide(e, dossier(gate, **change)).to_document() for e in engines]
            for document in documents:
                for volatile in ("engine", "decision_id", "duration", "salt"):
                    document.pop(volatile)
            assert documents[0] == documents[1]


def test_another_policy_than_the_one_in_force_is_refused(server: str) -> None:
    other = OpaEngine(server, configured(blocking_cvss=6.5))

    decision = decide(other, dossier(Gate.DOWNLOAD))

    assert [reason.code for reason in decision.reasons] == ["ENG-REVISION"]


def test_a_gate_the_server_does_not_have_is_undefined(server: str, bundle: Bundle) -> None:
    class Elsewhere:
        value = "nowhere"

    with pytest.raises(EngineError) as error:
        OpaEngine(server, bundle).evaluate(Elsewhere(), b"{}")  # type: ignore[arg-type]
    assert error.value.reason_code == "ENG-UNDEFINED"


def test_opa_finds_the_policies_strictly_correct() -> None:
    result = run("check", "--strict", "-b", str(POLICIES))

    assert result.returncode == 0, result.stderr


def test_opa_finds_the_policies_well_formatted() -> None:
    result = run("fmt", "--list", str(POLICIES))

    assert (result.returncode, result.stdout) == (0, "")


def test_opa_finds_an_entry_point_for_each_gate(tmp_path: Path) -> None:
    archive = tmp_path / "bundle.tar.gz"
    archive.write_bytes(shipped().archive())
    result = run("inspect", "--annotations", "--format", "json", str(archive))

    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["manifest"]["revision"] == shipped().digest
    entries = {
        ".".join(str(step["value"]) for step in found["path"])
        for found in report["annotations"]
        if found["annotations"].get("entrypoint")
    }
    assert entries == {f"data.registry.{gate.value}.decision" for gate in Gate}
