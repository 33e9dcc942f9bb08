"""Where a bundle is loaded into a serving process, it was tried first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mlflow_governance import bootstrap, config
from mlflow_governance.config import Settings
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.confined import ConfinedEngine
from mlflow_governance.policy.embedded import EmbeddedEngine
from tests.unit.policy.builders import configured, shipped
from tests.unit.policy.hostile import nested


def settings(home: Path, bundle: Bundle | None = None, **values: Any) -> Settings:
    if bundle is not None:
        (home / "bundle.tar.gz").write_bytes(bundle.archive())
        values["policies"] = "bundle.tar.gz"
    (home / "config.yaml").write_text(yaml.safe_dump(values))
    return config.load(home)


def test_a_bomb_is_refused_before_this_process_parses_it(tmp_path: Path) -> None:
    made = settings(tmp_path, nested(5000), policy_budget={"load_seconds": 1.5})

    with pytest.raises(ConfigurationError, match=r"registry/deep/deep\.rego"):
        bootstrap.policy_engine(made, bootstrap.load_bundle(made))


def test_an_opa_server_parses_its_policies_itself(tmp_path: Path) -> None:
    opa = {"url": "http://localhost:8181"}

    assert bootstrap.load_bundle(settings(tmp_path, nested(5000), opa=opa)).files


def test_the_engine_is_the_one_asked_for(tmp_path: Path) -> None:
    own = settings(tmp_path, configured(blocking_cvss=6.75), policy_engine="confined")
    engine = bootstrap.policy_engine(own, bootstrap.load_bundle(own))
    assert isinstance(engine, ConfinedEngine)
    engine.close()

    plain = settings(tmp_path)
    assert isinstance(bootstrap.policy_engine(plain, shipped()), EmbeddedEngine)


@pytest.mark.parametrize(
    "values",
    [
        {"policy_engine": "opa"}, {"policy_engine": 5}, {"policy_budget": 2},
        {"policy_budget": {"seconds": 0}}, {"policy_budget": {"hours": 1}},
        {"opa": {"url": "https://x", "token_variable": "A", "token_file": "b"}},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused(
    tmp_path: Path, values: dict[str, object]
) -> None:
    with pytest.raises(ConfigurationError):
        settings(tmp_path, **values)
