"""Whatever method, spelling or repository: the gate is asked before a byte moves."""

from __future__ import annotations

import asyncio
import io
import shutil
import unicodedata
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from mlflow.exceptions import MlflowException
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
    with pytest.raises(Refusal, match="outside the artifact destination"):
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


def test_a_folder_is_listed_only_for_whom_its_files_are(governed: Governed) -> None:
    governed.at_none()
    repository = guarded(governed)
    there = {f"{PLACE}/{path.name}" for path in (governed.artifacts / PLACE).iterdir()}
    assert {info.path for info in repository.list_artifacts(PLACE)} == there
    assert {f"{PLACE}/MLmodel", f"{PLACE}/model.bin"} <= there
    governed.actor = RITA

    for path in (
        PLACE,
        f"{PLACE}/",
        f"{PLACE}/governance",
        "1//models/m-1/artifacts/x/..",
        "1/models/../models/m-1/artifacts",
    ):
        with pytest.raises(Refusal):
            repository.list_artifacts(path)


def test_folders_above_a_version_show_runs_and_models_only(governed: Governed) -> None:
    governed.at_none()
    governed.actor = RITA

    for path in (None, "", "1", "1/models", "1/models/m-1"):
        assert guarded(governed).list_artifacts(path)


@pytest.mark.parametrize("above", ["", "1", "1/models", "1/models/m-1"])
@pytest.mark.parametrize("read", ["get_local_path", "download_artifacts"])
def test_a_folder_above_hands_out_nothing_of_what_is_below(
    governed: Governed, tmp_path: Path, above: str, read: str
) -> None:
    governed.at_none()
    governed.actor = RITA

    with pytest.raises(MlflowException):
        READS[read](guarded(governed), above, scratch(tmp_path))

    assert not list((tmp_path / "scratch").rglob("*.bin"))


@pytest.mark.parametrize("place", ["1/run", "1/run/artifacts/part"])
def test_a_folder_around_or_inside_a_version_is_not_registered(
    governed: Governed, place: str
) -> None:
    governed.model("1/run/artifacts", "weights")
    governed.model(f"{place}/other" if place == "1/run" else place, "more weights")
    governed.register("1/run/artifacts")

    with pytest.raises((Denied, Refusal), match="inside or around"):
        governed.register(place)


def test_trace_data_inside_a_version_is_read_and_written_as_the_rest_of_it(
    governed: Governed,
) -> None:
    folder = governed.model()
    for name in ("traces.json", "traces.pb"):
        (folder / name).write_text("{}")
    governed.candidate()
    governed.actor = RITA
    repository = guarded(governed, f"/{PLACE}")

    for method in ("download_trace_data", "download_archived_trace_data"):
        with pytest.raises(Refusal):
            getattr(repository, method)()
    with pytest.raises(Refusal, match="read-only"):
        repository.upload_archived_trace_data_bytes(b"changed")
    with pytest.raises(Refusal, match="read-only"):
        repository.upload_trace_data("changed")


def test_a_local_file_a_client_names_is_never_looked_at(governed: Governed) -> None:
    # The name in an upload of parts is the client's: "/" must not walk the server's own disk.
    written: list[str] = []
    guard_ = artifact_guard._write(
        _Recording, "create_multipart_upload", *artifact_guard._WRITES["create_multipart_upload"]
    )

    guard_(_Recording(written), "/", 1, "1/run")
    guard_(_Recording(written), "/etc", 1, "1/run")

    assert written == ["1/run/", "1/run/etc"]


class _Recording:
    """Stands for a repository whose guard notes what it is asked."""

    def __init__(self, written: list[str]) -> None:
        self.governance_guard = self
        self.check_write = written.append

    def create_multipart_upload(self, local_file: str, num_parts: int, artifact_path: str) -> None:
        """Nothing: only the question counts."""


def test_every_repository_of_the_server_is_guarded_whoever_named_its_place(
    governed: Governed, every_repository: None
) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    governed.at_none()
    governed.actor = RITA
    inside = governed.artifacts / "1"

    for uri, path in (
        (f"file://{governed.artifacts}", f"{PLACE}/model.bin"),
        (str(inside), "models/m-1/artifacts/model.bin"),
        (f"file://{inside}/models/../models/m-1", "artifacts/model.bin"),
        (f"FILE://{inside}/models/m-1", "artifacts/model.bin"),
        (f"file://{inside}/%6dodels/m-1", "artifacts/model.bin"),
        (f"{inside}/models/m-1/artifacts?x", "model.bin"),
    ):
        with pytest.raises((MlflowException, Denied)):
            get_artifact_repository(uri).get_local_path(path)


def test_storage_elsewhere_is_guarded_by_its_full_address(
    governed: Governed, every_repository: None
) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository("s3://bucket/a//b/../c?x#y")
    places = repository.governance_guard._root.places

    assert places("model.bin") == ["s3://bucket/a/c/model.bin"]
    assert places("") == ["s3://bucket/a/c"]
    with pytest.raises(Refusal, match="no links to upload"):
        repository.create_presigned_upload_url("x")


def test_what_leads_to_another_repository_is_left_alone(every_repository: None) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    for uri in ("https://host/api/2.0/mlflow-artifacts/artifacts/1",):
        assert not hasattr(get_artifact_repository(uri), "governance_guard")


@pytest.fixture
def every_repository(governed: Governed, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.store.artifact import artifact_repository_registry as registry

    known = registry._artifact_repository_registry
    monkeypatch.setattr(known, "get_artifact_repository", known.get_artifact_repository)
    artifact_guard.guard_every_repository()


def test_a_version_registered_behind_a_link_is_guarded_at_its_own_place(
    governed: Governed,
) -> None:
    governed.model()
    (governed.artifacts / "1" / "link").symlink_to(governed.artifacts / PLACE)
    ref = governed.at_none("1/link")
    governed.actor = RITA
    record = governed.record(ref)

    assert record is not None
    assert record.location == PLACE
    for path in (f"{PLACE}/model.bin", "1/link/model.bin", "1/link"):
        with pytest.raises(Refusal):
            guarded(governed).get_local_path(path)


def test_nothing_is_registered_behind_a_link_that_leads_outside(
    governed: Governed, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "MLmodel").write_text("flavors: {}")
    (governed.artifacts / "1").mkdir(parents=True)
    (governed.artifacts / "1" / "out").symlink_to(outside)
    governed.store.create_registered_model("churn")

    with pytest.raises(Refusal, match="outside the artifact destination"):
        governed.store.create_model_version("churn", "mlflow-artifacts:/1/out")


_OTHERS = {
    # go through a guarded method for every file
    "download_trace_attachment", "download_trace_attachment_to_file",
    "download_trace_data_to_file", "upload_trace_data", "upload_attachment",
    "upload_archived_trace_data", "flush_async_logging",
    # where something is, not what it holds
    "artifact_dir", "max_workers", "parse_s3_compliant_uri", "get_s3_file_upload_extra_args",
    # takes away parts that were uploaded and never became a file
    "abort_multipart_upload",
}  # fmt: skip


@pytest.mark.parametrize("kind", [LocalArtifactRepository, S3ArtifactRepository])
def test_every_method_of_a_repository_is_classified(kind: type) -> None:
    public = {name for name in dir(kind) if not name.startswith("_")}
    guarded_ones = set(vars(artifact_guard._guarded_class(kind)))

    left = public - guarded_ones - _OTHERS - {"artifact_uri", "thread_pool"}

    assert left == set(), "say in artifact_guard whether it reads or writes"


@pytest.mark.parametrize("kind", [LocalArtifactRepository, S3ArtifactRepository])
def test_what_the_guard_overrides_exists_in_mlflow(kind: type) -> None:
    for name in vars(artifact_guard._guarded_class(kind)):
        assert name.startswith("__") or hasattr(kind, name)
