"""A real governed server with people, keys and real models, for the integration tests."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from examples.local_server import LocalServer
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


class World:
    """One server and what people do with it."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self.folder = server.folder

    def populate(self) -> None:
        """People, keys and trust."""
        for name, roles in PEOPLE.items():
            self.server.add_user(name, *roles)
        for key, purposes in _KEYS.items():
            path = self.folder / f"{key}.pem"
            generate_key_pair(path)
            public = PublicKey.from_pem(path.with_suffix(".pub").read_bytes())
            wanted = frozenset(Purpose(word) for word in purposes.split(","))
            add_signer(self.server.home / "trust.yaml", Signer(key, public, wanted))
        (self.folder / "tests.json").write_text(json.dumps({"result": "PASSED"}))
        (self.folder / "card.yaml").write_text(_CARD)

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
                info = mlflow.sklearn.log_model(
                    _model(seed), name="model", registered_model_name=name
                )
        return str(info.model_uri)

    def register(self, uri: str, name: str, *, user: str = "alice") -> int:
        """Register with the stock client; returns the version."""
        import mlflow

        with self.speaking_as(user):
            return int(mlflow.register_model(uri, name).version)

    def submit(self, uri: str, *flags: str, user: str = "alice") -> None:
        """Evidence for a model, signed by the training pipeline, tests by CI."""
        self.command(
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
        self.command(
            "alice",
            *("attest", f"{name}/{version}", "canary", "--result", result, "--key", "canary.pem"),
        )

    def approve(self, name: str, user: str, role: str, version: int = 1) -> None:
        """Somebody's word."""
        self.command(user, "approve", f"{name}/{version}", "--as", role, "--reason", "looked at it")

    def command(
        self, user: str, *arguments: str, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `mlflow-governance …` as somebody."""
        return self.server.run(user, *arguments, check=check, **environment)

    def ledger_verifies(self) -> dict[str, Any]:
        """The whole ledger, verified from the database; the report."""
        done = self.command(
            "admin",
            *("ledger", "verify", "--json", "--home", str(self.server.home)),
            *("--backend-store-uri", self.server.backend),
        )
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def show(self, name: str, version: int = 1) -> dict[str, Any]:
        """Everything the registry says about a version."""
        done = self.command("sam", "show", f"{name}/{version}", "--json")
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    @property
    def artifacts(self) -> Path:
        """The artifact folder on the server's own disk."""
        return self.folder / "artifacts"


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
