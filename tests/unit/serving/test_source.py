"""The stock MLflow client against a real local registry."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_governance.core import digest
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import (
    Denied,
    NotFound,
    Unauthenticated,
    Unavailable,
    VerificationError,
)
from mlflow_governance.evidence.hashing import hash_directory
from mlflow_governance.serving.source import MlflowSource
from mlflow_governance.serving.uri import ModelUri
from mlflow_governance.serving.verify import Connections, verify
from tests.unit.serving.builders import NAME, NOW, REF, World
from tests.unit.serving.test_fetch import serving

SUBJECT = digest.of_bytes(b"x")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Iterator[Path]:
    """A registry in SQLite whose only version has its files in this directory."""
    import mlflow
    from mlflow import MlflowClient

    home = tmp_path_factory.mktemp("registry")
    folder = Path(shutil.copytree(trained, home / "artifacts"))
    (folder / "governance" / "evidence").mkdir(parents=True)
    (folder / "governance" / "evidence" / "model.sig").write_text("{}")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
    try:
        client = MlflowClient()
        client.create_registered_model("churn")
        for _ in range(2):
            client.create_model_version(
                "churn", folder.as_uri(), tags={"governance.digest": SUBJECT}
            )
        client.set_registered_model_alias("churn", "champion", "1")
        yield folder
    finally:
        mlflow.set_tracking_uri(before)


@pytest.mark.parametrize(
    ("uri", "version"),
    [("models:/churn/1", 1), ("models:/churn@champion", 1), ("models:/churn/latest", 2),
     ("models:/churn/None", 2)],
)  # fmt: skip
def test_every_spelling_finds_its_version(stored: Path, uri: str, version: int) -> None:
    found = MlflowSource().locate(ModelUri.parse(uri))

    assert found.ref == VersionRef("churn", version)
    assert found.digest == SUBJECT


@pytest.mark.parametrize("uri", ["models:/churn/9", "models:/nobody/1", "models:/nobody/latest"])
def test_what_is_not_there_is_not_found(stored: Path, uri: str) -> None:
    with pytest.raises(NotFound):
        MlflowSource().locate(ModelUri.parse(uri))


def test_the_copy_has_the_files_of_the_store_and_none_of_mlflows(
    stored: Path, tmp_path: Path
) -> None:
    copied = MlflowSource().download(VersionRef("churn", 1), tmp_path)

    assert copied.is_relative_to(tmp_path)
    assert hash_directory(copied) == hash_directory(stored)
    assert (copied / "governance" / "evidence" / "model.sig").exists()


def test_the_evidence_can_be_had_alone(stored: Path, tmp_path: Path) -> None:
    copied = MlflowSource().download(VersionRef("churn", 1), tmp_path, "governance")

    assert [path.name for path in copied.rglob("*") if path.is_file()] == ["model.sig"]


def test_files_that_are_gone_are_an_error_of_ours(stored: Path, tmp_path: Path) -> None:
    with pytest.raises((NotFound, Unavailable, VerificationError)):
        MlflowSource().download(VersionRef("churn", 1), tmp_path, "no such folder")


def test_a_version_of_a_real_registry_is_verified_end_to_end(stored: Path, world: World) -> None:
    from mlflow import MlflowClient

    client = MlflowClient()
    client.create_registered_model(NAME)
    for _ in range(REF.version):
        client.create_model_version(
            NAME, world.registry.stored.as_uri(), tags={"governance.digest": world.digest}
        )
    client.set_registered_model_alias(NAME, "champion", str(REF.version))
    connections = Connections(MlflowSource(), world.registry, lambda: NOW)

    first = verify(f"models:/{NAME}@champion", world.settings, connections)
    again = verify(f"models:/{NAME}/latest", world.settings, connections)

    assert (first.version, first.path) == (REF.version, world.copy)
    assert (again.path, again.facts) == (first.path, first.facts)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "PERMISSION_DENIED", Denied),
        (401, "UNAUTHENTICATED", Unauthenticated),
        (404, "RESOURCE_DOES_NOT_EXIST", NotFound),
        (400, "BAD_REQUEST", Unavailable),
    ],
)
def test_a_refusal_of_the_server_keeps_its_message(
    status: int, code: str, error: type[Exception]
) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    with serving() as server:
        server.status = status
        server.body = json.dumps(
            {"error_code": code, "message": "governance: no, because"}
        ).encode()
        mlflow.set_tracking_uri(server.url)
        try:
            with pytest.raises(error, match="governance: no, because"):
                MlflowSource().locate(ModelUri.parse("models:/churn/1"))
        finally:
            mlflow.set_tracking_uri(before)
