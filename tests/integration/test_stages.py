"""Stages through the unmodified client."""

from __future__ import annotations

import pytest
from mlflow.exceptions import MlflowException

from mlflow_governance.errors import Denied
from tests.integration.world import World, at_once


def test_the_way_of_a_version_through_the_stock_client(world: World) -> None:
    world.candidate("way", seed=1)
    with world.speaking_as("alice") as client:
        assert client.get_model_version("way", "1").current_stage == "Candidate"
        assert world.move("way", 1, "staging") == "Staging"
        with pytest.raises(MlflowException) as refusal:
            client.transition_model_version_stage("way", "1", "Production")
    text = str(refusal.value)
    assert "decision" in text
    assert "mlflow-governance attest way/1 canary" in text
    assert "mlflow-governance approve way/1 --as security" in text

    world.canary("way")
    world.approve("way", "sam", "security")
    world.approve("way", "pia", "product")

    assert world.move("way", 1, "Production") == "Approved"
    with world.speaking_as("rita") as client:
        (latest,) = client.get_latest_versions("way", stages=["Approved"])
        assert latest.version == "1"
        tags = client.get_model_version("way", "1").tags
    assert tags["governance.stage"] == "Approved"
    assert tags["governance.digest"].startswith("sha256:")


def test_a_transition_to_the_present_stage_succeeds_and_writes_nothing(world: World) -> None:
    world.candidate("still", seed=2)
    before = world.ledger_verifies()["size"]

    assert world.move("still", 1, "Candidate") == "Candidate"

    assert world.ledger_verifies()["size"] == before


def test_of_eight_transitions_at_once_exactly_one_wins(world: World) -> None:
    world.candidate("race", seed=3)

    outcomes = at_once(
        world, 8, lambda client: client.transition_model_version_stage("race", "1", "Staging")
    )

    # Whoever comes after the winner's commit finds the stage as asked for, which is a success
    # that writes nothing; whoever judged before it gets 409. The ledger has one transition.
    assert "done" in outcomes
    assert set(outcomes) <= {"done", "RESOURCE_CONFLICT"}
    moves = [e for e in world.show("race")["timeline"] if e["after"].get("stage") == "Staging"]
    assert len(moves) == 1


@pytest.mark.parametrize("stage", ["Live", "", "Deleted_Internal"])
def test_an_unknown_stage_is_refused_at_once(world: World, stage: str) -> None:
    world.candidate(f"unknown-{stage or 'empty'}", seed=4)

    with pytest.raises(MlflowException):
        world.move(f"unknown-{stage or 'empty'}", 1, stage)


@pytest.mark.parametrize("version", ["99", "0", "x"])
def test_a_version_that_does_not_exist_is_not_found(world: World, version: str) -> None:
    with world.speaking_as("alice") as client, pytest.raises(MlflowException) as refusal:
        client.transition_model_version_stage("nothing-here", version, "Staging")

    assert refusal.value.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


@pytest.mark.parametrize("user", ["alice", "admin"])
@pytest.mark.parametrize("key", ["governance.stage", "GOVERNANCE.digest", " governance.x"])
def test_nobody_writes_the_tags_of_the_registry(world: World, user: str, key: str) -> None:
    name = f"tags-{user}"
    with world.speaking_as(user) as client:
        try:
            client.get_registered_model(name)
        except MlflowException:
            world.register(world.log(user=user, seed=5), name, user=user)
        with pytest.raises(MlflowException, match="written by the registry alone"):
            client.set_model_version_tag(name, "1", key, "Approved")
        with pytest.raises(MlflowException, match="written by the registry alone"):
            client.delete_model_version_tag(name, "1", "governance.stage")
        assert client.get_model_version(name, "1").tags["governance.stage"] == "None"


def test_an_administrator_is_not_exempt(world: World) -> None:
    world.candidate("admin-wants", seed=6)

    world.move("admin-wants", 1, "Staging", user="admin")
    with pytest.raises(MlflowException, match="may not go from Staging to Approved"):
        world.move("admin-wants", 1, "Approved", user="admin")


def test_protected_aliases_point_only_at_what_is_approved(world: World) -> None:
    world.candidate("aliased", seed=7)
    with world.speaking_as("alice") as client:
        with pytest.raises(MlflowException, match="alias"):
            client.set_registered_model_alias("aliased", "champion", "1")
        client.set_registered_model_alias("aliased", "latest-try", "1")
        assert client.get_model_version_by_alias("aliased", "latest-try").version == "1"


def test_a_role_of_another_workspace_counts_nowhere(world: World) -> None:
    world.candidate_once("elsewhere", seed=31)
    world.add_user("walter")
    with world.speaking_as("admin"):
        from mlflow.server.auth.client import AuthServiceClient

        auth = AuthServiceClient(world.server.uri)
        role = auth.create_role("team-of-his-own", "security")
        auth.assign_role("walter", role.id)

    with pytest.raises(Denied):
        world.here("walter", "quarantine", "elsewhere/1", "--reason", "because I can")

    assert world.tags("elsewhere")["governance.stage"] == "Candidate"


def test_hidden_sources_are_not_guessed_by_searching_for_them(world: World) -> None:
    with world.speaking_as("rita") as client, pytest.raises(MlflowException, match="source_path"):
        client.search_model_versions("source_path LIKE 'models:/m-1%'")
