"""Revoked means nobody gets the bytes: by no name, form, route or role."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException

from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import Denied, InvalidRequest
from tests.integration.world import World

EVERYBODY = ["alice", "sam", "eve", "rita", "admin"]
ROUTE = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture(scope="module")
def revoked(world: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A version that was served, under an alias, and then revoked; its ``models:/m-…`` URI."""
    uri = world.approved("poison", seed=50)
    with world.speaking_as("alice") as client:
        client.set_registered_model_alias("poison", "champion", "1")
        client.set_registered_model_alias("poison", "try", "1")
    assert world.load("models:/poison@champion").metadata is not None
    with world.speaking_as("rita"):
        # Not by its models: URI, on which MLflow adds a file of its own.
        mlflow.artifacts.download_artifacts(
            f"mlflow-artifacts:/{world.location(uri)}", dst_path=str(world.folder / "kept-copy")
        )
    world.here("sam", "revoke", "poison/1", "--reason", "leaks personal data")
    return uri


@pytest.mark.parametrize("user", EVERYBODY)
def test_no_form_of_its_uri_loads(world: World, revoked: str, user: str) -> None:
    for form in ("/1", "/Revoked", "/latest", "@champion", "@try"):
        with pytest.raises(MlflowException, match="DLD-001"):
            world.load(f"models:/poison{form}", user)
    with pytest.raises(MlflowException):  # there is no such stage to find it at any more
        world.load("models:/poison/Approved", user)


@pytest.mark.parametrize("user", EVERYBODY)
def test_no_way_past_the_catalogue_loads(world: World, revoked: str, user: str) -> None:
    with pytest.raises(requests.HTTPError, match="DLD-001"):
        world.load(revoked, user)
    with pytest.raises((MlflowException, requests.HTTPError)):
        world.load(f"runs:/{world.run_of(revoked)}/model", user)
    with pytest.raises((MlflowException, requests.HTTPError)):
        world.load(f"mlflow-artifacts:/{world.location(revoked)}", user)


def _raw(world: World, uri: str) -> str:
    return f"{ROUTE}/{world.location(uri)}/MLmodel"


def _of_the_page(world: World, uri: str) -> str:
    return f"/ajax-api/2.0/mlflow-artifacts/artifacts/{world.location(uri)}//MLmodel"


def _of_the_version(world: World, uri: str) -> str:
    return "/model-versions/get-artifact?name=poison&version=1&path=MLmodel"


def _of_the_logged_model(world: World, uri: str) -> str:
    model = uri.removeprefix("models:/")
    root = f"/ajax-api/2.0/mlflow/logged-models/{model}/artifacts/files"
    return f"{root}?artifact_file_path=MLmodel"


def _of_the_run(world: World, uri: str) -> str:
    # Reaches out of the run's own folder; MLflow refuses that by itself.
    path = f"../../models/{uri.removeprefix('models:/')}/artifacts/MLmodel"
    return f"/get-artifact?run_uuid={world.run_of(uri)}&path={path}"


def _presigned(world: World, uri: str) -> str:
    return f"/api/2.0/mlflow-artifacts/presigned/{world.location(uri)}/MLmodel"


@pytest.mark.parametrize("user", ["alice", "eve", "admin"])
@pytest.mark.parametrize(
    "path", [_raw, _of_the_page, _of_the_version, _of_the_logged_model, _of_the_run, _presigned]
)
def test_no_route_hands_out_its_bytes(
    world: World, revoked: str, path: Callable[[World, str], str], user: str
) -> None:
    answer = world.ask(user, "GET", path(world, revoked))

    assert answer.status_code in (400, 403, 501), f"{answer.status_code}: {answer.text[:300]}"
    assert "flavors" not in answer.text


def test_the_same_files_under_another_name_are_refused(world: World, revoked: str) -> None:
    world.register(revoked, "innocent")

    with pytest.raises(MlflowException, match="DLD-001"):
        world.load("models:/innocent/1", "eve")
    assert "ACC-009" in world.tags("innocent")["governance.missing"]


def test_the_same_content_logged_and_registered_again_is_refused(
    world: World, revoked: str
) -> None:
    kept = world.folder / "kept-copy" / "artifacts"
    shutil.rmtree(kept / "governance")
    with world.speaking_as("eve") as client:
        experiment = client.create_experiment("laundry")
        run = client.create_run(experiment).info.run_id
        client.log_artifacts(run, str(kept), "model")
        mlflow.register_model(f"runs:/{run}/model", "laundered")

    tags = world.tags("laundered")
    assert tags["governance.digest"] == world.tags("poison")["governance.digest"]
    assert "ACC-009" in tags["governance.missing"]
    for user in EVERYBODY:
        with pytest.raises(MlflowException, match="DLD-001"):
            world.load("models:/laundered/1", user)
        with pytest.raises(MlflowException):
            world.load(f"runs:/{run}/model", user)
        answer = world.ask(user, "GET", f"/get-artifact?run_uuid={run}&path=model/MLmodel")
        assert answer.status_code == 403


@pytest.mark.parametrize("stage", ["None", "Candidate", "Staging", "Approved"])
def test_revoked_is_for_ever(world: World, revoked: str, stage: str) -> None:
    with pytest.raises(MlflowException, match="life cycle has no such way"):
        world.move("poison", 1, stage)

    with pytest.raises(Denied, match="life cycle has no such way"):
        world.here("sam", "quarantine", "poison/1", "--reason", "only under investigation")
    assert world.tags("poison")["governance.stage"] == "Revoked"


def test_a_revoked_version_takes_no_evidence_and_no_approval(world: World, revoked: str) -> None:
    from mlflow_governance.errors import Conflict

    with pytest.raises(Conflict, match="revoked for ever"):
        world.canary("poison")
    with pytest.raises(Denied):
        world.approve("poison", "pia", "product")


def test_no_alias_points_at_a_revoked_version_again(world: World, revoked: str) -> None:
    with world.speaking_as("admin") as client, pytest.raises(MlflowException, match="alias"):
        client.set_registered_model_alias("poison", "prod", "1")


@pytest.mark.parametrize("user", ["alice-who-has-no-role", "rita"])
def test_not_everybody_revokes(world: World, user: str) -> None:
    world.candidate_once("cannot-be-revoked-by-all", seed=51)
    if user not in world.server.passwords:
        world.add_user(user)

    with pytest.raises(Denied, match="WDR-005"):
        world.here(user, "revoke", "cannot-be-revoked-by-all/1", "--reason", "because")


def test_a_revocation_needs_a_reason(world: World) -> None:
    world.candidate_once("cannot-be-revoked-by-all", seed=51)

    with pytest.raises(InvalidRequest, match="reason"):
        world.here("sam", "revoke", "cannot-be-revoked-by-all/1", "--reason", " ")


def test_quarantine_blocks_until_it_is_lifted(world: World) -> None:
    uri = world.approved("suspect", seed=52)
    world.register(uri, "suspect-copy")
    assert world.load("models:/suspect/1") is not None

    world.here("sam", "quarantine", "suspect/1", "--reason", "odd answers")
    for user in EVERYBODY:
        with pytest.raises(MlflowException, match="DLD-001"):
            world.load("models:/suspect/1", user)
        with pytest.raises(requests.HTTPError, match="DLD-001"):
            world.load(uri, user)
    with pytest.raises(Denied, match="WDR-005"):
        world.here("pia", "restore", "suspect/1", "--reason", "it was nothing")

    world.here("sam", "restore", "suspect/1", "--reason", "it was nothing")
    assert world.tags("suspect")["governance.stage"] == "Approved"
    assert world.load("models:/suspect/1").metadata is not None


def test_the_revocation_list_names_the_content_and_verifies(
    world: World, revoked: str, tmp_path: Path
) -> None:
    from datetime import UTC, datetime

    from mlflow_governance.evidence.trust import TrustPolicy
    from mlflow_governance.serving.revocations import verify_list

    world.here("rita", "trust", "export", "-o", str(tmp_path / "trust.yaml"))
    trust = TrustPolicy.load(tmp_path / "trust.yaml")
    data = world.ask("", "GET", "/api/2.0/mlflow-governance/revocations").content

    found = verify_list(data, trust, datetime.now(UTC))

    subject = world.show("poison")["digest"]
    assert found.entries[subject].stage == "Revoked"
    assert str(VersionRef("poison", 1)) not in data.decode()


def test_the_refused_downloads_are_in_the_ledger_and_it_verifies(
    world: World, revoked: str
) -> None:
    shown = world.show("poison")
    acts = [entry["act"] for entry in shown["timeline"]]

    assert "download.denied" in acts
    assert world.ledger_verifies()["size"] >= shown["timeline_length"]


def test_refused_downloads_do_not_push_the_revocation_out_of_sight(
    world: World, revoked: str
) -> None:
    for _ in range(101):
        assert world.ask("rita", "GET", _raw(world, revoked)).status_code == 403
    shown = world.show("poison")

    acts = [entry["act"] for entry in shown["timeline"]]
    assert acts[0] == "version.registered"
    assert "version.revoked" in acts
    # Of one person's denials the first are entries, and the rest of the period becomes a number.
    assert 0 < acts.count("download.denied") < 100
