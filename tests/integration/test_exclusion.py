"""Names that are excluded from governance, and the record of it."""

from __future__ import annotations

from typing import Any

import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException

from tests.integration.world import World


def test_an_excluded_model_is_mlflows_own_and_recorded(world: World) -> None:
    world.log("scratch-one", user="admin", seed=401)

    def of_it(act: str) -> list[dict[str, Any]]:
        return [e for e in world.entries(act) if e["subject"]["name"] == "scratch-one"]

    with world.speaking_as("admin") as client:
        assert client.get_model_version("scratch-one", "1").current_stage == "None"
        moved = client.transition_model_version_stage("scratch-one", "1", "Production")
        assert moved.current_stage == "Production"
        (latest,) = client.get_latest_versions("scratch-one", ["Production"])
        assert latest.version == "1"
        client.set_registered_model_alias("scratch-one", "champion", "1")
        assert client.get_model_version_by_alias("scratch-one", "champion").version == "1"
    assert world.load("models:/scratch-one/1", "admin").metadata is not None
    (recorded,) = of_it("model.ungoverned")
    assert recorded["facts"] == {"pattern": "scratch-*"}
    started = world.entries("registry.started")[0]
    assert started["facts"]["ungoverned_models"] == ["scratch-*"]
    with world.speaking_as("admin") as client:
        client.delete_model_version("scratch-one", "1")
        client.delete_registered_model("scratch-one")
    assert of_it("model.deleted")


def test_a_governed_model_does_not_become_excluded_by_renaming_or_copying(world: World) -> None:
    uri = world.log("governed-one", user="alice", seed=402)
    with world.speaking_as("admin") as client:
        with pytest.raises(MlflowException, match="not both governed, or both excluded"):
            client.rename_registered_model("governed-one", "scratch-governed")
        client.create_registered_model("nothing-yet")
        with pytest.raises(MlflowException, match="not both governed"):
            client.rename_registered_model("nothing-yet", "scratch-empty")
        with pytest.raises(MlflowException, match="DLD"):
            client.copy_model_version("models:/governed-one/1", "scratch-copy")
        with pytest.raises(MlflowException, match="DLD"):
            mlflow.register_model(uri, "scratch-same")
    for form in ("models:/governed-one/1", uri):
        with pytest.raises((MlflowException, requests.HTTPError), match="DLD"):
            world.load(form, "admin")


def test_revoked_content_stays_blocked_under_an_excluded_name(world: World) -> None:
    uri = world.candidate("excluded-poison", seed=403)
    with world.speaking_as("alice"):
        mlflow.register_model(uri, "scratch-poisoned")
    assert world.load("models:/scratch-poisoned/1", "alice").metadata is not None

    world.here("sam", "revoke", "excluded-poison/1", "--reason", "leaks")

    for form in ("models:/scratch-poisoned/1", uri):
        for user in ("alice", "admin"):
            with pytest.raises((MlflowException, requests.HTTPError), match="DLD-001"):
                world.load(form, user)
