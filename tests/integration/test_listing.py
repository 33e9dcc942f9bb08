"""Names of files follow the same verdict as the files, whichever door lists them."""

from __future__ import annotations

import pytest
import requests

from tests.integration.world import World

LISTINGS = {
    "proxied": "{prefix}/2.0/mlflow-artifacts/artifacts?path={location}",
    "proxied, spelled otherwise": "{prefix}/2.0/mlflow-artifacts/artifacts?path={encoded}",
    "a folder of it": "{prefix}/2.0/mlflow-artifacts/artifacts?path={location}/governance",
    "logged model": "{prefix}/2.0/mlflow/logged-models/{model}/artifacts/directories",
    "a folder of the logged model": "{prefix}/2.0/mlflow/logged-models/{model}/artifacts/"
    "directories?artifact_directory_path=governance",
}


@pytest.fixture(scope="module")
def revoked(world: World) -> str:
    """A revoked version; its ``models:/m-…`` URI."""
    uri = world.candidate("unlisted", seed=45)
    world.here("sam", "revoke", "unlisted/1", "--reason", "an incident")
    return uri


@pytest.fixture(scope="module")
def candidate(world: World) -> str:
    """A Candidate; its ``models:/m-…`` URI."""
    return world.candidate("listed", seed=46)


def _path(world: World, uri: str, listing: str, prefix: str) -> str:
    location = world.location(uri)
    return LISTINGS[listing].format(
        prefix=prefix,
        location=location,
        encoded=location.replace("/models/", "//%2e/models/%2e/"),
        model=uri.removeprefix("models:/"),
    )


@pytest.mark.parametrize("prefix", ["/api", "/ajax-api"])
@pytest.mark.parametrize("listing", LISTINGS)
@pytest.mark.parametrize("user", ["rita", "eve", "alice", "admin"])
def test_a_revoked_version_is_listed_for_nobody(
    world: World, revoked: str, user: str, listing: str, prefix: str
) -> None:
    answer = world.ask(user, "GET", _path(world, revoked, listing, prefix))

    assert answer.status_code == 403, answer.text
    assert "MLmodel" not in answer.text


@pytest.mark.parametrize("listing", LISTINGS)
def test_a_candidate_is_listed_for_whom_its_files_are(
    world: World, candidate: str, listing: str
) -> None:
    path = _path(world, candidate, listing, "/api")

    assert world.ask("rita", "GET", path).status_code == 403
    for user in ("alice", "eve"):
        answer = world.ask(user, "GET", path)
        assert answer.status_code == 200, answer.text
        assert answer.json()["files"]


def test_folders_above_show_that_models_are_there(world: World, revoked: str) -> None:
    location = world.location(revoked)
    above = location.rsplit("/", 2)[0]

    answer = world.ask("rita", "GET", f"/api/2.0/mlflow-artifacts/artifacts?path={above}")

    assert answer.status_code == 200
    assert location.split("/")[-2] in answer.text
    assert "MLmodel" not in answer.text


def test_a_run_that_holds_a_model_lists_its_other_folders(world: World, candidate: str) -> None:
    run = world.run_of(candidate)

    answer = world.ask("alice", "GET", f"/api/2.0/mlflow/artifacts/list?run_id={run}")

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("above", [1, 2, 3])
def test_no_folder_above_is_downloaded_with_it(world: World, revoked: str, above: int) -> None:
    folder = world.location(revoked).rsplit("/", above)[0]

    for user in ("rita", "alice", "admin"):
        answer = world.ask(user, "GET", f"/api/2.0/mlflow-artifacts/artifacts/{folder}")
        assert answer.status_code in (400, 403), answer.text


def test_the_client_is_told_why(world: World, revoked: str) -> None:
    with (
        world.speaking_as("alice") as client,
        pytest.raises(requests.HTTPError, match="may not be downloaded"),
    ):
        client.list_logged_model_artifacts(revoked.removeprefix("models:/"))
