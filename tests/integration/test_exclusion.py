"""Names that are excluded from governance, and the record of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException

from examples.local_server import LocalServer
from tests.integration.world import World


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server that leaves ``scratch-*`` to MLflow."""
    folder = tmp_path_factory.mktemp("wide")
    home = folder / "home"
    home.mkdir(mode=0o700)
    (home / "config.yaml").write_text('ungoverned_models: ["scratch-*"]\n')
    with LocalServer(folder) as server:
        world = World(server)
        world.populate()
        yield world


def entries(world: World) -> list[dict[str, Any]]:
    found = world.ask("sam", "GET", "/api/2.0/mlflow-governance/ledger/entries?count=1000")
    return [json.loads(row["entry"]) for row in found.json()["entries"]]


def test_an_excluded_model_is_mlflows_own_and_recorded(wide: World) -> None:
    wide.log("scratch-one", user="admin", seed=401)

    with wide.speaking_as("admin") as client:
        assert client.get_model_version("scratch-one", "1").current_stage == "None"
        moved = client.transition_model_version_stage("scratch-one", "1", "Production")
        assert moved.current_stage == "Production"
        (latest,) = client.get_latest_versions("scratch-one", ["Production"])
        assert latest.version == "1"
        client.set_registered_model_alias("scratch-one", "champion", "1")
        assert client.get_model_version_by_alias("scratch-one", "champion").version == "1"
    assert wide.load("models:/scratch-one/1", "admin").metadata is not None
    (recorded,) = [e for e in entries(wide) if e["act"] == "model.ungoverned"]
    assert recorded["subject"]["name"] == "scratch-one"
    assert recorded["facts"] == {"pattern": "scratch-*"}
    started = next(e for e in entries(wide) if e["act"] == "registry.started")
    assert started["facts"]["ungoverned_models"] == ["scratch-*"]
    with wide.speaking_as("admin") as client:
        client.delete_model_version("scratch-one", "1")
        client.delete_registered_model("scratch-one")
    assert [e for e in entries(wide) if e["act"] == "model.deleted"]


def test_a_governed_model_does_not_become_excluded_by_renaming_or_copying(wide: World) -> None:
    uri = wide.log("governed", user="alice", seed=402)
    with wide.speaking_as("admin") as client:
        with pytest.raises(MlflowException, match="not both governed, or both excluded"):
            client.rename_registered_model("governed", "scratch-governed")
        client.create_registered_model("empty")
        with pytest.raises(MlflowException, match="not both governed"):
            client.rename_registered_model("empty", "scratch-empty")
        with pytest.raises(MlflowException, match="DLD"):
            client.copy_model_version("models:/governed/1", "scratch-copy")
        with pytest.raises(MlflowException, match="DLD"):
            mlflow.register_model(uri, "scratch-same")
    for form in ("models:/governed/1", uri):
        with pytest.raises((MlflowException, requests.HTTPError), match="DLD"):
            wide.load(form, "admin")


def test_revoked_content_stays_blocked_under_an_excluded_name(wide: World) -> None:
    uri = wide.candidate("poison", seed=403)
    with wide.speaking_as("alice"):
        mlflow.register_model(uri, "scratch-poison")
    assert wide.load("models:/scratch-poison/1", "alice").metadata is not None

    wide.here("sam", "revoke", "poison/1", "--reason", "leaks")

    for form in ("models:/scratch-poison/1", uri):
        for user in ("alice", "admin"):
            with pytest.raises((MlflowException, requests.HTTPError), match="DLD-001"):
                wide.load(form, user)
