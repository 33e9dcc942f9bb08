from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.plugin.builders import Governed


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
