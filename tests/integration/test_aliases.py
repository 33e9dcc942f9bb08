"""Aliases are moved by swaps that policy allows, and a swap can be taken back."""

from __future__ import annotations

import json

import pytest
from mlflow.exceptions import MlflowException

from mlflow_governance.errors import Conflict, Denied, NotFound
from tests.integration.world import World, at_once

ALIAS = "/api/2.0/mlflow/registered-models/alias"


@pytest.fixture(scope="module")
def swapped(world: World) -> World:
    """A model with two Approved versions."""
    world.approved("swapped", seed=301)
    uri = world.log(seed=302)
    world.submit(uri, "--name", "swapped")
    world.move("swapped", 2, "Staging")
    world.canary("swapped", 2)
    world.approve("swapped", "sam", "security", 2)
    world.approve("swapped", "pia", "product", 2)
    world.move("swapped", 2, "Approved")
    return world


def rows(world: World, name: str) -> dict[str, tuple[int | None, int | None]]:
    listed = json.loads(world.here("rita", "alias", "list", name, "--json"))
    return {row["alias"]: (row["version"], row["before"]) for row in listed}


def pointed(world: World, name: str, alias: str) -> int:
    with world.speaking_as("rita") as client:
        return int(client.get_model_version_by_alias(name, alias).version)


def test_a_swap_is_taken_back_by_one_command(swapped: World) -> None:
    with swapped.speaking_as("alice") as client:
        client.set_registered_model_alias("swapped", "champion", "1")
        client.set_registered_model_alias("swapped", "champion", "2")
    assert rows(swapped, "swapped")["champion"] == (2, 1)

    told = swapped.here("alice", "alias", "rollback", "swapped", "champion", "--reason", "slower")

    assert "points at version 1 again" in told
    assert pointed(swapped, "swapped", "champion") == 1
    assert rows(swapped, "swapped")["champion"] == (1, 2)
    moves = [
        (entry["facts"]["action"]["from_version"], entry["facts"]["action"]["to_version"])
        for entry in swapped.show("swapped")["timeline"]
        if entry["act"] == "alias.moved"
    ]
    assert moves[-1] == (2, 1)
    assert swapped.show("swapped")["timeline"][-1]["reason"] == "slower"


def test_a_swap_from_a_version_the_alias_has_left_does_not_happen(swapped: World) -> None:
    swapped.here("alice", "alias", "set", "swapped/1", "canary", "--reason", "first")

    late = swapped.ask(
        "alice",
        "POST",
        ALIAS,
        json={"name": "swapped", "alias": "canary", "version": "2"},
        headers={"X-Governance-From-Version": "7"},
    )

    assert late.status_code == 409, late.text
    assert "does not point at version 7 any more" in late.json()["message"]
    assert pointed(swapped, "swapped", "canary") == 1


def test_of_many_swaps_at_once_each_knows_where_it_came_from(swapped: World) -> None:
    swapped.here("alice", "alias", "set", "swapped/1", "production", "--reason", "start")
    before = swapped.ledger_verifies()["size"]

    outcomes = at_once(
        swapped, 6, lambda c: c.set_registered_model_alias("swapped", "production", "2")
    )

    assert set(outcomes) <= {"done", "RESOURCE_CONFLICT"}
    assert "done" in outcomes
    version, origin = rows(swapped, "swapped")["production"]
    assert (version, origin) == (2, 1)
    assert swapped.ledger_verifies()["size"] == before + outcomes.count("done")


def test_a_rollback_to_what_was_revoked_meanwhile_is_refused(world: World) -> None:
    world.approved("withdrawn-before", seed=303)
    uri = world.log(seed=304)
    world.submit(uri, "--name", "withdrawn-before")
    with world.speaking_as("alice") as client:
        client.set_registered_model_alias("withdrawn-before", "try", "1")
        client.set_registered_model_alias("withdrawn-before", "try", "2")
    world.here("sam", "revoke", "withdrawn-before/1", "--reason", "poisoned")

    with pytest.raises(Denied, match="ALI-002"):
        world.here("alice", "alias", "rollback", "withdrawn-before", "try", "--reason", "back")

    assert pointed(world, "withdrawn-before", "try") == 2


def test_a_rollback_needs_something_to_return_to(swapped: World) -> None:
    with pytest.raises(NotFound, match="never had an alias"):
        swapped.here("alice", "alias", "rollback", "swapped", "nothing", "--reason", "x")
    swapped.here("alice", "alias", "set", "swapped/1", "fresh", "--reason", "x")
    with pytest.raises(Conflict, match="pointed at no version before"):
        swapped.here("alice", "alias", "rollback", "swapped", "fresh", "--reason", "x")


@pytest.mark.parametrize("alias", ["Champion", "\uff43hampion", "CHAMPION", "prod-eu"])
def test_a_protected_alias_is_protected_however_it_is_spelled(world: World, alias: str) -> None:
    world.candidate_once("spelled", seed=305)
    with world.speaking_as("admin") as client, pytest.raises(MlflowException) as refusal:
        client.set_registered_model_alias("spelled", alias, "1")

    assert refusal.value.error_code in ("PERMISSION_DENIED", "INVALID_PARAMETER_VALUE")
    assert rows(world, "spelled") == {}


def test_an_alias_of_a_deleted_version_is_forgotten(world: World) -> None:
    uri = world.log("dropped", seed=306)
    world.register(uri, "dropped")
    with world.speaking_as("alice") as client:
        client.set_registered_model_alias("dropped", "try", "1")
        client.set_registered_model_alias("dropped", "try", "2")
        client.delete_model_version("dropped", "1")

    assert rows(world, "dropped") == {"try": (2, None)}


def test_a_name_used_again_starts_no_new_history(world: World) -> None:
    uri = world.log("again", seed=307)
    first = world.show("again")["uid"]
    with world.speaking_as("alice") as client:
        client.delete_model_version("again", "1")
        client.delete_registered_model("again")
    world.register(uri, "again")

    timeline = world.show("again")["timeline"]
    assert timeline[0]["subject"]["uid"] == first
    assert timeline[0]["act"] == "version.registered"
    assert "version.deleted" in [entry["act"] for entry in timeline]
    assert timeline[-1]["subject"]["uid"] == world.show("again")["uid"] != first
