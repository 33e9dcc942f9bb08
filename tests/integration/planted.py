"""Versions with something of their own in them, and what may be seen of it and of the registry.

A marker is 64 random bytes that lie in the files of one version and nowhere else. Whoever finds
a piece of it in an answer, in whatever encoding, has found bytes of that version.
"""

from __future__ import annotations

import base64
import copy
import gzip
import io
import json
import pickle
import secrets
import shutil
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow

from mlflow_governance.core import resources
from mlflow_governance.core.stage import Stage
from tests.integration.world import World, _data, _model

FILE = "marker.bin"
DEEP = "deep/er/marker.hex"
ATTACHMENT = str(uuid.UUID(int=0x5EC2E7))
"""A name MLflow's trace routes accept for an attachment."""
_LONG = 64 * 1024


@dataclass(frozen=True)
class Target:
    """One planted version.

    ``place`` is where its files are below the artifact destination; ``logged`` tells a logged
    model (``models:/m-…``) from a model among the artifacts of a run, as older code has them.
    """

    name: str
    stage: Stage
    uri: str
    place: str
    run: str
    marker: bytes
    label: bytes
    logged: bool
    model_id: str
    version: int = 1

    @property
    def family(self) -> str:
        """What a door says it can lead to: ``logged`` or ``run``."""
        return "logged" if self.logged else "run"

    @property
    def secrets(self) -> dict[str, bytes]:
        """What to look for, by what it is: its bytes, and a file name nobody can guess."""
        return {self.name: self.marker, f"file names of {self.name}": self.label}


def plant(
    world: World,
    name: str,
    stage: Stage,
    *,
    logged: bool = True,
    released: Callable[[str, str], None] = lambda name, place: None,
) -> Target:
    """A version with a marker at a stage, brought there the way people do.

    ``released`` is called with name and place of a version about to be withdrawn, while it may
    still be had.
    """
    marker, label = secrets.token_bytes(64), secrets.token_bytes(16)
    folder = world.folder / "planted" / name
    with world.speaking_as("alice") as client:
        mlflow.set_experiment("experiment-of-alice")
        with mlflow.start_run() as run:
            mlflow.log_input(mlflow.data.from_pandas(_data().head(20), name="breast-cancer"))
            mlflow.log_metric("accuracy", 0.97)
            _write_model(folder, marker, label)
            uri, model_id = f"runs:/{run.info.run_id}/model", ""
            if logged:
                made = client.create_logged_model(
                    run.info.experiment_id, name="model", source_run_id=run.info.run_id
                )
                client.log_model_artifacts(made.model_id, str(folder))
                client.finalize_logged_model(made.model_id, "READY")
                uri, model_id = f"models:/{made.model_id}", made.model_id
            else:
                client.log_artifacts(run.info.run_id, str(folder), "model")
    place = world.location(uri) if logged else f"{run.info.experiment_id}/{run.info.run_id}"
    place = place if logged else f"{place}/artifacts/model"
    _bring(world, uri, name, stage, lambda: released(name, place))
    return Target(name, stage, uri, place, run.info.run_id, marker, label, logged, model_id)


def bear_planted_files(home: Path) -> None:
    """Put a policy into force that bears what is planted: bytes the scanner cannot know."""
    bundle = home / "policies"
    shutil.copytree(resources.folder("policies"), bundle)
    data = bundle / "registry" / "config" / "data.json"
    waiver = {
        "id": "planted", "owner": "the tests", "approver": "their readers",
        "reason": "markers to be found", "model": "*",
        "expires": "2199-01-01T00:00:00Z",
    }  # fmt: skip
    waivers = [
        {**waiver, "file": file}
        for file in (FILE, DEEP, "marker.zip*", "traces.pb", "attachments/*")
    ]
    data.write_text(json.dumps(json.loads(data.read_text()) | {"code_waivers": waivers}))
    (home / "config.yaml").write_text("policies: policies\n")


def _write_model(folder: Path, marker: bytes, label: bytes) -> None:
    model = copy.deepcopy(_model(0))
    model.marker_ = marker.hex()
    mlflow.sklearn.save_model(
        model, folder, pip_requirements=["scikit-learn"], serialization_format="cloudpickle"
    )
    (folder / FILE).write_bytes(marker)
    (folder / DEEP).parent.mkdir(parents=True)
    (folder / DEEP).write_text(marker.hex())
    (folder / "marker.pkl").write_bytes(pickle.dumps({"marker": marker}))
    (folder / f"{label.hex()}.txt").write_text("only my name tells anything")
    with zipfile.ZipFile(folder / "marker.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("marker.txt", base64.b64encode(marker) * 20)
    # Names under which MLflow's trace routes look for something below a folder they are told.
    (folder / "traces.json").write_text(json.dumps({"spans": [], "marker": marker.hex()}))
    (folder / "traces.pb").write_bytes(_archived(marker))
    (folder / "attachments").mkdir()
    (folder / "attachments" / ATTACHMENT).write_bytes(marker)


def _archived(marker: bytes) -> bytes:
    """What MLflow reads as an archived trace."""
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    data = TracesData()
    span = data.resource_spans.add().scope_spans.add().spans.add()
    span.name, span.trace_id, span.span_id = marker.hex(), bytes(15) + b"1", bytes(7) + b"1"
    span.start_time_unix_nano, span.end_time_unix_nano = 1, 2
    request = span.attributes.add()
    request.key, request.value.string_value = "mlflow.traceRequestId", '"tr-1"'
    return bytes(data.SerializeToString())


_WITHDRAWALS = {Stage.QUARANTINED: "quarantine", Stage.REVOKED: "revoke"}


def _bring(world: World, uri: str, name: str, stage: Stage, released: Callable[[], None]) -> None:
    if stage is Stage.NONE:
        world.register(uri, name)
    else:
        world.submit(uri, "--name", name)
    with world.speaking_as("alice") as client:
        client.set_registered_model_alias(name, "try", "1")
    if stage in (Stage.NONE, Stage.CANDIDATE):
        return
    world.move(name, 1, "Staging")
    if stage is Stage.STAGING:
        return
    world.canary(name)
    world.approve(name, "sam", "security")
    world.approve(name, "pia", "product")
    world.move(name, 1, "Approved")
    if stage is Stage.DEPRECATED:
        world.move(name, 1, "Deprecated")
    elif verb := _WITHDRAWALS.get(stage):
        released()
        world.here("sam", verb, f"{name}/1", "--reason", "under suspicion")


def share(world: World, targets: Iterable[Target]) -> None:
    """In MLflow, let rita manage all that alice has. In governance that changes nothing."""
    experiments = {("experiment", t.place.split("/")[0]) for t in targets}
    for kind, name in [*experiments, *(("registered_model", t.name) for t in targets)]:
        body = {"username": "rita", "resource_type": kind, "resource_id": name}
        path = "/api/3.0/mlflow/users/permissions/grant"
        answer = world.ask("alice", "POST", path, json=body | {"permission": "MANAGE"})
        already = "already exists" in answer.text
        assert answer.ok or already, answer.text


class Markers:
    """Finds pieces of markers in answers."""

    def __init__(self) -> None:
        self._pieces: dict[int, dict[bytes, str]] = {8: {}, 16: {}, 12: {}}

    def add(self, markers: Mapping[str, bytes]) -> None:
        """More to look for: what it is, and the bytes."""
        for owner, marker in markers.items():
            encoded = [base64.b64encode(bytes(shift) + marker)[4:-4] for shift in range(3)]
            forms = [(8, marker), (16, marker.hex().encode()), *((12, form) for form in encoded)]
            for size, form in forms:
                starts = range(len(form) - size + 1)
                self._pieces[size].update((form[i : i + size], owner) for i in starts)

    def found(self, data: bytes) -> set[str]:
        """Whose bytes are in an answer: raw, hexadecimal, base64, and packed in zip or gzip."""
        owners: set[str] = set()
        for plain in _unpacked(data):
            step = 1 if len(plain) < _LONG else 0
            for size, pieces in self._pieces.items():
                for start in range(0, len(plain) - size + 1, step or size):
                    if (owner := pieces.get(plain[start : start + size])) is not None:
                        owners.add(owner)
        return owners


def _unpacked(data: bytes) -> Iterator[bytes]:
    yield data
    if b"%" in data:
        yield data.replace(b"%", b"")
    for magic, unpack in ((b"PK\x03\x04", _unzip), (b"\x1f\x8b\x08", _gunzip)):
        if (start := data.find(magic)) >= 0:
            yield from unpack(data[start:])


def _unzip(data: bytes) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            yield from (packed.read(name) for name in packed.namelist())
    except (zipfile.BadZipFile, OSError, EOFError):
        return


def _gunzip(data: bytes) -> Iterator[bytes]:
    try:
        yield gzip.decompress(data)
    except (OSError, EOFError):
        return
