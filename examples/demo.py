"""The whole story in one run: a governed MLflow server, real models, four people.

`make demo` runs it; `make demo KEEP=1` leaves the server running.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from examples.local_server import COMMAND, LocalServer, free_port
from examples.telling import answered, attempt, command, expect, title, typed, wait_for
from mlflow_governance.outbox.signing import new_secret

ROOT = Path(__file__).resolve().parent.parent
MODEL = "tumour"
_started = time.monotonic()


def main() -> int:
    """Tell the story; exit code 0 when every act ended as it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the server running")
    keep = parser.parse_args().keep
    folder = Path(tempfile.mkdtemp(prefix="mlflow-governance-demo-"))
    server = LocalServer(folder)
    receiver = Receiver(folder)
    try:
        Story(server, receiver).tell()
    finally:
        if keep:
            server.stay(f"the server goes on at {server.uri}/governance")
        else:
            receiver.stop()
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)
    return 0


class Receiver:
    """`python -m webhooks.receiver`: keeps a serving cache free of withdrawn models."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.cache = folder / "serving-cache"
        self.secret = folder / "webhook.secret"
        self._log = folder / "receiver.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers."""
        self.cache.mkdir(mode=0o700, exist_ok=True)
        command = [sys.executable, "-m", "webhooks.receiver", "--port", str(self.port)]
        command += ["--cache", str(self.cache), "--secret-file", str(self.secret)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
            )
        wait_for(lambda: requests.get(self.url("/health"), timeout=2).ok, "the receiver", 30)

    def url(self, path: str) -> str:
        """An address of the receiver."""
        return f"http://127.0.0.1:{self.port}{path}"

    def purges(self) -> Any:
        """What it purged so far."""
        return requests.get(self.url("/purges"), timeout=5).json()["purges"]

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


class Story:
    """Each method is one act; each prints what a person typed and what came back."""

    def __init__(self, server: LocalServer, receiver: Receiver) -> None:
        self.server = server
        self.receiver = receiver
        self.folder = server.folder
        self.run_uri = ""

    def tell(self) -> None:
        """All acts in order."""
        self.a_governed_server_starts()
        self.a_model_is_logged_and_refused()
        self.evidence_makes_it_a_candidate()
        self.nobody_approves_alone()
        self.two_people_approve()
        self.it_serves()
        self.tampering_is_noticed()
        self.revocation_reaches_everybody()
        self.the_ledger_proves_it()

    def a_governed_server_starts(self) -> None:
        """First start, people, keys, trust, a webhook receiver."""
        title("A governed MLflow starts (SQLite, local files, embedded policy engine)")
        self.receiver.secret.parent.mkdir(parents=True, exist_ok=True)
        self.receiver.secret.write_text(new_secret())
        self.receiver.secret.chmod(0o600)
        self.receiver.start()
        self.server.home.mkdir(mode=0o700)
        (self.server.home / "config.yaml").write_text(
            "auth: basic\n"
            "webhooks:\n"
            f"- {{name: serving-cache, url: '{self.receiver.url('/events')}', "
            f"secret_file: {self.receiver.secret}}}\n"
        )
        typed("admin", "mlflow-governance server")
        self.server.start()
        answered("\n".join(first_start_lines(self.server.log.read_text())))
        typed("admin", "mlflow-governance users add sam --role security   (and alice, pia, rita)")
        self.server.add_user("alice", "security")
        self.server.add_user("sam", "security")
        self.server.add_user("pia", "product")
        self.server.add_user("rita")
        for key, purposes in (
            ("training", "signature,provenance,sbom,model-card,dataset"),
            ("ci", "test-result"),
            ("canary", "canary"),
        ):
            self.server.run("admin", "keys", "new", f"{key}.pem")
            arguments = ("trust", "add", key, "--key", f"{key}.pub", "--for", purposes)
            self.command("admin", *arguments, "--home", str(self.server.home))

    def a_model_is_logged_and_refused(self) -> None:
        """Stock MLflow code, no evidence."""
        title("Alice trains and registers with the stock client; nobody can serve it")
        typed("alice", f'mlflow.sklearn.log_model(model, registered_model_name="{MODEL}")')
        with self.speaking_as("alice"):
            self.run_uri = train()
            attempt("alice", f'mlflow.pyfunc.load_model("models:/{MODEL}/1")', load, "1")
            attempt("alice", promote_text(1, "Approved"), promote, 1, "Approved")

    def evidence_makes_it_a_candidate(self) -> None:
        """Submit signs, describes and attaches; the gate accepts."""
        title("Alice submits the evidence; the version becomes a Candidate by itself")
        (self.folder / "tests.json").write_text(
            json.dumps({"result": "PASSED", "passedTests": ["accuracy", "adversarial"]})
        )
        (self.folder / "model_card.yaml").write_text(MODEL_CARD)
        self.command(
            "alice",
            *("submit", f"models:/{MODEL}/1", "--key", "training.pem"),
            *("--test-result", "tests.json", "--test-key", "ci.pem"),
            *("--model-card", "model_card.yaml"),
        )
        with self.speaking_as("alice"):
            attempt("alice", promote_text(1, "Staging"), promote, 1, "Staging")

    def nobody_approves_alone(self) -> None:
        """Self-approval is refused, though Alice holds the role."""
        title("Alice, who holds the security role, may not approve her own model")
        self.command(
            "alice", "approve", f"{MODEL}/1", "--as", "security", "--reason", "trust me", expect=4
        )

    def two_people_approve(self) -> None:
        """A canary, two people, two roles: Approved."""
        title("A canary passes, Sam and Pia approve, and the version is released")
        self.command(
            "alice",
            *("attest", f"{MODEL}/1", "canary", "--result", "PROCEED", "--key", "canary.pem"),
        )
        self.command(
            "sam", "approve", f"{MODEL}/1", "--as", "security", "--reason", "scans are clean"
        )
        with self.speaking_as("alice"):
            attempt("alice", promote_text(1, "Approved"), promote, 1, "Approved")
        self.command(
            "pia", "approve", f"{MODEL}/1", "--as", "product", "--reason", "better than the old one"
        )
        with self.speaking_as("alice"):
            attempt("alice", promote_text(1, "Approved"), promote, 1, "Approved", fails=False)
        with self.speaking_as("rita"):
            typed("rita", f'mlflow.artifacts.list_artifacts("models:/{MODEL}/1/governance/…")')
            answered(list_release())

    def it_serves(self) -> None:
        """The guard verifies, then runs MLflow's own server on the verified copy."""
        title("Rita serves it behind the guard and asks for a prediction")
        trust = self.folder / "trust.yaml"
        self.command("rita", "trust", "export", "-o", str(trust))
        port = free_port()
        serve = ["mlflow", "models", "serve", "-m", "{model}", "--env-manager", "local"]
        arguments = ["guard", f"models:/{MODEL}/Approved", "--", *serve, "--port", str(port)]
        typed("rita", "mlflow-governance " + " ".join(arguments))
        with (self.folder / "serving.log").open("wb") as log:
            process = subprocess.Popen(
                [*COMMAND, *arguments], cwd=self.folder, env=self.serving(), stdout=log, stderr=log
            )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: requests.get(f"{url}/ping", timeout=2).ok, "the model server", 90)
            answer = requests.post(f"{url}/invocations", json=sample(), timeout=30)
            typed("rita", f"curl -d @patient.json {url}/invocations")
            answered(answer.text)
            expect(answer.ok, "the model should answer")
        finally:
            process.terminate()
            process.wait(60)

    def tampering_is_noticed(self) -> None:
        """One byte flipped on the registry's own disk."""
        title("Somebody flips one byte on the artifact disk; serving refuses to start")
        found = sorted((self.folder / "artifacts").glob("**/artifacts/model.*"))
        path = found[0]
        original = path.read_bytes()
        path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
        self.command(
            "rita",
            *("guard", f"models:/{MODEL}/Approved", "--", "mlflow", "models", "serve"),
            *("-m", "{model}"),
            expect=3,
            # A host that never served it; one that did goes on with its verified copy.
            environment=self.serving() | {"MLFLOW_GOVERNANCE_CACHE": str(self.folder / "fresh")},
        )
        path.write_bytes(original)

    def revocation_reaches_everybody(self) -> None:
        """Stage, ledger, event, cache, copies."""
        title("Sam revokes it: no form of it loads, no copy of it, and the cache is purged")
        self.command("sam", "revoke", f"{MODEL}/1", "--reason", "leaks personal data")
        with self.speaking_as("rita"):
            for form in ("1", "Approved", "latest"):
                call = f'mlflow.pyfunc.load_model("models:/{MODEL}/{form}")'
                attempt("rita", call, load, form)
        with self.speaking_as("alice"):
            typed("alice", f'mlflow.register_model("{self.run_uri}", "innocent-name")')
            register_again(self.run_uri)
            call = 'mlflow.pyfunc.load_model("models:/innocent-name/1")'
            attempt("alice", call, load_uri, "models:/innocent-name/1")
        wait_for(self.receiver.purges, "the revocation to reach the receiver", 30)
        typed("rita", f"curl {self.receiver.url('/purges')}")
        answered(json.dumps(self.receiver.purges()))

    def the_ledger_proves_it(self) -> None:
        """Everything above, proved from the database alone."""
        title("Every act, allowed or refused, is in the ledger, and the ledger verifies")
        self.command("sam", "history", f"{MODEL}/1")
        home, database = str(self.server.home), self.server.backend
        self.command("admin", "ledger", "verify", "--home", home, "--backend-store-uri", database)
        print(
            f"\nDone in {time.monotonic() - _started:.0f} s. Look further: make demo KEEP=1 leaves "
            "the server running\nwith its page at /governance; docs/architecture.md; "
            "mlflow-governance --help"
        )

    def command(self, user: str, *arguments: str, **options: Any) -> None:
        """One of our commands, as somebody."""
        command(self.server, user, *arguments, **options)

    def serving(self) -> dict[str, str]:
        """The environment of a serving process."""
        return {
            **os.environ,
            **self.server.environment("rita"),
            "MLFLOW_GOVERNANCE_TRUST": str(self.folder / "trust.yaml"),
            "MLFLOW_GOVERNANCE_CACHE": str(self.receiver.cache),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    @contextmanager
    def speaking_as(self, user: str) -> Iterator[None]:
        """The stock client in this process speaks as somebody."""
        os.environ.update(self.server.environment(user))
        yield


def train() -> str:
    """A real model on a real data set that scikit-learn ships; returns the model's URI."""
    import mlflow
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame, target = load_breast_cancer(return_X_y=True, as_frame=True)
    frame = frame.astype("float64")
    train_x, test_x, train_y, test_y = train_test_split(frame, target, random_state=7)
    mlflow.set_experiment("tumours")
    with mlflow.start_run():
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(train_x, train_y)
        mlflow.log_input(mlflow.data.from_pandas(train_x, name="breast-cancer-wisconsin"))
        mlflow.log_metric("accuracy", model.score(test_x, test_y))
        info = mlflow.sklearn.log_model(
            model, name="model", input_example=train_x.head(2), registered_model_name=MODEL
        )
    return str(info.model_uri)


def sample() -> dict[str, Any]:
    """One patient."""
    from sklearn.datasets import load_breast_cancer

    frame = load_breast_cancer(as_frame=True).data.astype("float64").head(1)
    return {"dataframe_split": frame.to_dict(orient="split")}


def load(form: str) -> Any:
    """Load a version as stock code does."""
    return load_uri(f"models:/{MODEL}/{form}")


def load_uri(uri: str) -> Any:
    """Load any model URI as stock code does."""
    import mlflow

    return mlflow.pyfunc.load_model(uri)


def promote(version: int, stage: str) -> str:
    """Transition with the stock client."""
    from mlflow import MlflowClient

    moved = MlflowClient().transition_model_version_stage(MODEL, str(version), stage)
    return f"current_stage={moved.current_stage}"


def promote_text(version: int, stage: str) -> str:
    """What a person types for it."""
    return f'MlflowClient().transition_model_version_stage("{MODEL}", {version}, "{stage}")'


def register_again(uri: str) -> None:
    """The same bytes under another name."""
    import mlflow

    mlflow.register_model(uri, "innocent-name")


def list_release() -> str:
    """The files a release carries."""
    import mlflow

    root = f"models:/{MODEL}/1/governance/{MODEL}/v1/release"
    return "\n".join(item.path for item in mlflow.artifacts.list_artifacts(root) or [])


def first_start_lines(log: str) -> list[str]:
    """What the server said it created."""
    lines = log.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith("created on")), None)
    if start is None:
        return []
    return [lines[start], *(line for line in lines[start + 1 :] if line.startswith("  /"))]


MODEL_CARD = """\
purpose: Flag breast tumours that look malignant from measurements of cell nuclei.
audience: Pathologists, as a second opinion.
limits: Trained on 426 patients of one hospital; not for other kinds of tissue.
risks: A missed malignant tumour delays treatment.
safeguards: Every result is read by a pathologist; the threshold favours sensitivity.
risk_tier: high
owner: alice
"""

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")  # MLflow's own, about stages and integer columns
    sys.exit(main())
