"""Plain MLflow on a host that has a trust policy: no line of its code mentions governance."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from examples.local_server import free_port
from mlflow_governance.core import digest
from mlflow_governance.errors import GovernanceError, VerificationError
from mlflow_governance.evidence.hashing import hash_directory
from mlflow_governance.plugin import models_repository
from tests.integration.world import World, sample, wait_for

MLFLOW = [sys.executable, "-m", "mlflow"]


class Client:
    """A host that loads models: MLflow, this package installed, and perhaps a trust policy."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.cache = folder / "cache"
        self.variables = {
            "MLFLOW_GOVERNANCE_TRUST": str(folder / "trust.yaml"),
            "MLFLOW_GOVERNANCE_CACHE": str(self.cache),
        }
        world.here("rita", "trust", "export", "-o", str(folder / "trust.yaml"))

    @contextmanager
    def speaking(self, user: str = "rita", **more: str) -> Iterator[Any]:
        """This process becomes the host; yields an MlflowClient."""
        with pytest.MonkeyPatch.context() as patch, self.world.speaking_as(user) as client:
            for name, value in {**self.variables, **more}.items():
                patch.setenv(name, value)
            yield client

    def pyfunc(self, uri: str, **more: str) -> Any:
        import mlflow

        with self.speaking(**more):
            return mlflow.pyfunc.load_model(uri)

    def environment(self, **more: str) -> dict[str, str]:
        own = self.world.server.environment("rita")
        # MLflow starts its scoring server by its bare name.
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, **own, **self.variables, "PATH": path, **more}

    def mlflow(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*MLFLOW, *arguments],
            cwd=self.folder,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def served(world: World) -> str:
    """A version at Approved, read by everybody and changed by no test."""
    uri = world.approved("client", seed=170)
    with world.speaking_as("alice") as client:
        client.set_registered_model_alias("client", "champion", "1")
    return uri


@pytest.fixture
def host(world: World, served: str, tmp_path: Path) -> Client:
    return Client(world, tmp_path)


@contextmanager
def tampered(world: World, uri: str) -> Iterator[str]:
    """One bit of the largest file changed on the disk the server shares; yields its name."""
    root = world.artifacts / world.location(uri)
    path = max(root.glob("model.*"), key=lambda found: found.stat().st_size)
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    yield path.name
    path.write_bytes(before)


@pytest.mark.parametrize("form", ["/1", "/Approved", "/latest", "@champion"])
def test_plain_load_model_loads_the_verified_copy(host: Client, form: str) -> None:
    model = host.pyfunc(f"models:/client{form}")

    assert len(model.predict(sample())) == 2
    (kept,) = host.cache.glob("*/model")
    assert digest.hex_of(hash_directory(kept).digest) == kept.parent.name


def test_a_flavors_own_loader_does_too(host: Client) -> None:
    import mlflow
    from sklearn.pipeline import Pipeline

    with host.speaking():
        assert isinstance(mlflow.sklearn.load_model("models:/client@champion"), Pipeline)
    assert len(list(host.cache.glob("*/model"))) == 1


def test_code_that_names_the_server_itself_needs_one_setting_alone(host: Client) -> None:
    import mlflow

    with host.speaking(), pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI")
        mlflow.set_tracking_uri(host.world.server.uri)
        assert mlflow.pyfunc.load_model("models:/client/1")


def test_one_changed_byte_on_the_shared_disk_is_refused_by_the_name_of_its_file(
    world: World, host: Client
) -> None:
    uri = world.approved("client-flipped", seed=171)
    with tampered(world, uri) as name:
        assert world.load("models:/client-flipped/1")  # who does not check loads it
        with pytest.raises(VerificationError, match=f"file changed: {name}"):
            host.pyfunc("models:/client-flipped/1")
    assert host.pyfunc("models:/client-flipped/1")
    with tampered(world, uri):  # what was verified is here, whatever became of the disk
        assert host.pyfunc("models:/client-flipped/1")


def test_a_version_not_yet_approved_is_refused(world: World, host: Client) -> None:
    import mlflow

    world.candidate("client-early", seed=172)

    for user in ("rita", "eve"):  # even where the registry lets an evaluator have the bytes
        with host.speaking(user), pytest.raises(GovernanceError, match="Candidate"):
            mlflow.pyfunc.load_model("models:/client-early/1")


def test_a_revoked_version_is_refused_although_it_was_loaded_before(
    world: World, host: Client
) -> None:
    world.approved("client-gone", seed=173)
    assert host.pyfunc("models:/client-gone/1")

    world.here("sam", "revoke", "client-gone/1", "--reason", "leaks personal data")

    with pytest.raises(GovernanceError, match="DLD-001"):
        host.pyfunc("models:/client-gone/1")
    assert host.pyfunc("models:/client/1")  # brings the list that names it
    with pytest.raises(VerificationError, match="Revoked"):
        host.pyfunc("models:/client-gone/1", MLFLOW_GOVERNANCE_OFFLINE="true")


def test_without_the_registry_a_verified_model_goes_on(host: Client) -> None:
    assert host.pyfunc("models:/client/Approved")

    away = {"MLFLOW_GOVERNANCE_OFFLINE": "true", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    assert len(host.pyfunc("models:/client/Approved", **away).predict(sample())) == 2


def test_a_logged_model_is_refused_with_what_to_do_and_still_written(
    world: World, host: Client, served: str
) -> None:
    import mlflow
    from mlflow.models import Model, get_model_info

    with host.speaking("alice"):
        for load in (mlflow.pyfunc.load_model, get_model_info, Model.load):
            with pytest.raises(VerificationError, match="no registered version") as caught:
                load(served)
            assert f"mlflow-governance submit {served} --name" in caught.value.advice
    with host.speaking("alice") as client:
        mine = world.log(seed=176)
        client.log_model_artifact(mine.removeprefix("models:/"), __file__)
        listed = {info.path for info in mlflow.artifacts.list_artifacts(mine)}
        assert {"MLmodel", Path(__file__).name} <= listed
        # In MLflow 3 these are the same bytes.
        with pytest.raises(mlflow.exceptions.MlflowException):
            mlflow.pyfunc.load_model(f"runs:/{world.run_of(mine)}/model")


def test_submitting_works_on_a_host_that_trusts(world: World, host: Client) -> None:
    uri = world.log(seed=174)
    with host.speaking("alice"):
        world.submit(uri, "--name", "client-submitted")
    assert world.show("client-submitted")["stage"] == "Candidate"


def test_metadata_parts_and_copies_come_from_the_verified_files(
    host: Client, served: str, tmp_path: Path
) -> None:
    import mlflow
    from mlflow.models import Model, get_model_info

    uri = "models:/client@champion"
    (tmp_path / "copy").mkdir()
    with host.speaking():
        assert get_model_info(uri).flavors["sklearn"]
        assert Model.load(f"{uri}/MLmodel").flavors["python_function"]
        assert "scikit-learn" in mlflow.artifacts.load_text(f"{uri}/requirements.txt")
        assert Path(mlflow.pyfunc.get_model_dependencies(uri)).is_file()
        listed = {info.path for info in mlflow.artifacts.list_artifacts(uri)}
        copy = mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path / "copy"))
        with pytest.raises(VerificationError, match="is evidence"):
            mlflow.artifacts.download_artifacts(f"{uri}/governance/evidence/model.sig")
        model = mlflow.pyfunc.load_model(uri, dst_path=str(tmp_path / "copy"))
    assert len(model.predict(sample())) == 2
    assert "MLmodel" in listed
    assert "governance" not in listed
    assert {path.name for path in Path(copy).iterdir()} == {*listed, "registered_model_meta"}


def test_what_other_loaders_ask_the_storage_for_comes_through_here_too(host: Client) -> None:
    from mlflow.utils.model_utils import _get_flavor_configuration_from_uri

    with host.speaking():
        found = _get_flavor_configuration_from_uri(
            "models:/client/1", "sklearn", logging.getLogger("mlflow")
        )
        assert found["pickled_model"].startswith("model.")
    assert list(host.cache.glob("*/model"))


def test_mlflow_models_serve_answers_from_the_verified_copy(host: Client) -> None:
    port = free_port()
    command = ("models", "serve", "-m", "models:/client/Approved", "--env-manager", "local")
    with (host.folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [*MLFLOW, *command, "--port", str(port)],
            env=host.environment(),
            cwd=host.folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        ping = f"http://127.0.0.1:{port}/ping"
        wait_for(lambda: requests.get(ping, timeout=2).ok, "the model server", 90)
        body = {"dataframe_split": json.loads(sample().to_json(orient="split"))}
        answer = requests.post(f"http://127.0.0.1:{port}/invocations", json=body, timeout=30)
    finally:
        process.terminate()
        process.wait(30)
    assert len(answer.json()["predictions"]) == 2
    assert list(host.cache.glob("*/model"))


def test_mlflow_models_serve_ends_with_our_words_when_the_model_does_not_verify(
    world: World, host: Client
) -> None:
    with tampered(world, world.approved("client-bad", seed=175)) as name:
        command = ("models", "serve", "-m", "models:/client-bad/1", "--env-manager", "local")
        done = host.mlflow(*command, "--port", str(free_port()))

    assert done.returncode != 0
    assert "models:/client-bad/1 may not be loaded" in done.stderr
    assert f"file changed: {name}" in done.stderr


def test_mlflow_models_predict_scores_a_batch(host: Client) -> None:
    batch, scores = host.folder / "batch.csv", host.folder / "scores.json"
    sample().to_csv(batch, index=False)
    command = ("models", "predict", "-m", "models:/client@champion", "--env-manager", "local")
    done = host.mlflow(*command, "-i", str(batch), "-t", "csv", "-o", str(scores))

    assert done.returncode == 0, done.stderr
    assert len(json.loads(scores.read_text())["predictions"]) == 2
    assert list(host.cache.glob("*/model"))


def test_without_the_setting_it_is_stock_mlflow_that_says_so_once(
    world: World, host: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models_repository, "_said", threading.Event())
    with caplog.at_level(logging.WARNING, "mlflow_governance"):
        for _ in range(2):
            assert len(world.load("models:/client/Approved").predict(sample())) == 2

    (said,) = [record.getMessage() for record in caplog.records]
    assert "models:/client/Approved is loaded without being verified" in said
    assert "MLFLOW_GOVERNANCE_TRUST" in said
    assert not host.cache.exists()
