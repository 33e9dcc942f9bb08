"""No route deletes what a governed version stands on, and no tag leads around the guard."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.utils.workspace_context import WorkspaceContext

from tests.integration.test_read_only import entries, model_in_a_run
from tests.integration.world import World

API = "/api/2.0/mlflow"


@pytest.fixture(scope="module")
def approved(world: World) -> str:
    """A released version; its ``models:/m-…`` URI."""
    return world.approved("grounded", seed=40)


@pytest.mark.parametrize("user", ["alice", "admin"])
@pytest.mark.parametrize("prefix", ["/api", "/ajax-api"])
def test_a_released_versions_ground_is_not_deleted(
    world: World, approved: str, user: str, prefix: str
) -> None:
    model = approved.removeprefix("models:/")
    experiment = world.location(approved).split("/")[0]
    api = f"{prefix}/2.0/mlflow"

    for method, path, body in (
        ("POST", f"{api}/experiments/delete", {"experiment_id": experiment}),
        ("DELETE", f"{api}/logged-models/{model}", {}),
    ):
        answer = world.ask(user, method, path, json=body)
        assert answer.status_code == 403, answer.text
        assert "stands on the" in answer.text
        assert "mlflow-governance revoke " in answer.text

    assert world.load("models:/grounded/1") is not None


def test_the_client_is_told_at_once_and_the_refusal_recorded(world: World, approved: str) -> None:
    with world.speaking_as("alice") as client:
        with pytest.raises(MlflowException, match="stands on the logged model") as refusal:
            client.delete_logged_model(approved.removeprefix("models:/"))
        assert refusal.value.error_code == "PERMISSION_DENIED"

    refused: Any = [e for e in entries(world) if e["act"] == "request.refused"]
    assert refused[-1]["subject"]["name"] == "grounded"
    assert refused[-1]["facts"] == {"asked": "delete logged model"}
    world.ledger_verifies()


def test_a_run_with_a_model_in_it_is_not_deleted_before_its_version(
    world: World, tmp_path: Path
) -> None:
    run, uri = model_in_a_run(world, tmp_path, seed=41)
    world.submit(uri, "--name", "run-ground")

    with world.speaking_as("alice") as client:
        with pytest.raises(MlflowException, match=r'delete_model_version\("run-ground", "1"\)'):
            client.delete_run(run)
        client.delete_model_version("run-ground", "1")
        client.delete_run(run)
        client.restore_run(run)
        assert client.get_run(run).info.lifecycle_stage == "active"


def test_what_nothing_stands_on_comes_and_goes(world: World) -> None:
    with world.speaking_as("alice") as client:
        experiment = client.create_experiment("passing")
        run = client.create_run(experiment).info.run_id
        client.delete_run(run)
        client.delete_experiment(experiment)
        client.restore_experiment(experiment)
        assert client.get_experiment(experiment).lifecycle_stage == "active"


@pytest.mark.parametrize("spelling", ["file://{artifacts}/{place}", "mlflow-artifacts:/{place}"])
def test_the_tag_of_a_trace_opens_no_version(world: World, tmp_path: Path, spelling: str) -> None:
    marker = json.dumps({"spans": [], "marker": "planted-in-a-trace"})
    with world.speaking_as("alice") as client:
        source = world.log(seed=42)
        folder = mlflow.artifacts.download_artifacts(source, dst_path=str(tmp_path / "copy"))
        (Path(folder) / "traces.json").write_text(marker)
        run = client.create_run(client.get_experiment_by_name("experiment-of-alice").experiment_id)
        client.log_artifacts(run.info.run_id, folder, "model")
        mlflow.register_model(f"runs:/{run.info.run_id}/model", "trace-bait")
    place = f"{run.info.experiment_id}/{run.info.run_id}/artifacts/model"
    assert world.tags("trace-bait")["governance.stage"] == "None"
    value = spelling.format(artifacts=world.artifacts, place=place)

    told = {user: _read_trace(world, user, value) for user in ("rita", "alice")}

    assert "planted-in-a-trace" not in told["rita"]
    assert "planted-in-a-trace" in told["alice"]  # whose model it is


@pytest.mark.parametrize("mode", ["RESTRICT", "CASCADE", "SET_DEFAULT"])
def test_a_workspace_with_versions_stays_as_it_is(grounded: World, mode: str) -> None:
    answer = grounded.ask("admin", "DELETE", f"/api/3.0/mlflow/workspaces/team?mode={mode}")

    assert answer.status_code == 403, answer.text
    assert "stands on the workspace team" in answer.text


def test_a_workspace_keeps_its_artifacts_where_the_guard_is(wide: World) -> None:
    inside = (wide.artifacts / "1").as_uri()
    for path, method, body in (
        ("workspaces/team", "PATCH", {"default_artifact_root": inside}),
        ("workspaces", "POST", {"name": "side", "default_artifact_root": inside}),
        ("workspaces/team", "PATCH", {"trace_archival_config": {"location": inside}}),
    ):
        answer = wide.ask("admin", method, f"/api/3.0/mlflow/{path}", json=body)
        assert answer.status_code == 403, answer.text
        assert "would be guarded" in answer.text

    created = wide.ask("admin", "POST", "/api/3.0/mlflow/workspaces", json={"name": "plain"})
    assert created.status_code in (200, 201), created.text
    assert wide.ask("admin", "DELETE", "/api/3.0/mlflow/workspaces/plain").status_code == 204


@pytest.fixture(scope="module")
def grounded(wide: World) -> World:
    """A version at None in a workspace."""
    with wide.speaking_as("admin"), WorkspaceContext("team"):
        wide.log("grounded", user="admin", seed=48)
    return wide


def _read_trace(world: World, user: str, location: str) -> str:
    """What somebody gets of a trace of their own after pointing its data elsewhere."""
    trace = _trace(world, user)
    tag = {"key": "mlflow.artifactLocation", "value": location}
    tagged = world.ask(user, "PATCH", f"{API}/traces/{trace}/tags", json=tag)
    assert tagged.status_code == 200, tagged.text
    answer = world.ask(
        user, "GET", "/ajax-api/2.0/mlflow/get-trace-artifact", params={"request_id": trace}
    )
    return answer.text


def _trace(world: World, user: str) -> str:
    """A trace of somebody's own; its id."""
    with world.speaking_as(user) as client:
        experiment = client.create_experiment(f"traces-of-{user}-{uuid.uuid4().hex}")
    info = {
        "trace_id": f"tr-{uuid.uuid4().hex}",
        "trace_location": {
            "type": "MLFLOW_EXPERIMENT",
            "mlflow_experiment": {"experiment_id": experiment},
        },
        "request_time": "2026-01-01T00:00:00Z",
        "state": "OK",
    }
    answer = world.ask(user, "POST", "/api/3.0/mlflow/traces", json={"trace": {"trace_info": info}})
    assert answer.status_code == 200, answer.text
    return str(info["trace_id"])
