"""The bytes of a withdrawn model are handed out from nowhere, and nobody else loses a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.plugin import artifact_guard, blocked_files
from mlflow_governance.plugin.blocked_files import BlockedFiles
from mlflow_governance.plugin.refusals import Refusal
from tests.unit.plugin.builders import Governed

PLACE = "1/models/m-1/artifacts"
COPY = "1/run/artifacts/copy"
SHARED = "vocabulary of everybody"


@pytest.fixture
def repository(governed: Governed) -> Any:
    return artifact_guard.build(f"governance+file://{governed.artifacts}", {})


def withdrawn(governed: Governed, stage: Stage = Stage.REVOKED, place: str = PLACE) -> VersionRef:
    folder = governed.model(place, "bad weights")
    (folder / "vocab.txt").write_text(SHARED)
    (folder / "requirements.txt").write_text("scikit-learn==1.9\n")
    (folder / "empty.txt").write_text("")
    ref = governed.candidate(place)
    governed.withdraw(ref, stage)
    return ref


def logged(governed: Governed, name: str, content: str, place: str = COPY) -> str:
    file = governed.artifacts / place / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return f"{place}/{name}"


@pytest.mark.parametrize("stage", [Stage.REVOKED, Stage.QUARANTINED])
def test_withdrawn_bytes_logged_again_are_not_read(
    governed: Governed, repository: Any, tmp_path: Path, stage: Stage
) -> None:
    withdrawn(governed, stage)
    copy = logged(governed, "innocent.txt", "bad weights")
    target = tmp_path / "got"
    target.mkdir()

    with pytest.raises(Refusal, match="revoked or quarantined") as refusal:
        repository.get_local_path(copy)
    assert refusal.value.get_http_status_code() == 403
    for path in (COPY, "1/run"):  # and in no folder
        with pytest.raises(Refusal):
            repository.get_local_path(path)
    for path in (copy, COPY):
        with pytest.raises(Exception, match="revoked or quarantined"):
            repository.download_artifacts(path, str(target))
    assert not [file for file in target.rglob("*") if file.is_file()]


def test_the_refusal_is_recorded_with_the_content_it_is_about(
    governed: Governed, repository: Any
) -> None:
    ref = withdrawn(governed)
    copy = logged(governed, "x", "bad weights")
    before = governed.count("governance_ledger_entries")

    with pytest.raises(Refusal):
        repository.get_local_path(copy)

    assert governed.count("governance_ledger_entries") == before + 1
    record = governed.record(ref)
    assert record is not None
    assert record.digest
    governed.agrees()


def test_a_quarantine_that_ends_gives_the_bytes_back(governed: Governed, repository: Any) -> None:
    ref = withdrawn(governed, Stage.QUARANTINED)
    copy = logged(governed, "x", "bad weights")
    with pytest.raises(Refusal):
        repository.get_local_path(copy)

    governed.withdraw(ref, Stage.CANDIDATE)  # restored

    assert repository.get_local_path(copy)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("other.bin", "other bytes"),  # of the same size
        ("requirements.txt", "scikit-learn==1.9\n"),
        ("empty.txt", ""),
    ],
)
def test_what_is_no_models_own_stays_readable(
    governed: Governed, repository: Any, name: str, content: str
) -> None:
    withdrawn(governed)

    assert repository.get_local_path(logged(governed, name, content))


def test_a_file_a_released_version_has_too_stays_readable(
    governed: Governed, repository: Any
) -> None:
    withdrawn(governed)
    copy = logged(governed, "vocab.txt", SHARED)
    with pytest.raises(Refusal):
        repository.get_local_path(copy)

    (governed.model("1/models/m-2/artifacts", "good weights") / "vocab.txt").write_text(SHARED)
    governed.staging("1/models/m-2/artifacts")

    assert repository.get_local_path(copy)
    with pytest.raises(Refusal):
        repository.get_local_path(logged(governed, "x", "bad weights"))


def test_registering_blocked_bytes_with_one_more_file_opens_no_copy(
    governed: Governed, repository: Any
) -> None:
    withdrawn(governed)
    copy = logged(governed, "x", "bad weights")
    place = "1/models/m-3/artifacts"
    (governed.model(place, "bad weights") / "more.txt").write_text("more")

    governed.at_none(place)

    with pytest.raises(Refusal):
        repository.get_local_path(copy)


def test_a_file_brought_into_a_version_at_none_is_looked_at(
    governed: Governed, repository: Any
) -> None:
    withdrawn(governed)
    place = "1/models/m-4/artifacts"
    governed.model(place, "good weights")
    governed.at_none(place)
    assert repository.get_local_path(f"{place}/model.bin")

    with pytest.raises(Refusal, match="revoked or quarantined"):
        repository.get_local_path(logged(governed, "late.bin", "bad weights", place))


def test_evidence_of_an_accepted_version_is_looked_at_too(
    governed: Governed, repository: Any
) -> None:
    place = "1/models/m-5/artifacts"
    governed.model(place, "good weights")
    hidden = logged(governed, "hidden.bin", "bad weights", f"{place}/governance/evidence")
    honest = logged(governed, "honest.json", "{}", f"{place}/governance/evidence")
    governed.staging(place)
    withdrawn(governed)

    with pytest.raises(Refusal, match="revoked or quarantined"):
        repository.get_local_path(hidden)
    assert repository.get_local_path(honest)
    assert repository.get_local_path(f"{place}/model.bin")


def test_uploading_and_deleting_a_copy_stays_allowed(governed: Governed, repository: Any) -> None:
    withdrawn(governed)
    source = governed.folder / "x.bin"
    source.write_text("bad weights")

    repository.log_artifact(str(source), COPY)
    repository.delete_artifacts(COPY)


def test_only_a_file_of_a_blocked_size_is_hashed(
    governed: Governed, repository: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    withdrawn(governed)
    hashed: list[str] = []
    once = blocked_files._hash_once

    def noting(file: str, *identity: int) -> str:
        hashed.append(file)
        return str(once(file, *identity))

    monkeypatch.setattr(blocked_files, "_hash_once", noting)

    repository.get_local_path(logged(governed, "long.bin", "a size no blocked file has"))
    assert hashed == []
    repository.get_local_path(logged(governed, "same.bin", "other bytes"))
    assert len(hashed) == 1


def test_a_file_is_hashed_again_when_it_changed_in_place(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"first one")
    first = blocked_files._sha256(file)
    status = file.stat()

    file.write_bytes(b"secondone")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert blocked_files._sha256(file) != first


def test_a_manifest_is_read_once_for_it_never_changes(governed: Governed) -> None:
    ref = withdrawn(governed)
    record = governed.record(ref)
    assert record is not None
    assert record.digest is not None
    store = governed.store.governance.ports.store
    known = BlockedFiles()

    class Without:
        """A store nobody should ask."""

        def read(self) -> Any:
            raise AssertionError

    blocked = frozenset({record.digest})
    assert known.find(store, blocked, [governed.artifacts / PLACE / "model.bin"]) == record.digest
    assert known.may_have(Without(), blocked, len("bad weights"))  # type: ignore[arg-type]
