"""A stock MLflow server and a governed one side by side, asked in turns over REST.

Both on SQLite with one worker process, in folders of their own, with keep-alive connections.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import requests

from benchmarks.material import NAME, PURPOSES, Material
from benchmarks.measure import Samples, Scale, alternate
from benchmarks.report import Row, overhead, times
from examples.local_server import LocalServer

_API = "/api/2.0/mlflow/"
_DOWNLOAD_AIM, _TRANSITION_AIM = 1.0, 10.0  # milliseconds
_READ_AIM = 1.1  # times stock
_READS = 100
_WARM = 5
_AUTH_CONFIG = """\
[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/basic_auth.db
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
auth_cache_max_size = 10000
"""


def run(folder: Path, scale: Scale) -> Iterator[Row]:
    """Nobody logs in: what is measured is governance alone."""
    return _compare(folder, scale, "none")


def run_with_passwords(folder: Path, scale: Scale) -> Iterator[Row]:
    """The same with MLflow's basic-auth on both."""
    return _compare(folder, scale, "basic")


def _compare(folder: Path, scale: Scale, auth: str) -> Iterator[Row]:
    material = Material.make(folder)
    versions = scale.pick(150, 30)
    with ExitStack() as stack:
        stock = Registry(stack.enter_context(StockServer(folder / "stock", auth=auth)))
        governed = Registry(stack.enter_context(LocalServer(folder / "governed", auth=auth)))
        _trust(governed.server, material)
        for registry in (stock, governed):
            registry.bring(material.model, versions)
        with_auth = " with basic-auth" if auth == "basic" else ""
        registered = _in_turns(versions, stock.register, governed.register)
        governed.require_stage(versions, "Candidate")
        moved = _in_turns(versions, stock.promote_next, governed.promote_next)
        governed.require_stage(versions, "Staging")
        asked = _in_turns(scale.pick(500, 100), stock.download_uri, governed.download_uri)
        read = _in_turns(scale.pick(40, 15), stock.read_artifacts, governed.read_artifacts)
    yield overhead(f"get-download-uri{with_auth}", *asked, at_most=_DOWNLOAD_AIM)
    yield times(
        f"{_READS} artifact reads of a released version{with_auth}", *read, at_most=_READ_AIM
    )
    yield overhead(f"transition to Staging{with_auth}", *moved, at_most=_TRANSITION_AIM)
    size = sum(file.size for file in material.manifest.files) // 1000
    yield overhead(f"register, {size} kB, hashed and judged{with_auth}", *registered)


def _in_turns(
    calls: int, stock: Callable[[], object], governed: Callable[[], object]
) -> tuple[Samples, Samples]:
    """Ours and stock, without the first few calls."""
    found = alternate(calls, ours=governed, stock=stock)
    return Samples(found["ours"].seconds[_WARM:]), Samples(found["stock"].seconds[_WARM:])


def _trust(server: LocalServer, material: Material) -> None:
    purposes = ",".join(purpose.value for purpose in PURPOSES)
    arguments = ("trust", "add", "bench", "--key", str(material.public_key), "--for", purposes)
    server.run("admin", *arguments, "--home", str(server.home))


class StockServer(LocalServer):
    """`mlflow server` with the settings of the governed one, and nothing of ours."""

    def start(self, timeout: float = 120) -> None:
        """Start and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.backend),
            *("--artifacts-destination", str(self.folder / "artifacts")),
            *("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"),
            *(("--app-name", "basic-auth") if self.auth == "basic" else ()),
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self._settings(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"MLflow did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.2)

    def _settings(self) -> dict[str, str]:
        known = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "_MLFLOW"))}
        known["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # as the governed server does
        if self.auth == "basic":
            config = self.folder / "basic_auth.ini"
            config.write_text(_AUTH_CONFIG.format(folder=self.folder))
            password = self.home / "keys" / "admin.password"
            password.parent.mkdir(parents=True)
            password.write_text(secrets.token_urlsafe(18))
            known["MLFLOW_AUTH_CONFIG_PATH"] = str(config)
            known["MLFLOW_AUTH_ADMIN_PASSWORD"] = password.read_text()
            known["MLFLOW_FLASK_SERVER_SECRET_KEY"] = secrets.token_hex(32)
        return known


class Registry:
    """A server as a client on a kept connection sees it."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self._session = requests.Session()
        self._session.trust_env = False
        if server.auth == "basic":
            self._session.auth = ("admin", server.password("admin"))
        self._sources: list[dict[str, str]] = []
        self._moved = 0
        self._files: list[str] = []

    def bring(self, model: Path, versions: int) -> None:
        """Make a run with this model as its artifacts, one a version, and a name for them."""
        info = self._post("runs/create", experiment_id="0")["run"]["info"]
        uri = info["artifact_uri"]
        folder = self.server.folder / "artifacts" / uri.removeprefix("mlflow-artifacts:/")
        for number in range(versions):
            shutil.copytree(model, folder / f"model-{number}")
            self._sources.append({"source": f"{uri}/model-{number}", "run_id": info["run_id"]})
        self._post("registered-models/create", name=NAME)
        # Versions are registered from the last model on: the first one's files.
        root = f"{self.server.uri}{_API[:-1]}-artifacts/artifacts/"
        below = f"{uri.removeprefix('mlflow-artifacts:/')}/model-{versions - 1}"
        names = sorted(file.name for file in model.iterdir() if file.is_file())
        self._files = [f"{root}{below.lstrip('/')}/{name}" for name in names]

    def register(self) -> None:
        """One more version."""
        self._post("model-versions/create", name=NAME, **self._sources.pop())

    def promote_next(self) -> None:
        """Move the oldest version that was not moved yet to Staging."""
        self._moved += 1
        self._post(
            "model-versions/transition-stage",
            name=NAME,
            version=str(self._moved),
            stage="Staging",
            archive_existing_versions=False,
        )

    def download_uri(self) -> None:
        """Where the bytes of the first version are."""
        self._ask("GET", "model-versions/get-download-uri", params={"name": NAME, "version": "1"})

    def read_artifacts(self) -> None:
        """Read files of the first version through the proxy, one request each.

        The gate is the one of an Approved version: both stages are deployable.
        """
        for number in range(_READS):
            answer = self._session.get(self._files[number % len(self._files)], timeout=60)
            if not answer.ok:
                raise RuntimeError(f"{answer.url}: HTTP {answer.status_code}: {answer.text[:500]}")

    def require_stage(self, version: int, stage: str) -> None:
        """Stop when a version is not where it should be: refusals are not what is measured.

        Raises:
            RuntimeError: it is elsewhere; says what the registry says is missing.
        """
        asked = {"name": NAME, "version": str(version)}
        found = self._ask("GET", "model-versions/get", params=asked)["model_version"]
        if found["current_stage"] != stage:
            raise RuntimeError(f"version {version} is not in {stage}: {found.get('tags')}")

    def _post(self, path: str, **body: object) -> dict[str, Any]:
        return self._ask("POST", path, json=body)

    def _ask(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        answer = self._session.request(method, self.server.uri + _API + path, timeout=60, **what)
        if not answer.ok:
            raise RuntimeError(f"{path}: HTTP {answer.status_code}: {answer.text[:2000]}")
        document: dict[str, Any] = answer.json()
        return document
