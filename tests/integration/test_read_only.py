"""What was accepted is read-only, whichever route writes; what was released is not deleted."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException

from mlflow_governance.errors import Denied
from tests.integration.world import World

PROXY = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture(scope="module")
def accepted(world: World) -> str:
    """A Candidate; its ``models:/m-…`` URI."""
    return world.candidate("fixed", seed=30)


@pytest.fixture(scope="module")
def released(world: World) -> str:
    """A version at Approved."""
    return world.approved("released", seed=31)


@pytest.mark.parametrize("user", ["alice", "admin"])
@pytest.mark.parametrize("prefix", ["/api", "/ajax-api"])
@pytest.mark.parametrize(
    "spelling",
    ["{}/MLmodel", "{}//MLmodel", "{}/added.txt", "{}/code/deep/added.py"],
)
def test_no_upload_reaches_an_accepted_version(
    world: World, accepted: str, user: str, prefix: str, spelling: str
) -> None:
    path = spelling.format(world.location(accepted))
    route = PROXY.replace("/api", prefix, 1)

    answer = world.ask(user, "PUT", f"{route}/{path}", data=b"changed")

    assert answer.status_code == 403, answer.text
    assert "read-only" in answer.text
    assert b"changed" not in (world.artifacts / world.location(accepted) / "MLmodel").read_bytes()


@pytest.mark.parametrize(
    "path",
    ["/{}/MLmodel", "./{}/MLmodel", "{}/../artifacts/MLmodel", "{}/%2e%2e/artifacts/MLmodel"],
)
def test_a_detour_does_not_reach_it_either(world: World, accepted: str, path: str) -> None:
    url = f"{PROXY}/{path.format(world.location(accepted))}"

    assert world.ask("admin", "PUT", url, data=b"changed").status_code in (400, 403)
    assert b"changed" not in (world.artifacts / world.location(accepted) / "MLmodel").read_bytes()


@pytest.mark.parametrize("verb", ["create", "complete", "abort"])
def test_no_upload_in_parts_reaches_it(world: World, accepted: str, verb: str) -> None:
    path = f"{world.location(accepted)}/MLmodel"
    body = {"path": "MLmodel", "num_parts": 1, "upload_id": "1", "parts": []}

    answer = world.ask("alice", "POST", f"/api/2.0/mlflow-artifacts/mpu/{verb}/{path}", json=body)

    # Local storage has no such uploads; storage that has them asks the same guard.
    assert answer.status_code in (400, 403, 501), answer.text


def test_no_link_to_upload_to_it_is_handed_out(world: World, accepted: str) -> None:
    body = {"model_id": accepted.removeprefix("models:/"), "path": "MLmodel"}

    answer = world.ask("alice", "POST", "/api/2.0/mlflow/artifacts/presigned-upload-url", json=body)

    assert answer.status_code in (400, 403, 501), answer.text
    assert "presigned_url" not in answer.text


@pytest.mark.parametrize("user", ["alice", "admin"])
@pytest.mark.parametrize("below", ["", "/MLmodel", "/governance", "/.."])
def test_nothing_of_an_accepted_version_is_deleted(
    world: World, accepted: str, user: str, below: str
) -> None:
    location = world.location(accepted)

    answer = world.ask(user, "DELETE", f"{PROXY}/{location}{below}")

    assert answer.status_code in (400, 403), answer.text
    assert (world.artifacts / location / "MLmodel").is_file()
    assert (world.artifacts / location / "governance").is_dir()


def test_the_folders_above_an_accepted_version_are_not_deleted(world: World, accepted: str) -> None:
    experiment = world.location(accepted).split("/")[0]

    assert world.ask("alice", "DELETE", f"{PROXY}/{experiment}").status_code == 403
    assert world.ask("admin", "DELETE", f"{PROXY}/{experiment}/models").status_code == 403


def test_the_client_does_not_write_into_the_model(
    world: World, accepted: str, tmp_path: Path
) -> None:
    file = tmp_path / "MLmodel"
    file.write_text("changed")
    with world.speaking_as("alice") as client:
        model = accepted.removeprefix("models:/")
        with pytest.raises(requests.HTTPError, match="read-only"):
            client.log_model_artifact(model, str(file))
        with pytest.raises(requests.HTTPError, match="read-only"):
            client.log_model_artifacts(model, str(tmp_path))


def test_submitting_again_for_an_accepted_version_is_denied_not_unreachable(
    world: World, accepted: str
) -> None:
    with pytest.raises(Denied, match="read-only"):
        world.submit("models:/fixed/1")


def test_the_client_does_not_write_into_a_run_whose_folder_is_a_model(
    world: World, tmp_path: Path
) -> None:
    run, uri = model_in_a_run(world, tmp_path, seed=32)
    world.submit(uri, "--name", "in-a-run")
    assert world.tags("in-a-run")["governance.stage"] == "Candidate"
    file = tmp_path / "MLmodel"
    file.write_text("changed")

    with world.speaking_as("alice") as client:
        with pytest.raises(requests.HTTPError, match="read-only"):
            client.log_artifact(run, str(file), "model")
        client.log_artifact(run, str(file), "elsewhere")


def test_a_version_not_accepted_yet_is_still_its_authors(world: World, tmp_path: Path) -> None:
    uri = world.log("mine", seed=33)
    file = tmp_path / "notes.txt"
    file.write_text("more")

    with world.speaking_as("alice") as client:
        client.log_model_artifact(uri.removeprefix("models:/"), str(file))

    assert (world.artifacts / world.location(uri) / "notes.txt").is_file()


def test_the_registrys_own_files_are_nobodys_to_write(world: World) -> None:
    uri = world.log("forged", seed=34)
    forged = f"{world.location(uri)}/governance/forged/v1/release/release_manifest.json"

    answer = world.ask("alice", "PUT", f"{PROXY}/{forged}", data=b"{}")

    assert answer.status_code == 403
    assert "written by the registry alone" in answer.text


@pytest.mark.parametrize("user", ["alice", "admin"])
def test_a_released_version_is_not_deleted(world: World, released: str, user: str) -> None:
    with world.speaking_as(user) as client:
        with pytest.raises(MlflowException, match="may not be deleted"):
            client.delete_model_version("released", "1")
        with pytest.raises(MlflowException, match="delete is refused"):
            client.delete_registered_model("released")
        with pytest.raises(MlflowException, match="rename is refused"):
            client.rename_registered_model("released", "other")
        assert client.get_model_version("released", "1").current_stage == "Approved"


def test_a_version_that_was_never_accepted_may_be_deleted(world: World) -> None:
    world.log("draft", seed=35)

    with world.speaking_as("alice") as client:
        client.delete_model_version("draft", "1")
        client.delete_registered_model("draft")

    deleted = [e for e in entries(world) if e["act"] == "version.deleted"]
    assert deleted[-1]["subject"]["name"] == "draft"


def test_refused_deletions_are_in_the_ledger(world: World, released: str) -> None:
    with world.speaking_as("alice") as client, pytest.raises(MlflowException):
        client.delete_registered_model("released")

    refused = [e for e in entries(world) if e["act"] == "request.refused"]
    assert refused[-1]["subject"]["name"] == "released"
    assert refused[-1]["allowed"] is False


def entries(world: World) -> list[dict[str, object]]:
    import json

    size = world.ask("sam", "GET", "/api/2.0/mlflow-governance/ledger/head").json()["size"]
    start = max(0, size - 50)
    found = world.ask(
        "sam", "GET", "/api/2.0/mlflow-governance/ledger/entries", params={"start": start}
    ).json()
    return [json.loads(entry["entry"]) for entry in found["entries"]]


def model_in_a_run(world: World, tmp_path: Path, *, seed: int) -> tuple[str, str]:
    """A model among a run's own artifacts, as older code has them: run and ``runs:/`` URI."""
    source = world.log(seed=seed)
    with world.speaking_as("alice") as client:
        folder = mlflow.artifacts.download_artifacts(source, dst_path=str(tmp_path / "copy"))
        run = client.create_run(client.get_experiment_by_name("experiment-of-alice").experiment_id)
        client.log_inputs(
            run.info.run_id, client.get_run(world.run_of(source)).inputs.dataset_inputs
        )
        client.log_metric(run.info.run_id, "accuracy", 0.97)
        client.log_artifacts(run.info.run_id, folder, "model")
        client.set_terminated(run.info.run_id)
    return run.info.run_id, f"runs:/{run.info.run_id}/model"
