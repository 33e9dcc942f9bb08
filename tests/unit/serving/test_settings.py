from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_governance.errors import ConfigurationError, InvalidRequest
from mlflow_governance.serving.settings import Requirement, ServingSettings
from mlflow_governance.serving.uri import ModelUri
from tests.unit.serving.builders import POLICY


def test_the_environment_says_everything() -> None:
    found = ServingSettings.from_env(
        {
            "MLFLOW_GOVERNANCE_TRUST": "/etc/trust.yaml",
            "MLFLOW_GOVERNANCE_CACHE": "/var/cache/models",
            "MLFLOW_GOVERNANCE_POLICY_DIGESTS": f" {POLICY}, ",
            "MLFLOW_GOVERNANCE_OFFLINE": "True",
            "MLFLOW_TRACKING_URI": "https://mlflow.example.com/",
        }
    )

    assert found.trust == Path("/etc/trust.yaml")
    assert found.cache_dir == Path("/var/cache/models")
    assert found.accepted_policy_digests == {POLICY}
    assert found.offline
    assert found.require == set(Requirement)
    assert found.revocations_url == (
        "https://mlflow.example.com/api/2.0/mlflow-governance/revocations"
    )
    assert found.policy_url == "https://mlflow.example.com/api/2.0/mlflow-governance/policy"


def test_the_registrys_word_alone_may_be_enough() -> None:
    env = {"MLFLOW_GOVERNANCE_TRUST": "t", "MLFLOW_GOVERNANCE_REQUIRE": "verification-summary, "}

    assert ServingSettings.from_env(env).require == {Requirement.SUMMARY}
    # What names nothing takes nothing away.
    assert ServingSettings.from_env(env | {"MLFLOW_GOVERNANCE_REQUIRE": " , "}).require == set(
        Requirement
    )


def test_a_registry_of_its_own_is_asked_before_the_tracking_server() -> None:
    env = {
        "MLFLOW_GOVERNANCE_TRUST": "t",
        "MLFLOW_TRACKING_URI": "http://tracking",
        "MLFLOW_REGISTRY_URI": "http://registry",
    }

    assert ServingSettings.from_env(env).server == "http://registry"


def test_a_store_without_a_server_is_asked_nothing() -> None:
    env = {"MLFLOW_GOVERNANCE_TRUST": "t", "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    found = ServingSettings.from_env(env)

    assert (found.server, found.revocations_url, found.policy_url) == ("", "", "")


@pytest.mark.parametrize("text", ["/media/list.json", "file:///media/list.json"])
def test_the_list_may_be_a_file(text: str) -> None:
    found = ServingSettings.from_env(
        {"MLFLOW_GOVERNANCE_TRUST": "t", "MLFLOW_GOVERNANCE_REVOCATIONS": text}
    )

    assert found.revocations_file == Path("/media/list.json")
    assert found.revocations_url == ""


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"MLFLOW_GOVERNANCE_TRUST": "t", "MLFLOW_GOVERNANCE_OFFLINE": "maybe"},
        {"MLFLOW_GOVERNANCE_TRUST": "t", "MLFLOW_GOVERNANCE_REQUIRE": "nothing"},
        {"MLFLOW_GOVERNANCE_TRUST": "t", "MLFLOW_GOVERNANCE_POLICY_DIGESTS": "sha256:1"},
    ],
)
def test_a_missing_or_malformed_variable_is_an_error_with_advice(env: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ServingSettings.from_env(env)
    assert caught.value.advice


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("models:/churn/3", ModelUri("churn", version=3)),
        ("models:/churn/003", ModelUri("churn", version=3)),
        ("models:/churn/Production", ModelUri("churn", stage="Approved")),
        ("models:/churn/approved", ModelUri("churn", stage="Approved")),
        ("models:/churn/LATEST", ModelUri("churn")),
        ("models:/churn@champion", ModelUri("churn", alias="champion")),
        ("models:/a@b/3", ModelUri("a@b", version=3)),
        ("models:/a@b@champion", ModelUri("a@b", alias="champion")),
    ],
)
def test_every_spelling_of_a_version_is_read(text: str, found: ModelUri) -> None:
    assert ModelUri.parse(text) == found
    assert ModelUri.parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "", "churn/3", "runs:/0123/model", "models:/m-0123", "models:/", "models:/churn",
        "models:/churn/", "models:/churn@", "models:/@x", "models://profile/churn/3",
        "models:/../3", "models:/a/b/3", "models:/churn/0", "models:/churn/Nirvana",
        "/models/churn", "mlflow-artifacts:/1/models/x",
    ],
)  # fmt: skip
def test_what_names_no_registered_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        ModelUri.parse(text)
