"""A real governed server with people, keys and real models, for the integration tests."""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import requests

from examples.local_server import LocalServer
from mlflow_governance.evidence.authority import KeyHolder
from mlflow_governance.evidence.keys import PublicKey, generate_key_pair
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.trust import Signer, add_signer

PEOPLE = {
    "alice": ("security",),
    "sam": ("security",),
    "pia": ("product",),
    "eve": ("evaluator",),
    "rita": (),
}
_KEYS = {
    "training": "signature,provenance,sbom,model-card,dataset",
    "ci": "test-result",
    "canary": "canary",
}
_CARD = """\
purpose: Flag tumours that look malignant.
audience: Pathologists, as a second opinion.
limits: One hospital, one kind of tissue.
risks: A missed tumour delays treatment.
safeguards: A pathologist reads every result.
risk_tier: high
owner: alice
"""


class StockServer(LocalServer):
    """The same database and files under an MLflow that knows nothing of governance."""

    def command(self) -> list[str]:
        """Plain `mlflow server`, without the job runners nobody here needs."""
        return [
            *("env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"),
            *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.backend),
            *("--artifacts-destination", (self.folder / "artifacts").as_uri()),
            *("--port", str(self.port), "--workers", "1"),
        ]


class World:
    """One server and what people do with it."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self.folder = server.folder
        self._made: set[str] = set()

    def populate(self) -> None:
        """People, keys and trust."""
        for name, roles in PEOPLE.items():
            self.add_user(name, *roles)
        self.trust_keys()

    def trust_keys(self) -> None:
        """Keys of a training pipeline, of CI and of a canary, and what they may sign."""
        for key, purposes in _KEYS.items():
            path = self.folder / f"{key}.pem"
            generate_key_pair(path)
            public = PublicKey.from_pem(path.with_suffix(".pub").read_bytes())
            wanted = frozenset(Purpose(word) for word in purposes.split(","))
            add_signer(self.server.home / "trust.yaml", Signer(key, KeyHolder(public), wanted))
        (self.folder / "tests.json").write_text(json.dumps({"result": "PASSED"}))
        (self.folder / "card.yaml").write_text(_CARD)

    def add_user(self, name: str, *roles: str) -> None:
        """A person with roles; the password is the server's to know."""
        self.server.passwords[name] = secrets.token_urlsafe(16)
        self.add_role(name, *roles)

    def add_role(self, name: str, *roles: str) -> None:
        """More roles for somebody."""
        flags = [word for role in roles for word in ("--role", role)]
        arguments = ("users", "add", name, *flags, "--password-stdin")
        self.here("admin", *arguments, stdin=self.server.password(name))

    @contextlib.contextmanager
    def speaking_as(self, user: str) -> Iterator[Any]:
        """The stock client in this process speaks as somebody; yields an MlflowClient."""
        import mlflow

        variables = self.server.environment(user)
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        mlflow.set_tracking_uri(self.server.uri)
        try:
            yield mlflow.MlflowClient()
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name)
                else:
                    os.environ[name] = value

    def log(self, name: str | None = None, *, user: str = "alice", seed: int = 0) -> str:
        """Train and log a real model with stock code; returns ``models:/m-…``."""
        import mlflow

        with self.speaking_as(user):
            mlflow.set_experiment(f"experiment-of-{user}")
            with mlflow.start_run():
                frame = _data()
                mlflow.log_input(mlflow.data.from_pandas(frame.head(20), name="breast-cancer"))
                mlflow.log_metric("accuracy", 0.97)
                # Naming the requirement spares MLflow's own guess, which takes seconds.
                info = mlflow.sklearn.log_model(
                    _model(seed),
                    name="model",
                    registered_model_name=name,
                    pip_requirements=["scikit-learn"],
                )
        return str(info.model_uri)

    def log_large(self, *, user: str = "alice", seed: int = 0) -> str:
        """A model of two mebibytes, which a limit of one leaves to the worker."""
        uri = self.log(user=user, seed=seed)
        ballast = self.folder / f"ballast-{seed}.npy"
        # Data the scanner knows to be data; it refuses bytes of which nobody knows what they are.
        np.save(ballast, np.frombuffer(secrets.token_bytes(2 * 1024 * 1024), np.uint8))
        with self.speaking_as(user) as client:
            client.log_model_artifact(uri.removeprefix("models:/"), str(ballast))
        return uri

    def register(self, uri: str, name: str, *, user: str = "alice") -> int:
        """Register with the stock client; returns the version."""
        import mlflow

        with self.speaking_as(user):
            return int(mlflow.register_model(uri, name).version)

    def submit(self, uri: str, *flags: str, user: str = "alice") -> None:
        """Evidence for a model, signed by the training pipeline, tests by CI."""
        self.here(
            user,
            *("submit", uri, "--key", "training.pem", "--model-card", "card.yaml"),
            *("--test-result", "tests.json", "--test-key", "ci.pem"),
            *flags,
        )

    def candidate(self, name: str, *, seed: int = 0) -> str:
        """A version at Candidate; returns its ``models:/m-…`` URI."""
        uri = self.log(seed=seed)
        self.submit(uri, "--name", name)
        return uri

    def candidate_once(self, name: str, *, seed: int = 0) -> None:
        """Like :meth:`candidate`, for a version several tests look at; made by the first."""
        if name not in self._made:
            self._made.add(name)
            self.candidate(name, seed=seed)

    def approved(self, name: str, *, seed: int = 0) -> str:
        """A version at Approved."""
        uri = self.candidate(name, seed=seed)
        self.move(name, 1, "Staging")
        self.canary(name)
        self.approve(name, "sam", "security")
        self.approve(name, "pia", "product")
        self.move(name, 1, "Approved")
        return uri

    def move(self, name: str, version: int, stage: str, *, user: str = "alice") -> str:
        """A transition with the stock client; returns the stage it ended in."""
        with self.speaking_as(user) as client:
            return str(
                client.transition_model_version_stage(name, str(version), stage).current_stage
            )

    def canary(self, name: str, version: int = 1, *, result: str = "PROCEED") -> None:
        """A signed canary result."""
        self.here(
            "alice",
            *("attest", f"{name}/{version}", "canary", "--result", result, "--key", "canary.pem"),
        )

    def approve(self, name: str, user: str, role: str, version: int = 1) -> None:
        """Somebody's word."""
        self.here(user, "approve", f"{name}/{version}", "--as", role, "--reason", "looked at it")

    def here(self, user: str, *arguments: str, stdin: str = "") -> str:
        """Like :meth:`command` without a process of its own, which takes seconds.

        Returns what was printed; a refusal is raised as the error it is. Not for threads: it
        changes this process's folder and environment for a moment.
        """
        from mlflow_governance.cli.main import cli

        printed, before = io.StringIO(), sys.stdin
        sys.stdin = io.StringIO(stdin)
        try:
            with (
                self.speaking_as(user),
                contextlib.chdir(self.folder),
                contextlib.redirect_stdout(printed),
            ):
                cli.main(list(arguments), standalone_mode=False)
        finally:
            sys.stdin = before
        return printed.getvalue()

    def command(
        self, user: str, *arguments: str, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `mlflow-governance …` as somebody, with further variables."""
        return self.server.run(user, *arguments, check=check, variables=environment)

    def ask(self, user: str, method: str, path: str, **options: Any) -> requests.Response:
        """A plain HTTP request as somebody; an empty name asks anonymously."""
        known = bool(user) and self.server.auth == "basic"
        auth = (user, self.server.password(user)) if known else None
        return requests.request(method, self.server.uri + path, auth=auth, timeout=60, **options)

    def load(self, uri: str, user: str = "rita") -> Any:
        """Load a model with stock code."""
        import mlflow

        with self.speaking_as(user):
            return mlflow.pyfunc.load_model(uri)

    def tags(self, name: str, version: int = 1) -> dict[str, str]:
        """The tags MLflow shows of a version."""
        with self.speaking_as("sam") as client:
            return dict(client.get_model_version(name, str(version)).tags)

    def location(self, uri: str, *, user: str = "alice") -> str:
        """Where below the artifact destination the files of ``models:/m-…`` are."""
        with self.speaking_as(user) as client:
            found = client.get_logged_model(uri.removeprefix("models:/")).artifact_location
        return str(found).removeprefix("mlflow-artifacts:/")

    def run_of(self, uri: str) -> str:
        """The run that logged ``models:/m-…``."""
        with self.speaking_as("alice") as client:
            return str(client.get_logged_model(uri.removeprefix("models:/")).source_run_id)

    def ledger_verifies(self) -> dict[str, Any]:
        """The whole ledger, verified from the database; the report."""
        flags = ("--home", str(self.server.home), "--backend-store-uri", self.server.backend)
        arguments = ("ledger", "verify", "--json", *flags)
        # The command leaves its connection pool to the end of its process.
        local = self.server.backend.startswith("sqlite")
        printed = (
            self.here("admin", *arguments) if local else self.command("admin", *arguments).stdout
        )
        report: dict[str, Any] = json.loads(printed)
        return report

    def entries(self, act: str) -> list[dict[str, Any]]:
        """The ledger's entries of one kind, oldest first, however long it is by now."""
        found: list[dict[str, Any]] = []
        path, start, page = "/api/2.0/mlflow-governance/ledger/entries", 0, 1000
        while True:
            answer = self.ask("rita", "GET", path, params={"start": start, "count": page})
            read = [json.loads(one["entry"]) for one in answer.json()["entries"]]
            found += [entry for entry in read if entry["act"] == act]
            if len(read) < page:
                return found
            start += page

    def show(self, name: str, version: int = 1) -> dict[str, Any]:
        """Everything the registry says about a version."""
        printed = self.here("sam", "show", f"{name}/{version}", "--json")
        document: dict[str, Any] = json.loads(printed)
        return document

    @property
    def artifacts(self) -> Path:
        """The artifact folder on the server's own disk."""
        return self.folder / "artifacts"


def at_once(world: World, count: int, act: Callable[[Any], object]) -> list[str]:
    """Have alice do one thing several times at the same moment; ``done`` or the error codes."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    outcomes: list[str] = []
    barrier = threading.Barrier(count)

    def run() -> None:
        client = MlflowClient()
        barrier.wait()
        try:
            act(client)
            outcomes.append("done")
        except MlflowException as error:
            outcomes.append(error.error_code)

    with world.speaking_as("alice"):
        threads = [threading.Thread(target=run) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return outcomes


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """Poll until something true comes back, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.RequestException):
            if found := condition():
                return found
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds:.0f} s for {what} in vain")


def sample() -> Any:
    """Two patients."""
    return _data().head(2)


@cache
def _data() -> Any:
    from sklearn.datasets import load_breast_cancer

    return load_breast_cancer(as_frame=True).data.astype("float64")


@cache
def _model(seed: int) -> Any:
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    _, target = load_breast_cancer(return_X_y=True)
    return make_pipeline(StandardScaler(), LogisticRegression(C=1 + seed)).fit(_data(), target)
