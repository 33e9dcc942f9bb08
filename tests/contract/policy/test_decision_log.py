"""Our decision records beside those a real OPA writes for the same query."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.resources import folder
from mlflow_governance.outbox.decision_event import Recorder, event_of, labels_of
from mlflow_governance.outbox.log_sinks import HttpSink
from mlflow_governance.outbox.masking import apply, pseudonyms, rules_of
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from tests.unit.outbox.builders import Receiver
from tests.unit.policy.builders import dossier, shipped

_BESIDE = folder("policies").parent / ".tools" / "bin" / "opa"
OPA = os.environ.get("OPA") or shutil.which("opa") or (str(_BESIDE) if _BESIDE.exists() else "")

pytestmark = pytest.mark.skipif(
    not OPA, reason="no opa binary on PATH, in $OPA or at .tools/bin/opa"
)

# OPA's documentation, "Decision Logs": fields of an event and their types; and, where OPA's own
# EventV1 has more, those.
DOCUMENTED: dict[str, type | tuple[type, ...]] = {
    "labels": dict, "decision_id": str, "bundles": dict, "path": str, "query": str,
    "input": object, "result": object, "requested_by": str, "timestamp": str, "metrics": dict,
    "erased": list, "masked": list, "nd_builtin_cache": dict, "req_id": int,
    "trace_id": str, "span_id": str, "error": dict, "custom": dict,
}  # fmt: skip
CONSOLE = {"level", "msg", "time", "type"}
"""What OPA's console adds around a record."""

MASKS: list[Any] = [
    "/input/action", "/input/actor/roles", "/input/nothing", "/result/checks/DLD-001",
    {"op": "upsert", "path": "/input/actor/id", "value": "hidden"},
    {"op": "remove", "path": "/input/attached/0/name"},
]  # fmt: skip


@contextmanager
def opa(home: Path, *options: str, mask: bool = False) -> Iterator[tuple[str, Path]]:
    (home / "bundle.tar.gz").write_bytes(shipped().archive())
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [OPA, "run", "--server", "--disable-telemetry", "--addr", address,
               "--set", "decision_logs.console=true", *options]  # fmt: skip
    if mask:
        (home / "mask").mkdir()
        (home / "mask" / ".manifest").write_text('{"roots": ["system"], "revision": "m"}')
        (home / "mask" / "mask.rego").write_text(
            f"package system.log\n\nmask contains m if some m in {json.dumps(MASKS)}\n"
        )
        command.append(str(home / "mask"))
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "-b", str(home / "bundle.tar.gz")], stdout=log, stderr=log
        )
        try:
            _wait(f"http://{address}/health?bundles", process)
            yield f"http://{address}", home / "log"
        finally:
            process.terminate()
            process.wait(10)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None, "opa did not start"
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail("opa did not become healthy")


def ask(server: str, gate: Gate) -> dict[str, Any]:
    body = json.dumps({"input": dossier(gate).to_document()}).encode()
    url = f"{server}/v1/data/registry/{gate.value}/decision"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def logged(log: Path, number: int = 1) -> list[dict[str, Any]]:
    for _ in range(100):
        lines = [json.loads(line) for line in log.read_text().splitlines() if line[:1] == "{"]
        found = [line for line in lines if line.get("msg") == "Decision Log"]
        if len(found) >= number:
            return [{k: v for k, v in one.items() if k not in CONSOLE} for one in found]
        time.sleep(0.05)
    pytest.fail("opa logged no decision")


def ours(gate: Gate) -> dict[str, Any]:
    case = dossier(gate)
    decision = decide(EmbeddedEngine(shipped()), case)
    return event_of(decision.to_document(), case.to_document(), labels_of("test", {}))


def same_kind(mine: object, theirs: object) -> bool:
    numbers = isinstance(mine, int | float) and isinstance(theirs, int | float)
    return type(mine) is type(theirs) or numbers


def test_our_records_have_the_fields_and_types_of_opas(tmp_path: Path) -> None:
    with opa(tmp_path) as (server, log):
        for gate in Gate:
            ask(server, gate)
        records = logged(log, len(Gate))

    for gate, theirs in zip(Gate, records, strict=True):
        mine = ours(gate)
        # The number of the request in the server's life means nothing between processes.
        assert theirs.keys() - mine.keys() == {"req_id"}
        assert mine.keys() - theirs.keys() == {"custom"}
        for name in mine.keys() & theirs.keys():
            assert same_kind(mine[name], theirs[name]), name
        assert mine["path"] == theirs["path"]
        assert mine["input"] == theirs["input"]
        assert mine["metrics"].keys() <= theirs["metrics"].keys()
        assert {"id", "version"} <= mine["labels"].keys()
        (revision,) = theirs["bundles"].values()
        assert mine["bundles"] == {"registry": revision}
        assert mine["result"].keys() == theirs["result"].keys()
        assert mine["result"]["checks"] == theirs["result"]["checks"]


def test_our_records_hold_nothing_the_documentation_does_not_name() -> None:
    recorder = Recorder(labels_of("test", {}), pseudonyms(b"s" * 32))
    case = dossier(Gate.DOWNLOAD)
    good = decide(EmbeddedEngine(shipped()), case).to_document()
    broken = {**good, "error": "it broke", "reasons": [{"code": "ENG-ERROR"}]}
    for document in (good, broken):
        record = json.loads(json.dumps(recorder.record(document, case.to_document())))
        for name, value in record.items():
            assert isinstance(value, DOCUMENTED[name]), name
        assert "nd_builtin_cache" not in record


def test_a_mask_does_to_our_record_what_it_does_to_opas(tmp_path: Path) -> None:
    with opa(tmp_path, mask=True) as (server, log):
        ask(server, Gate.DOWNLOAD)
        (theirs,) = logged(log)

    mine = apply(ours(Gate.DOWNLOAD), rules_of(MASKS), pseudonyms(b"s" * 32))

    assert mine["erased"] == sorted(theirs["erased"])
    assert mine["masked"] == sorted(theirs["masked"])
    assert mine["input"] == theirs["input"]
    assert mine["result"]["checks"] == theirs["result"]["checks"]


def test_our_uploads_are_like_those_of_opa(tmp_path: Path) -> None:
    with Receiver().listening() as receiver:
        options = (
            f"services.collector.url={receiver.url}", "decision_logs.service=collector",
            "decision_logs.reporting.min_delay_seconds=1",
            "decision_logs.reporting.max_delay_seconds=1",
            "services.collector.credentials.bearer.token=s3cret",
        )  # fmt: skip
        with opa(tmp_path, *(word for option in options for word in ("--set", option))) as (url, _):
            ask(url, Gate.DOWNLOAD)
            for _ in range(200):
                if receiver.got:
                    break
                time.sleep(0.05)
        (theirs,) = receiver.got
        HttpSink(receiver.url, "s3cret").write([json.dumps(ours(Gate.DOWNLOAD)).encode()])
    mine = receiver.got[1]

    for header in ("content-type", "content-encoding", "authorization"):
        assert mine.headers[header] == theirs.headers[header]
    for upload in (mine, theirs):
        (record,) = json.loads(gzip.decompress(upload.body))
        assert record["path"] == "registry/download/decision"
