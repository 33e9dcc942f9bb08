"""Whatever method, spelling or repository: the gate is asked before a byte moves."""

from __future__ import annotations

import asyncio
import inspect
import io
import shutil
import unicodedata
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.artifact import artifact_repo
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Denied
from mlflow_governance.plugin import artifact_guard, compat
from mlflow_governance.plugin.refusals import Refusal
from tests.unit.plugin.builders import Governed
from tests.unit.workflows.builders import EVE, ROOT

PLACE = "1/models/m-1/artifacts"
RITA = Actor("rita", (), authenticated=True)

SPELLINGS = [
    f"{PLACE}/model.bin",
    f"/{PLACE}/model.bin",
    f"//{PLACE}//model.bin",
    f"./{PLACE}/./model.bin",
    "1/models/../models/m-1/artifacts/x/../model.bin",
    f"../../{PLACE}/model.bin",
    f"{PLACE}/model.bin/",
    f"{PLACE}/data/../model.bin",
]
READS: dict[str, Callable[[Any, str, Path], Any]] = {
    "get_local_path": lambda repo, path, to: repo.get_local_path(path),
    "download_artifacts": lambda repo, path, to: repo.download_artifacts(path, str(to)),
    "download_artifacts by name": lambda repo, path, to: repo.download_artifacts(
        artifact_path=path, dst_path=str(to)
    ),
    "_download_file": lambda repo, path, to: repo._download_file(path, str(to / "file")),
}


def _split(path: str) -> tuple[str, str]:
    folder, _, name = path.rstrip("/").rpartition("/")
    return folder, name


def _upload(repo: Any, path: str, to: Path) -> None:
    folder, name = _split(path)
    (to / name).write_bytes(b"changed")
    repo.log_artifact(str(to / name), folder)


def _upload_many(repo: Any, path: str, to: Path) -> None:
    folder, name = _split(path)
    (to / "many").mkdir()
    (to / "many" / name).write_bytes(b"changed")
    repo.log_artifacts(str(to / "many"), artifact_path=folder)


def _stream(repo: Any, path: str, to: Path) -> None:
    folder, name = _split(path)
    repo.log_artifact_from_stream(io.BytesIO(b"changed"), name, artifact_path=folder)


def _stream_async(repo: Any, path: str, to: Path) -> None:
    folder, name = _split(path)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"changed"

    asyncio.run(repo.log_artifact_from_async_stream(chunks(), name, artifact_path=folder))


WRITES: dict[str, Callable[[Any, str, Path], Any]] = {
    "log_artifact": _upload,
    "log_artifacts": _upload_many,
    "log_artifact_from_stream": _stream,
    "log_artifact_from_async_stream": _stream_async,
    "delete_artifacts": lambda repo, path, to: repo.delete_artifacts(path),
}


def guarded(governed: Governed, below: str = "") -> Any:
    return artifact_guard.build(f"governance+file://{governed.artifacts}{below}", {})


def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


@pytest.mark.parametrize("read", READS)
def test_no_spelling_reads_what_was_not_accepted(
    governed: Governed, tmp_path: Path, read: str
) -> None:
    governed.at_none()
    governed.actor = RITA

    for path in SPELLINGS:
        # MLflow itself refuses some spellings; what it lets through is refused by the gate.
        with pytest.raises(MlflowException) as refusal:
            READS[read](guarded(governed), path, scratch(tmp_path))
        assert refusal.value.get_http_status_code() in (400, 403), path

    assert not list(scratch(tmp_path).iterdir())


@pytest.mark.parametrize("write", WRITES)
def test_no_spelling_changes_what_was_accepted(
    governed: Governed, tmp_path: Path, write: str
) -> None:
    governed.candidate()
    before = (governed.artifacts / PLACE / "model.bin").read_bytes()

    for path in SPELLINGS:
        with pytest.raises(MlflowException) as refusal:
            WRITES[write](guarded(governed), path, scratch(tmp_path))
        assert refusal.value.get_http_status_code() in (400, 403), path

    assert (governed.artifacts / PLACE / "model.bin").read_bytes() == before


@pytest.mark.parametrize("write", WRITES)
def test_nothing_is_added_to_what_was_accepted(
    governed: Governed, tmp_path: Path, write: str
) -> None:
    governed.candidate()

    for name in ("extra.txt", "data/deep/extra.txt", "governance/x"):
        with pytest.raises(Refusal, match="read-only"):
            WRITES[write](guarded(governed), f"{PLACE}/{name}", scratch(tmp_path))
        assert not (governed.artifacts / PLACE / name).exists()


def test_a_folder_above_an_accepted_version_is_not_deleted(governed: Governed) -> None:
    governed.candidate()
    repository = guarded(governed)

    for path in ("1", "1/models", "1/models/m-1", "1/models/m-1/artifacts", "", "/", "."):
        with pytest.raises(Refusal, match="read-only"):
            repository.delete_artifacts(path)
    with pytest.raises(Refusal, match="read-only"):
        repository.delete_artifacts()

    assert (governed.artifacts / PLACE / "model.bin").exists()


def test_what_is_at_none_may_still_be_changed_by_whoever_may_write(
    governed: Governed, tmp_path: Path
) -> None:
    governed.at_none()

    _stream(guarded(governed), f"{PLACE}/model.bin", scratch(tmp_path))

    assert (governed.artifacts / PLACE / "model.bin").read_bytes() == b"changed"


@pytest.mark.parametrize("write", sorted(set(WRITES) - {"delete_artifacts"}))
def test_evidence_may_be_brought_to_a_version_at_none(
    governed: Governed, tmp_path: Path, write: str
) -> None:
    governed.at_none()

    for name in ("governance/evidence/model.sig", "governance/evidence/a/b.json"):
        WRITES[write](guarded(governed), f"{PLACE}/{name}", scratch(tmp_path))
        assert (governed.artifacts / PLACE / name).read_bytes() == b"changed"


@pytest.mark.parametrize("write", WRITES)
def test_the_records_of_the_registry_are_written_by_nobody_else(
    governed: Governed, tmp_path: Path, write: str
) -> None:
    governed.at_none()

    for name in (
        "governance/churn/v1/decisions/accept-1.vsa.json",
        "governance/other",
        "governance/evidence/../churn/v1/release/x",
        "governance/evidenceX",
    ):
        with pytest.raises(MlflowException) as refusal:
            WRITES[write](guarded(governed), f"{PLACE}/{name}", scratch(tmp_path))
        assert refusal.value.get_http_status_code() in (400, 403), name


def test_a_folder_uploaded_at_once_brings_no_records_along(
    governed: Governed, tmp_path: Path
) -> None:
    governed.at_none()
    records = scratch(tmp_path) / "governance" / "churn" / "v1"
    records.mkdir(parents=True)
    (records / "forged").write_text("PASSED")

    with pytest.raises(Refusal, match="registry alone"):
        guarded(governed).log_artifacts(str(tmp_path / "scratch"), PLACE)


def test_a_path_nobody_registered_passes_untouched(governed: Governed, tmp_path: Path) -> None:
    governed.candidate()
    repository = guarded(governed)

    _stream(repository, "1/run/artifacts/plot.png", scratch(tmp_path))

    assert Path(repository.get_local_path("1/run/artifacts/plot.png")).read_bytes() == b"changed"
    repository.delete_artifacts("1/run")


@pytest.mark.parametrize("neighbour", ["1/models/m-10/artifacts", "1/models/m-1/artifacts2"])
def test_a_neighbour_with_a_longer_name_is_somebody_else(
    governed: Governed, tmp_path: Path, neighbour: str
) -> None:
    governed.candidate()

    _stream(guarded(governed), f"{neighbour}/model.bin", scratch(tmp_path))
    guarded(governed).delete_artifacts(neighbour)


def test_an_escaped_or_look_alike_name_is_another_file_and_still_guarded(
    governed: Governed,
) -> None:
    governed.at_none()
    governed.actor = RITA

    for name in ("%2e%2e/artifacts/model.bin", "model%2ebin", "Model.bin", "model.bin\0", "a\\b"):
        with pytest.raises(MlflowException):
            guarded(governed).get_local_path(f"{PLACE}/{name}")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_in_either_normal_form_is_guarded_as_it_is_written(
    governed: Governed, form: Literal["NFC", "NFD"]
) -> None:
    place = unicodedata.normalize(form, "1/models/modèle/artifacts")
    governed.at_none(place)
    governed.actor = RITA

    with pytest.raises(Refusal):
        guarded(governed).get_local_path(f"{place}/model.bin")


@pytest.mark.parametrize(
    ("below", "path"),
    [
        ("/", f"{PLACE}/model.bin"),
        ("/1", "models/m-1/artifacts/model.bin"),
        (f"/{PLACE}", "model.bin"),
        (f"/{PLACE}/", "/model.bin"),
        ("/1/models", "../models/m-1/artifacts/model.bin"),
        ("/1/models/", "m-1//artifacts/model.bin"),
    ],
)
def test_a_repository_opened_deeper_knows_where_it_is(
    governed: Governed, below: str, path: str
) -> None:
    governed.at_none()
    governed.actor = RITA
    repository = guarded(governed, below)

    with pytest.raises(MlflowException) as refusal:
        repository.get_local_path(path)
    assert refusal.value.get_http_status_code() in (400, 403)
    governed.actor = EVE
    if ".." not in path:
        assert repository.get_local_path(path.lstrip("/")).endswith("model.bin")


@pytest.mark.parametrize(
    "elsewhere",
    ["/..", "/1/../..", "2", "-other/1", "/1%2Fmodels", "/%2e%2e", "/1?x", "/1#x", "//1", "/1\\m"],
)
def test_a_repository_that_may_lie_elsewhere_is_not_opened(
    governed: Governed, elsewhere: str
) -> None:
    with pytest.raises(Denied, match="outside the artifact destination"):
        guarded(governed, elsewhere)


def test_a_released_version_is_read_by_anybody_and_a_revoked_one_by_nobody(
    governed: Governed,
) -> None:
    ref = governed.staging()
    repository = guarded(governed)
    governed.actor = RITA
    assert repository.get_local_path(f"{PLACE}/model.bin").endswith("model.bin")

    governed.withdraw(ref, Stage.REVOKED)

    for actor in (RITA, EVE, ROOT):
        governed.actor = actor
        with pytest.raises(Refusal) as refusal:
            repository.get_local_path(f"{PLACE}/model.bin")
        assert refusal.value.get_http_status_code() == 403
    governed.agrees()


def test_one_withdrawn_version_closes_a_directory_two_versions_share(governed: Governed) -> None:
    first = governed.staging()
    governed.candidate()
    governed.actor = RITA
    repository = guarded(governed)
    assert repository.get_local_path(f"{PLACE}/model.bin")

    governed.withdraw(first, Stage.QUARANTINED)

    with pytest.raises(Refusal):
        repository.get_local_path(f"{PLACE}/model.bin")


def test_nothing_is_handed_out_beside_a_store_that_is_not_governed(
    governed: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compat, "live_registry_store", lambda: object())

    with pytest.raises(Refusal, match="not governed"):
        guarded(governed).get_local_path("1/run/artifacts/plot.png")


def test_nothing_is_handed_out_while_the_database_is_away(
    governed: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    governed.staging()
    repository = guarded(governed)

    def away() -> Any:
        raise OSError("the database is away")

    monkeypatch.setattr(compat, "live_registry_store", away)

    with pytest.raises(Refusal) as refusal:
        repository.get_local_path(f"{PLACE}/model.bin")
    assert refusal.value.get_http_status_code() < 500


_PATHS = {"artifact_path", "remote_file_path", "path", "file_path", "src_artifact_path"}
_OTHERS = {
    # lists names only
    "list_artifacts", "_is_directory", "_iter_artifacts_recursive",
    # go through a guarded method for every file
    "_log_artifact_async", "download_trace_attachment", "download_trace_attachment_to_file",
    # where something local is put, or how a URL is taken apart
    "_create_download_destination", "parse_s3_compliant_uri",
    "_verify_listed_object_contains_artifact_path_prefix",
    # below log_artifact…, which is guarded
    "_get_or_create_artifact_dir", "_get_destination_artifact_path", "_create_staging_artifact",
    "_write_to_destination_path",
}  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    [
        artifact_repo.ArtifactRepository,
        artifact_repo.MultipartUploadMixin,
        artifact_repo.MultipartDownloadMixin,
        artifact_repo.PresignedUploadMixin,
        artifact_repo.StreamUploadMixin,
        LocalArtifactRepository,
        S3ArtifactRepository,
    ],
)
def test_every_method_of_a_repository_that_takes_a_path_is_classified(kind: type) -> None:
    known = {
        *artifact_guard._READS,
        *artifact_guard._WRITES,
        "log_artifact_from_async_stream",
        *_OTHERS,
    }
    taking = {
        name
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if _PATHS & set(inspect.signature(method).parameters)
    }

    assert taking - known == set(), "say in artifact_guard whether it reads or writes"


def test_what_the_guard_overrides_exists_in_mlflow() -> None:
    everything = {
        name
        for kind in (LocalArtifactRepository, S3ArtifactRepository)
        for name, _ in inspect.getmembers(kind, inspect.isfunction)
    }

    assert {*artifact_guard._READS, *artifact_guard._WRITES} <= everything
