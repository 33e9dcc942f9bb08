"""A laptop: no login. Models come in; nothing that needs a person can be done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mlflow.exceptions import MlflowException

from examples.local_server import LocalServer
from mlflow_governance.errors import Unauthenticated
from tests.integration.world import World

API = "/api/2.0/mlflow-governance"


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with LocalServer(tmp_path_factory.mktemp("laptop"), auth="none") as server:
        world = World(server)
        world.trust_keys()
        yield world


def test_a_model_registers_and_cannot_be_served(laptop: World) -> None:
    uri = laptop.log("local", seed=80)

    with laptop.speaking_as("me") as client:
        assert client.get_model_version("local", "1").current_stage == "None"
    assert "ACC-002" in laptop.tags("local")["governance.missing"]
    for form in ("1", "None", "latest"):
        with pytest.raises(MlflowException, match="DLD-002"):
            laptop.load(f"models:/local/{form}")
    # Everybody is the same nobody here, so the run goes on being its author's.
    assert laptop.load(uri).metadata is not None


def test_evidence_makes_a_candidate_and_carries_it_to_staging(laptop: World) -> None:
    laptop.candidate("proved", seed=81)

    assert laptop.move("proved", 1, "Staging") == "Staging"
    assert laptop.load("models:/proved/1").metadata is not None


@pytest.mark.parametrize("role", ["security", "product"])
def test_nobody_approves(laptop: World, role: str) -> None:
    laptop.candidate_once("unapproved", seed=82)

    with pytest.raises(Unauthenticated):
        laptop.approve("unapproved", "me", role)
    assert laptop.show("unapproved")["approvals"] == []


def test_nobody_releases_revokes_or_moves_a_protected_alias(laptop: World) -> None:
    laptop.candidate_once("unapproved", seed=82)
    laptop.move("unapproved", 1, "Staging")
    laptop.canary("unapproved")

    with pytest.raises(MlflowException, match="PRO-013"):
        laptop.move("unapproved", 1, "Approved")
    with pytest.raises(MlflowException, match="alias"), laptop.speaking_as("me") as client:
        client.set_registered_model_alias("unapproved", "champion", "1")
    for verb in ("revoke", "quarantine"):
        body = {"name": "unapproved", "version": 1, "reason": "because"}
        answer = laptop.ask("", "POST", f"{API}/{verb}", json=body)
        assert answer.status_code in (401, 403)
        assert "WDR-004" in answer.text
    assert laptop.tags("unapproved")["governance.stage"] == "Staging"


def test_a_claimed_name_is_not_believed(laptop: World) -> None:
    body = {"name": "unapproved", "version": 1, "role": "security", "reason": "I am sam"}
    for headers in ({"Authorization": "Basic c2FtOnNhbQ=="}, {"X-Forwarded-User": "sam"}):
        answer = laptop.ask("", "POST", f"{API}/approvals", json=body, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["code"] == "UNAUTHENTICATED"


def test_the_page_is_there_without_a_login(laptop: World) -> None:
    assert laptop.ask("", "GET", "/governance").status_code == 200
