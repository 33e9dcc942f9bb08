"""MLflow's workspaces: names are their own in each, content is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from tests.integration.world import World


@contextmanager
def workspace(name: str) -> Iterator[None]:
    mlflow.set_workspace(name)
    try:
        yield
    finally:
        mlflow.set_workspace(None)
        os.environ.pop("MLFLOW_WORKSPACE", None)  # MLflow leaves it there for child processes


def test_one_name_in_two_workspaces_is_two_models(wide: World) -> None:
    wide.log("twin", user="admin", seed=404)
    with workspace("team"):
        wide.log("twin", user="admin", seed=405)
        with wide.speaking_as("admin") as client:
            assert client.get_model_version("twin", "1").tags["governance.stage"] == "None"
            client.delete_model_version("twin", "1")
            client.delete_registered_model("twin")

    with wide.speaking_as("admin") as client:
        assert client.get_model_version("twin", "1").current_stage == "None"


def test_a_path_in_another_workspace_leads_to_its_own_bytes_alone(wide: World) -> None:
    with workspace("team"):
        uri = wide.log("secretive", user="admin", seed=406)
        location = wide.location(uri, user="admin")
    route = "/api/2.0/mlflow-artifacts/artifacts"

    for path in (
        f"{location}/MLmodel",
        f"workspaces/team/{location}/MLmodel",
        f"x/../workspaces/team/{location}/MLmodel",
        f"workspaces/default/../team/{location}/MLmodel",
    ):
        for user in ("sam", "admin"):
            answer = wide.ask(user, "GET", f"{route}/{path}")
            assert answer.status_code in (400, 403, 404), (user, path, answer.text)


def test_revoked_content_is_blocked_in_every_workspace(wide: World) -> None:
    uri = wide.log(user="admin", seed=407)
    wide.submit(uri, "--name", "poison", user="admin")
    folder = wide.folder / "copied"
    with wide.speaking_as("admin"):
        mlflow.artifacts.download_artifacts(uri, dst_path=str(folder))
    (folder / "registered_model_meta").unlink()  # the stock client's own, not of the content
    with workspace("team"), wide.speaking_as("admin"):
        mlflow.set_experiment("copies")
        with mlflow.start_run() as run:
            mlflow.log_artifacts(str(folder), "model")
        copy = f"runs:/{run.info.run_id}/model"
        mlflow.register_model(copy, "harmless")
        wide.load(copy, "admin")

    wide.here("sam", "revoke", "poison/1", "--reason", "leaks")

    with workspace("team"):
        with pytest.raises(MlflowException, match="DLD-001"):
            wide.load("models:/harmless/1", "admin")
        with pytest.raises(MlflowException, match="Failed to download"):  # all MLflow says of it
            wide.load(copy, "admin")
