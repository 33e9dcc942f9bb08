"""Registration through the unmodified client: no work is lost, and nothing unjudged is served."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException

from mlflow_governance.errors import Denied
from tests.integration.test_read_only import model_in_a_run
from tests.integration.world import World


@pytest.fixture(scope="module")
def plain(world: World) -> str:
    """A version at None: logged and registered as every tutorial does, without evidence."""
    return world.log("plain", seed=20)


def test_a_registration_without_evidence_exists_and_says_what_is_missing(
    world: World, plain: str
) -> None:
    with world.speaking_as("alice") as client:
        version = client.get_model_version("plain", "1")

    assert (version.current_stage, version.status) == ("None", "READY")
    assert version.tags["governance.stage"] == "None"
    assert version.tags["governance.digest"].startswith("sha256:")
    for code in ("ACC-001", "ACC-002", "ACC-003", "ACC-004", "ACC-006", "ACC-007"):
        assert code in version.tags["governance.missing"]
    assert "fix: mlflow-governance submit" in version.tags["governance.missing"]
    assert version.tags["governance.next"].endswith(
        "mlflow-governance submit models:/plain/1 --key KEY.pem"
    )


@pytest.mark.parametrize("user", ["alice", "rita", "sam", "admin"])
@pytest.mark.parametrize("uri", ["models:/plain/1", "models:/plain/None", "models:/plain/latest"])
def test_nobody_serves_what_was_not_accepted(world: World, plain: str, user: str, uri: str) -> None:
    with pytest.raises(MlflowException, match="DLD-002 a version in stage None is not served"):
        world.load(uri, user)


@pytest.mark.parametrize("user", ["rita", "sam", "admin"])
def test_others_do_not_reach_it_past_the_catalogue_either(
    world: World, plain: str, user: str
) -> None:
    with pytest.raises(requests.HTTPError, match="DLD-002"):
        world.load(plain, user)
    # On this way the stock client replaces the server's message by one of its own.
    with pytest.raises((MlflowException, requests.HTTPError), match=r"DLD-002|Failed to download"):
        world.load(f"runs:/{world.run_of(plain)}/model", user)


def test_its_author_goes_on_working_with_the_run(world: World, plain: str) -> None:
    for uri in (plain, f"runs:/{world.run_of(plain)}/model"):
        assert world.load(uri, "alice").metadata is not None


def test_an_evaluator_may_look_at_it(world: World, plain: str) -> None:
    assert world.load("models:/plain/1", "eve").metadata is not None


def test_evidence_brought_later_makes_it_a_candidate(world: World) -> None:
    world.log("later", seed=21)
    assert world.tags("later")["governance.stage"] == "None"

    world.submit("models:/later/1")

    tags = world.tags("later")
    assert (tags["governance.stage"], tags["governance.missing"]) == ("Candidate", "")


def test_evidence_comes_later_to_plain_files_of_a_run_too(world: World, tmp_path: Path) -> None:
    _, uri = model_in_a_run(world, tmp_path, seed=24)
    world.register(uri, "m-ore")  # which is no logged model, though it begins like one

    world.submit("models:/m-ore/1")

    assert world.tags("m-ore")["governance.stage"] == "Candidate"


def test_a_model_registered_with_evidence_becomes_a_candidate_by_itself(world: World) -> None:
    uri = world.log(seed=22)
    world.submit(uri, "--no-register", "--name", "complete")

    version = world.register(uri, "complete")

    with world.speaking_as("alice") as client:
        assert client.get_model_version("complete", str(version)).current_stage == "Candidate"


def test_evidence_signed_by_nobody_trusted_is_no_evidence(world: World) -> None:
    uri = world.log(seed=23)
    world.here("alice", "keys", "new", "stranger.pem")
    flags = ("--key", "stranger.pem", "--model-card", "card.yaml", "--test-result", "tests.json")
    for named in (uri, "models:/strange/1"):  # for the first time, and for one that is there
        with pytest.raises(Denied) as refusal:
            world.here("alice", "submit", named, "--name", "strange", *flags)
        assert "  - ACC-002 " in refusal.value.message
        assert "      fix: mlflow-governance " in refusal.value.message

    assert world.show("strange")["digest"].startswith("sha256:")
    assert world.tags("strange")["governance.stage"] == "None"
    assert "ACC-002" in world.tags("strange")["governance.missing"]


def test_prompts_go_on_as_before(world: World) -> None:
    before = world.ledger_verifies()["size"]
    with world.speaking_as("alice") as client:
        mlflow.genai.register_prompt("greeting", "Hello {{name}}")
        client.register_prompt("greeting", "Good day {{name}}")
        mlflow.genai.set_prompt_alias("greeting", "production", 2)
        assert mlflow.genai.load_prompt("prompts:/greeting/1").template == "Hello {{name}}"
        assert mlflow.genai.load_prompt("prompts:/greeting@production").version == 2
        client.set_prompt_version_tag("greeting", "1", "language", "en")
        client.delete_prompt_alias("greeting", "production")
        client.delete_prompt_version("greeting", "2")
        assert [p.name for p in client.search_prompts("name = 'greeting'")] == ["greeting"]

    assert world.ledger_verifies()["size"] == before


def test_a_prompt_cannot_become_a_model_nor_a_model_a_prompt(world: World, plain: str) -> None:
    with world.speaking_as("alice") as client:
        mlflow.genai.register_prompt("stays-prompt", "Hello")
        with pytest.raises(MlflowException):
            client.delete_registered_model_tag("stays-prompt", "mlflow.prompt.is_prompt")
        with pytest.raises(MlflowException):
            client.set_registered_model_tag("plain", "mlflow.prompt.is_prompt", "true")


def test_a_version_that_is_not_permitted_cannot_be_copied(world: World, plain: str) -> None:
    with world.speaking_as("rita") as client, pytest.raises(MlflowException, match="DLD-002"):
        client.copy_model_version("models:/plain/1", "copied")

    with world.speaking_as("rita") as client:
        assert client.search_model_versions("name = 'copied'") == []


def test_a_copy_of_a_released_version_is_judged_for_itself(world: World) -> None:
    world.approved("original", seed=24)

    with world.speaking_as("rita") as client:
        copy = client.copy_model_version("models:/original/1", "copy")
        tags = client.get_model_version("copy", "1").tags

    # The same bytes with the same evidence; what people approved, they approved for the original.
    assert copy.current_stage == "Candidate"
    assert tags["governance.stage"] == "Candidate"
    assert tags["governance.digest"] == world.tags("original")["governance.digest"]
    assert world.show("copy")["submitter"] == "rita"
    assert world.load("models:/original/1") is not None
    with pytest.raises(MlflowException, match="DLD-002"):
        world.load("models:/copy/1")


def test_tags_of_the_registry_given_at_registration_are_dropped(world: World) -> None:
    uri = world.log(seed=25)
    with world.speaking_as("alice"):
        made = mlflow.register_model(
            uri, "pretends", tags={"governance.stage": "Approved", "team": "blue"}
        )
    tags = world.tags("pretends", int(made.version))
    assert (tags["governance.stage"], tags["team"]) == ("None", "blue")
