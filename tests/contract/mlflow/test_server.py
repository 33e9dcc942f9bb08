"""A governed server on the installed MLflow, asked by that version's own client."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from typing import Any

import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException

from examples.local_server import LocalServer

NAME = "churn"
pytestmark = [
    # The stock client warns about itself in many places.
    pytest.mark.filterwarnings("ignore:::mlflow"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def constant(model_input: list[str]) -> list[str]:
    """The smallest model there is."""
    return ["no"] * len(model_input)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with LocalServer(tmp_path_factory.mktemp("compat")) as running:
        yield running


@pytest.fixture(scope="module")
def speaking(server: LocalServer) -> Iterator[Any]:
    """The stock client speaks as the administrator."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment("admin").items():
            patch.setenv(name, value)
        mlflow.set_tracking_uri(server.uri)
        yield mlflow.MlflowClient()
        os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(scope="module")
def version(speaking: Any) -> int:
    with mlflow.start_run(experiment_id="0"):
        logged = mlflow.pyfunc.log_model(
            name="model", python_model=constant, pip_requirements=["mlflow"]
        )
    return int(mlflow.register_model(logged.model_uri, NAME).version)


def test_a_model_is_registered_and_stands_at_the_beginning(speaking: Any, version: int) -> None:
    found = speaking.get_model_version(NAME, str(version))

    assert found.current_stage == "None"
    assert found.tags["governance.stage"] == "None"


def test_nobody_leaps_to_the_end(speaking: Any, version: int) -> None:
    with pytest.raises(MlflowException, match="governance: ") as caught:
        speaking.transition_model_version_stage(NAME, str(version), "Approved")

    assert caught.value.error_code in ("PERMISSION_DENIED", "RESOURCE_CONFLICT")
    assert speaking.get_model_version(NAME, str(version)).current_stage == "None"


def test_an_alias_does_not_point_where_it_may_not(speaking: Any, version: int) -> None:
    with pytest.raises(MlflowException, match="governance: "):
        speaking.set_registered_model_alias(NAME, "champion", str(version))


def test_nobody_logged_in_gets_no_byte(server: LocalServer, version: int) -> None:
    for path in ("/api/2.0/mlflow-artifacts/artifacts/x", "/get-artifact?run_id=x&path=x"):
        assert requests.get(server.uri + path, timeout=30).status_code == 401


def test_another_person_may_not_load_what_nobody_released(
    server: LocalServer, version: int
) -> None:
    rita = {"username": "rita", "password": secrets.token_urlsafe(16)}
    made = requests.post(
        f"{server.uri}/api/2.0/mlflow/users/create",
        json=rita,
        auth=("admin", server.password("admin")),
        timeout=30,
    )
    assert made.ok
    query = f"name={NAME}&version={version}"
    doors = (
        f"/model-versions/get-artifact?{query}&path=MLmodel",
        f"/api/2.0/mlflow/model-versions/get-download-uri?{query}",
    )

    for door in doors:
        auth = (rita["username"], rita["password"])
        answer = requests.get(server.uri + door, auth=auth, timeout=30)
        assert answer.status_code == 403, door
        assert answer.json()["message"].startswith("governance: ")


def test_nobody_runs_programs_on_the_host(server: LocalServer) -> None:
    answer = requests.post(
        f"{server.uri}/ajax-api/3.0/mlflow/assistant/message",
        json={"message": "cat keys/ledger.pem"},
        auth=("admin", server.password("admin")),
        timeout=30,
    )

    assert answer.status_code == 403
    assert "runs programs on the server's host" in answer.json()["message"]


def test_the_server_names_nothing_it_does_not_know(server: LocalServer, version: int) -> None:
    assert "nobody knows" not in server.log.read_text()
