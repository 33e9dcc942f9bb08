from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_governance import bootstrap
from mlflow_governance.config import Settings
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.interface import PolicyEngine
from tests.unit.plugin.builders import Governed


@pytest.fixture(scope="session", autouse=True)
def policies_are_compiled_once() -> Iterator[None]:
    """An embedded engine keeps nothing of what it is asked: all these installations share it."""
    made: dict[object, PolicyEngine] = {}
    make = bootstrap.policy_engine

    def engine(settings: Settings, bundle: Bundle) -> PolicyEngine:
        if settings.opa is not None or settings.confined:
            return make(settings, bundle)
        key = bundle.digest, settings.policy_budget
        if key not in made:
            made[key] = make(settings, bundle)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "policy_engine", engine)
        yield


def _point_at(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("MLFLOW_GOVERNANCE_HOME", str(folder / "home"))
    patch.setenv("MLFLOW_GOVERNANCE_AUTH", "none")
    patch.setenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
    patch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", f"governance+file://{folder / 'artifacts'}")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """MLflow's and our tables, made once; a test works on a copy."""
    folder = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        _point_at(folder, patch)
        made = Governed(folder)
        made.store.engine.dispose()
    yield folder
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture
def governed(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Governed]:
    from mlflow_governance.plugin import compat

    _point_at(tmp_path, monkeypatch)
    made = Governed(tmp_path, template)
    monkeypatch.setattr(compat, "live_registry_store", lambda: made.store)
    yield made
    made.store.engine.dispose()
