"""``models:/…`` through MLflow's own functions, against a real local registry."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository

from mlflow_governance.core import moment
from mlflow_governance.errors import (
    EvidenceMissing,
    GovernanceError,
    InvalidRequest,
    NotFound,
    VerificationError,
)
from mlflow_governance.evidence.hashing import hash_directory
from mlflow_governance.plugin import models_repository
from tests.unit.serving import builders
from tests.unit.serving.builders import NAME, POLICY, REF, URI, Summary, World

ALIAS = f"models:/{NAME}@champion"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return builders.train(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def world(tmp_path: Path, trained: Path) -> World:
    """A model with code, approved a moment ago, and a revocation list of now in a file."""
    made = builders.world(tmp_path, trained)
    (made.registry.stored / "code").mkdir()
    (made.registry.stored / "code" / "helper.py").write_text("answer = 42\n")
    made.sign()
    made.attest()
    made.decide(Summary(at=moment.now()))
    made.list_file(builders.revocations(issued_at=moment.now()))
    return made


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of MLflow, which takes seconds to make."""
    path = tmp_path_factory.mktemp("tables") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_registered_models()
    return path


@pytest.fixture
def registry(world: World, tables: Path) -> Iterator[MlflowClient]:
    """A registry in SQLite that has the model as version 3."""
    before = mlflow.get_tracking_uri()
    shutil.copy(tables, world.home / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{world.home}/mlflow.db")
    try:
        client = MlflowClient()
        client.create_registered_model(NAME)
        for _ in range(REF.version):
            client.create_model_version(
                NAME, world.registry.stored.as_uri(), tags={"governance.digest": world.digest}
            )
        client.set_registered_model_alias(NAME, "champion", str(REF.version))
        yield client
    finally:
        mlflow.set_tracking_uri(before)


@pytest.fixture
def host(world: World, registry: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> World:
    """This process is a host that loads verified models only."""
    monkeypatch.setenv("MLFLOW_GOVERNANCE_TRUST", str(world.settings.trust))
    monkeypatch.setenv("MLFLOW_GOVERNANCE_CACHE", str(world.settings.cache_dir))
    monkeypatch.setenv("MLFLOW_GOVERNANCE_REVOCATIONS", world.settings.revocations)
    monkeypatch.setenv("MLFLOW_GOVERNANCE_POLICY_DIGESTS", POLICY)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    return world


def get(uri: str, **options: Any) -> Path:
    return Path(mlflow.artifacts.download_artifacts(uri, **options))


@pytest.mark.parametrize("uri", [URI, ALIAS, f"models:/{NAME}/latest", f"models:/{NAME}/None"])
def test_every_spelling_leads_to_the_verified_copy_and_leaves_it_as_it_is(
    host: World, uri: str
) -> None:
    for _ in range(2):
        assert get(uri).resolve() == host.copy
    assert hash_directory(host.copy).digest == host.digest
    assert not (host.copy / "registered_model_meta").exists()


def test_mlflow_loads_from_it(host: World) -> None:
    model = mlflow.pyfunc.load_model(ALIAS)

    assert list(model.predict(builders.features())) == [0, 0, 0, 0, 0]
    assert mlflow.sklearn.load_model(URI).predict(builders.features()).size == 5
    assert mlflow.models.get_model_info(URI).flavors["sklearn"]


def test_changed_bytes_in_the_store_are_refused_by_name(host: World) -> None:
    path = next(host.registry.stored.glob("model.*"))
    path.write_bytes(path.read_bytes() + b"x")

    for ask in (mlflow.pyfunc.load_model, mlflow.artifacts.list_artifacts, get):
        with pytest.raises(VerificationError, match=f"file changed: {path.name}"):
            ask(URI)


def test_a_copy_elsewhere_has_mlflows_own_file_beside_the_verified_ones(
    host: World, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    for _ in range(2):
        assert get(URI, dst_path=str(folder)) == folder
        meta = yaml.safe_load((folder / "registered_model_meta").read_text())
        assert meta == {"model_name": NAME, "model_version": "3"}
    assert mlflow.pyfunc.load_model(URI, dst_path=str(folder))

    (folder / "code" / "json.py").write_text("import os")
    with pytest.raises(InvalidRequest, match=r"but also code/json\.py"):
        mlflow.pyfunc.load_model(URI, dst_path=str(folder))


def test_a_part_of_a_model_comes_from_the_verified_copy(host: World, tmp_path: Path) -> None:
    assert get(f"{ALIAS}/code/helper.py").resolve() == host.copy / "code" / "helper.py"
    assert get(f"{URI}/code", dst_path=str(tmp_path)) == tmp_path / "code"
    assert "sklearn" in mlflow.artifacts.load_text(f"{URI}/MLmodel")
    with pytest.raises(NotFound):
        get(f"{URI}/nothing")
    with pytest.raises(VerificationError, match="is evidence"):
        get(f"{URI}/governance/evidence/model.sig")


def test_a_listing_is_of_the_verified_copy(host: World) -> None:
    listed = {info.path: info for info in mlflow.artifacts.list_artifacts(URI)}

    assert "governance" not in listed
    assert listed["code"].is_dir
    assert listed["MLmodel"].file_size == (host.copy / "MLmodel").stat().st_size
    (inside,) = mlflow.artifacts.list_artifacts(f"{URI}/code")
    assert (inside.path, inside.is_dir) == ("code/helper.py", False)
    assert mlflow.artifacts.list_artifacts(f"{URI}/MLmodel") == []


def test_a_single_file_is_fetched_whole_or_not_at_all(host: World, tmp_path: Path) -> None:
    repository = get_artifact_repository(URI)

    repository._download_file("MLmodel", str(tmp_path / "got"))

    assert (tmp_path / "got").read_bytes() == (host.copy / "MLmodel").read_bytes()
    with pytest.raises(InvalidRequest, match="is a folder"):
        repository._download_file("code", str(tmp_path / "got"))


def test_each_use_asks_again_whether_it_may_be_loaded(host: World) -> None:
    repository = get_artifact_repository(URI)
    assert repository.download_artifacts("")

    later = builders.revocations(builders.blocked(host.digest), epoch=8, issued_at=moment.now())
    host.settings.revocations_file.write_bytes(later)  # type: ignore[union-attr]

    with pytest.raises(VerificationError, match="is Revoked"):
        repository.download_artifacts("MLmodel")


def test_without_the_registry_the_verified_copy_is_loaded(
    host: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    get(URI)
    monkeypatch.setenv("MLFLOW_GOVERNANCE_OFFLINE", "true")
    mlflow.set_tracking_uri("http://127.0.0.1:9")

    assert list(mlflow.pyfunc.load_model(URI).predict(builders.features()[:1])) == [0]
    with pytest.raises(EvidenceMissing, match="never verified"):
        mlflow.pyfunc.load_model(f"models:/{NAME}/2")


def test_a_logged_model_is_read_nowhere_and_written_as_ever(host: World) -> None:
    from mlflow.models import Model
    from mlflow.models.utils import _read_file_content

    logged = mlflow.create_external_model(name="another", experiment_id="0")
    uri = f"models:/{logged.model_id}"
    repository = get_artifact_repository(uri)
    repository.log_artifact(str(host.registry.stored / "MLmodel"))

    assert [info.path for info in repository.list_artifacts("")] == ["MLmodel"]
    asks = (
        lambda: get(uri),
        lambda: get(f"{uri}/MLmodel"),
        lambda: Model.load(uri),
        lambda: mlflow.pyfunc.load_model(uri),
        lambda: _read_file_content(uri, "MLmodel"),
        lambda: repository._download_file("MLmodel", str(host.home / "got")),
    )
    for ask in asks:
        with pytest.raises(GovernanceError) as caught:
            ask()
        assert isinstance(caught.value, (VerificationError, InvalidRequest))
    with pytest.raises(VerificationError, match="is no registered version") as refused:
        get(uri)
    assert f"mlflow-governance submit {uri} --name" in refused.value.advice


@pytest.mark.parametrize(
    "uri", [f"models:/{NAME}/Nirvana", f"models://profile@databricks/{NAME}/3", f"MODELS:/{NAME}/3"]
)
def test_what_is_no_version_for_certain_is_refused(host: World, uri: str) -> None:
    with pytest.raises((InvalidRequest, MlflowException)):
        get_artifact_repository(uri).download_artifacts("")
    assert not list(host.settings.cache_dir.glob("*/model"))


def test_writing_to_a_version_is_refused_as_ever(host: World) -> None:
    with pytest.raises(ValueError, match="not supported"):
        get_artifact_repository(URI).log_artifact(__file__)


def test_loaders_that_ask_for_the_storage_get_the_verified_file(host: World) -> None:
    from mlflow.utils.model_utils import _get_flavor_configuration_from_uri as configuration

    logger = logging.getLogger("mlflow")
    assert configuration(ALIAS, "sklearn", logger)["pickled_model"].startswith("model.")
    path = host.registry.stored / "MLmodel"
    path.write_text(path.read_text().replace("pickled_model: model", "pickled_model: evil"))

    assert configuration(ALIAS, "sklearn", logger)["pickled_model"].startswith("model.")


def test_the_short_cuts_are_closed_before_the_first_model_is_loaded() -> None:
    code = (
        "import mlflow\n"
        "from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository as R\n"
        "print(R.get_underlying_uri('models:/churn/1'))"
    )
    environment = {**os.environ, "MLFLOW_GOVERNANCE_TRUST": "/nowhere/trust.yaml"}

    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )

    assert ran.stdout.strip() == "models:/churn/1"  # MLflow itself would have asked a registry


def test_the_short_cut_is_mlflows_where_nothing_is_to_be_verified(
    host: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    get(URI)
    assert ModelsArtifactRepository.get_underlying_uri(URI) == URI

    monkeypatch.delenv("MLFLOW_GOVERNANCE_TRUST")
    stored = host.registry.stored.as_uri()
    assert ModelsArtifactRepository.get_underlying_uri(URI) == stored


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write where nobody may")
def test_python_leaves_no_bytecode_beside_the_code_of_a_model(host: World) -> None:
    copy = get(URI)

    environment = {**os.environ, "PYTHONPATH": str(copy / "code")}
    subprocess.run([sys.executable, "-c", "import helper"], env=environment, check=True)

    assert sys.dont_write_bytecode
    assert hash_directory(copy).digest == host.digest


def test_credentials_are_those_of_mlflow_also_from_its_file(
    host: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD", raising=False)
    monkeypatch.setenv("HOME", str(host.home))
    (host.home / ".mlflow").mkdir()
    (host.home / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = rita\nmlflow_tracking_password = secret\n"
    )

    found = models_repository._environment("http://tracking", "http://registry")

    assert found["MLFLOW_TRACKING_USERNAME"] == "rita"
    assert found["MLFLOW_TRACKING_PASSWORD"] == "secret"
    assert found["MLFLOW_REGISTRY_URI"] == "http://registry"


def test_a_missing_trust_policy_stops_loading(host: World) -> None:
    host.settings.trust.unlink()

    with pytest.raises(GovernanceError):
        mlflow.pyfunc.load_model(URI)


def test_a_registry_that_points_to_itself_is_not_followed(
    host: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for location in (URI, f"MODELS:/{NAME}/3", "models:/m-1"):
        monkeypatch.setattr(
            MlflowClient, "get_model_version_download_uri", lambda *_, to=location: to
        )
        with pytest.raises(GovernanceError):
            get(f"models:/{NAME}/1")


def test_a_version_among_a_runs_files_is_found_without_asking_here_again(
    host: World, registry: MlflowClient
) -> None:
    with mlflow.start_run(experiment_id="0") as run:
        mlflow.log_artifacts(str(host.registry.stored), "model")
    version = registry.create_model_version(NAME, f"runs:/{run.info.run_id}/model").version

    # All of it was fetched and verified, up to the registry's word about this very version.
    with pytest.raises(EvidenceMissing, match=f"has not decided about {NAME}/{version}"):
        get(f"models:/{NAME}/{version}")


class Said:
    """What this process was told."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def lines(self) -> list[str]:
        ours = "mlflow_governance"
        return [r.getMessage() for r in self._caplog.records if r.name.startswith(ours)]


@pytest.fixture
def stock(
    registry: MlflowClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Said]:
    """A process without a trust policy that has been told nothing yet."""
    monkeypatch.delenv("MLFLOW_GOVERNANCE_TRUST", raising=False)
    monkeypatch.setattr(models_repository, "_said", threading.Event())
    with caplog.at_level(logging.WARNING, "mlflow_governance"):
        yield Said(caplog)


def test_without_a_trust_policy_it_is_stock_mlflow_and_says_so_once(
    world: World, stock: Said, tmp_path: Path
) -> None:
    path = next(world.registry.stored.glob("model.*"))
    world.evidence("model.sig").unlink()
    mlflow.artifacts.list_artifacts(URI)
    assert len(stock) == 0

    for _ in range(2):
        assert get(f"{URI}/{path.name}", dst_path=str(tmp_path)).read_bytes() == path.read_bytes()
        assert list(mlflow.pyfunc.load_model(ALIAS).predict(builders.features()[:1])) == [0]

    (line,) = stock.lines
    assert "without being verified: MLFLOW_GOVERNANCE_TRUST is not set" in line
    assert "mlflow-governance trust export" in line


def test_the_governed_server_and_logged_models_are_not_spoken_of(
    world: World, stock: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged = mlflow.create_external_model(name="another", experiment_id="0")
    repository = get_artifact_repository(f"models:/{logged.model_id}")
    repository.log_artifact(str(world.registry.stored / "MLmodel"))
    assert Path(repository.download_artifacts("MLmodel")).exists()
    assert len(stock) == 0

    monkeypatch.setenv("_MLFLOW_SERVER_REGISTRY_STORE", "governance+sqlite:///mlflow.db")
    get(URI)
    assert len(stock) == 0


def test_the_entry_point_itself_imports_no_mlflow() -> None:
    program = (
        "import sys, mlflow_governance.plugin.entry;"
        "sys.exit(any(name.split('.')[0] == 'mlflow' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_mlflow_asks_here_for_models() -> None:
    from importlib.metadata import entry_points

    (found,) = entry_points(group="mlflow.artifact_repository", name="models")
    assert found.value == "mlflow_governance.plugin.entry:models"
