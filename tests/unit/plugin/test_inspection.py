"""The artifact store as the validator reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_governance.core.digest import of_bytes
from mlflow_governance.errors import Denied, VerificationError
from mlflow_governance.plugin.inspection import InspectedArtifacts

FOLDER = "governance/churn/v1"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", f"governance+{tmp_path.as_uri()}")
    monkeypatch.setenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
    monkeypatch.delenv("MLFLOW_WORKSPACE", raising=False)
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "false")
    folder = tmp_path / "1" / "model"
    (folder / FOLDER / "release").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}")
    (folder / FOLDER / "release" / "notes.md").write_text("fine")
    return folder


def test_what_is_attached_is_read_by_its_path_in_the_folder(model: Path) -> None:
    found = InspectedArtifacts().beside("1/model", FOLDER)

    assert found == {"release/notes.md": of_bytes(b"fine")}


def test_a_version_nothing_was_attached_to_has_no_files(model: Path) -> None:
    assert InspectedArtifacts().beside("1/model", "governance/churn/v2") == {}


def test_a_link_among_the_attached_is_refused(model: Path) -> None:
    (model / FOLDER / "link").symlink_to("/etc/passwd")

    with pytest.raises(VerificationError, match="symlink"):
        InspectedArtifacts().beside("1/model", FOLDER)


def test_an_address_is_found_in_its_workspace(model: Path) -> None:
    artifacts = InspectedArtifacts()
    uri = "mlflow-artifacts:/1/model"

    assert artifacts.locate(uri, "default") == "1/model"
    assert artifacts.locate(uri, "red") == "workspaces/red/1/model"
    assert artifacts.locate(uri, "default") == "1/model"


def test_an_address_on_the_servers_own_disk_is_no_place_for_a_model(model: Path) -> None:
    with pytest.raises(Denied):
        InspectedArtifacts().locate("file:///etc", "default")
