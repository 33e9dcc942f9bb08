"""`validate`, where it is told the wrong place."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlflow_governance.cli.main import cli
from mlflow_governance.errors import NotFound
from tests.unit.workflows.homes import home_of
from tests.unit.workflows.watched import Watched


def run(registry: Watched, *words: str) -> Result:
    where = ["--backend-store-uri", str(registry.sessions.engine.url)]
    where += ["--home", str(home_of(registry))]
    return CliRunner().invoke(cli, ["validate", *words, *where], standalone_mode=False)


def test_an_artifact_store_that_is_not_there_is_named_and_no_model_accused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", "")  # which the command sets
    registry = Watched(tmp_path)
    absent = str(tmp_path / "absent")
    assert not isinstance(run(registry, "--artifacts-destination", absent).exception, NotFound)
    registry.register("churn")

    refused = run(registry, "--artifacts-destination", absent)

    assert isinstance(refused.exception, NotFound), refused.output
    assert absent in refused.exception.message
    assert "VAL-" not in refused.output
    told = run(registry, "--artifacts-destination", absent, "--no-hash")
    assert "1 versions" in told.output
