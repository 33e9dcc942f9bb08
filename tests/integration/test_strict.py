"""A stricter installation over a database that MLflow used before governance."""

from __future__ import annotations

from collections.abc import Iterator

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from examples.local_server import LocalServer
from mlflow_governance.errors import Conflict, Denied, NotFound
from tests.integration.world import StockServer, World, wait_for


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Used without governance for a while, then governed and strict.

    Models beyond one mebibyte are hashed by the worker.
    """
    folder = tmp_path_factory.mktemp("strict")
    with StockServer(folder, auth="none") as stock:
        before = World(stock)
        for name, seed in (("old", 90), ("older", 91)):
            before.log(name, user="nobody", seed=seed)
        before.move("old", 1, "Production")
        with before.speaking_as("") as client:
            client.set_registered_model_alias("old", "champion", "1")
            client.set_model_version_tag("old", "1", "governance.stage", "Approved")
    home = folder / "home"
    home.mkdir(mode=0o700)
    (home / "config.yaml").write_text("strict_registration: true\nsync_limit_mebibytes: 1\n")
    server = LocalServer(folder)
    server.port, server.uri = stock.port, stock.uri  # as those who use it expect
    with server:
        world = World(server)
        world.populate()
        world.add_role("admin", "evaluator")
        yield world


def versions(world: World, name: str) -> list[str]:
    with world.speaking_as("alice") as client:
        return [v.version for v in client.search_model_versions(f"name = '{name}'")]


def test_a_registration_that_is_not_accepted_is_refused_and_leaves_no_version(
    strict: World,
) -> None:
    with pytest.raises(MlflowException, match="ACC-002") as refusal:
        strict.log("unproved", seed=92)

    assert "the registration of 'unproved' was refused" in str(refusal.value)
    assert "mlflow-governance submit" in str(refusal.value)
    assert versions(strict, "unproved") == []
    answer = strict.ask("sam", "GET", "/api/2.0/mlflow-governance/versions?name=unproved")
    assert answer.json()["total"] == 0


def test_a_registration_with_evidence_is_accepted(strict: World) -> None:
    strict.candidate("proved", seed=93)

    assert strict.tags("proved")["governance.stage"] == "Candidate"


def test_a_large_model_waits_for_the_worker_and_fails_with_the_reasons(strict: World) -> None:
    uri = strict.log_large(seed=94)
    with strict.speaking_as("alice") as client:
        made = mlflow.register_model(uri, "large", await_registration_for=0)
        assert made.status == "PENDING_REGISTRATION"
        with pytest.raises(MlflowException, match="still being verified"):
            client.get_model_version_download_uri("large", "1")

        def failed() -> object:
            found = client.get_model_version("large", "1")
            return found if found.status != "PENDING_REGISTRATION" else None

        done = wait_for(failed, "the worker to judge it")

    assert done.status == "FAILED_REGISTRATION"
    assert "ACC-002" in done.status_message
    assert done.current_stage == "None"
    with pytest.raises(MlflowException):
        strict.load("models:/large/1", "eve")


def test_a_large_model_with_evidence_becomes_ready_by_the_worker(strict: World) -> None:
    uri = strict.log_large(seed=95)

    strict.submit(uri, "--name", "large-proved")  # waits as MLflow's client waits

    with strict.speaking_as("alice") as client:
        done = client.get_model_version("large-proved", "1")
    assert (done.status, done.current_stage) == ("READY", "Candidate")


def test_submitting_a_large_model_that_is_refused_says_why(strict: World) -> None:
    uri = strict.log_large(seed=97)
    strict.here("alice", "keys", "new", "stranger.pem")

    with pytest.raises(Denied, match="ACC-002"):
        strict.here("alice", "submit", uri, "--name", "large-strange", "--key", "stranger.pem")


def test_what_mlflow_knew_before_is_not_served_until_it_is_adopted(strict: World) -> None:
    for form in ("/1", "@champion"):
        with pytest.raises(MlflowException, match="adopt it: mlflow-governance judge old/1"):
            strict.load(f"models:/old{form}", "admin")
    for form in ("/Production", "/latest"):  # words of another registry
        with pytest.raises(MlflowException, match="No versions"):
            strict.load(f"models:/old{form}", "admin")
    with pytest.raises(NotFound, match="not a governed version"):
        strict.show("old")
    with pytest.raises(MlflowException, match="adopt it"):
        strict.move("older", 1, "Production", user="admin")


def test_not_everybody_adopts(strict: World) -> None:
    for user in ("alice-without-roles", "rita"):
        if user not in strict.server.passwords:
            strict.add_user(user)
        with pytest.raises(Denied, match="may not adopt it"):
            strict.here(user, "judge", "older/1")


def test_an_adopted_version_begins_at_none_whatever_it_was_called_before(strict: World) -> None:
    with pytest.raises(Denied, match="does not pass"):
        strict.here("sam", "judge", "older/1")

    tags = strict.tags("older")
    assert "ACC-002" in tags["governance.missing"]
    assert tags["governance.stage"] == "None"
    assert tags["governance.digest"].startswith("sha256:")
    with pytest.raises(MlflowException, match="DLD-002"):
        strict.load("models:/older/1")


def test_an_adopted_version_goes_the_way_of_all_versions(strict: World) -> None:
    with pytest.raises(Denied):
        strict.here("sam", "judge", "old/1")
    assert strict.tags("old")["governance.stage"] == "None"
    with strict.speaking_as("alice") as client:
        assert client.get_model_version("old", "1").current_stage == "None"

    strict.submit("models:/old/1", user="admin")  # who submitted it is unknown: an evaluator

    assert strict.tags("old")["governance.stage"] == "Candidate"
    with pytest.raises(MlflowException, match="DLD-002"):
        strict.load("models:/old@champion")


def test_adopting_twice_or_adopting_nothing_changes_nothing(strict: World) -> None:
    strict.candidate_once("adopted-twice", seed=96)
    before = strict.show("adopted-twice")["uid"]

    strict.here("sam", "judge", "adopted-twice/1")
    with pytest.raises((NotFound, Conflict)):
        strict.here("sam", "judge", "nobody-knows-it/1")

    assert strict.show("adopted-twice")["uid"] == before
