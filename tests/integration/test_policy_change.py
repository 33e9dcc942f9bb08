"""A changed policy: what was released under the old one counts no longer, unless it is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from examples.local_server import LocalServer
from mlflow_governance.core.resources import folder
from mlflow_governance.errors import Denied, VerificationError
from mlflow_governance.serving import ServingSettings, load_model
from tests.integration.world import World


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> LocalServer:
    made = LocalServer(tmp_path_factory.mktemp("policy"))
    made.home.mkdir(mode=0o700)
    shutil.copytree(folder("policies"), made.home / "policies")
    configure(made)
    return made


def configure(server: LocalServer, *accepted: str) -> None:
    settings = {"policies": "policies", "accepted_policy_digests": list(accepted)}
    (server.home / "config.yaml").write_text(json.dumps(settings))


def tighten(server: LocalServer) -> None:
    """The organisation blocks vulnerabilities a little earlier."""
    path = server.home / "policies" / "registry" / "config" / "data.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "blocking_cvss": 6.9}))


def in_force(world: World) -> dict[str, object]:
    found: dict[str, object] = world.ask("rita", "GET", "/api/2.0/mlflow-governance/policy").json()
    return found


def served(world: World, name: str, tmp_path: Path) -> object:
    """Load as a serving host with a cache of its own does."""
    world.here("rita", "trust", "export", "-o", str(tmp_path / "trust.yaml"))
    variables = {
        "MLFLOW_GOVERNANCE_TRUST": str(tmp_path / "trust.yaml"),
        "MLFLOW_GOVERNANCE_CACHE": str(tmp_path / "cache"),
        "MLFLOW_TRACKING_URI": world.server.uri,
    }
    with world.speaking_as("rita"):
        return load_model(f"models:/{name}/1", settings=ServingSettings.from_env(variables))


def test_a_release_lives_as_long_as_its_policy_counts(server: LocalServer, tmp_path: Path) -> None:
    world = World(server)
    with server:
        world.populate()
        world.approved("first", seed=110)
        world.approved("second", seed=111)
        old = str(in_force(world)["policy_digest"])
        assert served(world, "first", tmp_path) is not None
    tighten(server)

    with server:
        new = in_force(world)
        assert new["policy_digest"] != old
        the_old_release_is_refused(world, tmp_path)
        it_is_judged_and_approved_again(world, tmp_path)
    configure(server, old)

    with server:
        assert in_force(world)["accepted_policy_digests"] == sorted(
            [old, str(new["policy_digest"])]
        )
        for name in ("first", "second"):
            assert world.load(f"models:/{name}/1") is not None
            assert served(world, name, tmp_path) is not None


def the_old_release_is_refused(world: World, tmp_path: Path) -> None:
    for name in ("first", "second"):
        with pytest.raises(MlflowException, match="DLD-004"):
            world.load(f"models:/{name}/1", "admin")
    with pytest.raises((Denied, VerificationError)):
        served(world, "first", tmp_path)


def it_is_judged_and_approved_again(world: World, tmp_path: Path) -> None:
    # The approvals were given under the old policy, too.
    with pytest.raises(Denied, match="does not pass"):
        world.here("alice", "judge", "first/1")
    world.approve("first", "sam", "security")
    world.approve("first", "pia", "product")
    world.here("alice", "judge", "first/1")

    assert world.load("models:/first/1") is not None
    assert served(world, "first", tmp_path) is not None
    with pytest.raises(MlflowException, match="DLD-004"):
        world.load("models:/second/1")
