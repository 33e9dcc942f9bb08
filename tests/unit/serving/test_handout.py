from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlflow_governance.errors import InvalidRequest, NotFound, Unavailable, VerificationError
from mlflow_governance.evidence.hashing import hash_directory
from mlflow_governance.serving.handout import copy_file, copy_to, files_of, part_of
from mlflow_governance.serving.verify import Verified, verify
from tests.unit.serving.builders import NOW, URI, Summary, World


@pytest.fixture
def verified(world: World) -> Verified:
    (world.registry.stored / "code").mkdir()
    (world.registry.stored / "code" / "helper.py").write_text("x = 1\n")
    world.sign()
    world.attest()
    world.decide(Summary(at=NOW))
    return verify(URI, world.settings, world.connections)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "destination"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("path", "part"),
    [(None, ""), ("", ""), (".", ""), ("./", ""), ("MLmodel", "MLmodel"), ("./code/", "code"),
     ("code//helper.py", "code/helper.py"), ("code/../MLmodel", "MLmodel")],
)  # fmt: skip
def test_a_part_has_one_spelling(verified: Verified, path: str | None, part: str) -> None:
    assert part_of(verified.snapshot.manifest, path) == part


@pytest.mark.parametrize(
    "path", ["nothing", "cod", "code/helper", "..", "../model", "/etc/passwd", "MLmodel/x", "\0",
             "code/%2e%2e/MLmodel", "mlmodel", "registered_model_meta"],
)  # fmt: skip
def test_what_is_not_in_the_verified_model_is_not_found(verified: Verified, path: str) -> None:
    with pytest.raises(NotFound, match="the verified model has no"):
        part_of(verified.snapshot.manifest, path)


@pytest.mark.parametrize(
    "path", ["governance", "governance/evidence/model.sig", "./governance", "code/../governance/x"]
)
def test_evidence_is_no_part_of_a_model(verified: Verified, path: str) -> None:
    with pytest.raises(VerificationError, match="is evidence"):
        part_of(verified.snapshot.manifest, path)


def test_a_copy_holds_the_verified_bytes_and_may_be_written_to(
    verified: Verified, folder: Path
) -> None:
    assert copy_to(verified, "", folder) == folder

    assert hash_directory(folder).digest == verified.digest
    assert os.access(folder / "MLmodel", os.W_OK)
    assert (folder / "code").stat().st_mode & 0o700 == 0o700


@pytest.mark.parametrize("part", ["code", "code/helper.py"])
def test_a_part_keeps_its_path(verified: Verified, folder: Path, part: str) -> None:
    assert copy_to(verified, part, folder) == folder / part

    assert [path for path in folder.rglob("*") if path.is_file()] == [folder / "code" / "helper.py"]


def test_copying_twice_mends_what_changed_in_between(verified: Verified, folder: Path) -> None:
    copy_to(verified, "", folder)
    (folder / "MLmodel").write_text("changed")
    (folder / "meta").write_text("beside it")

    copy_to(verified, "", folder, also="meta")

    (folder / "meta").unlink()
    assert hash_directory(folder).digest == verified.digest


def test_a_folder_that_would_hold_more_than_the_model_is_refused(
    verified: Verified, folder: Path
) -> None:
    (folder / "code").mkdir()
    (folder / "code" / "json.py").write_text("import os")

    for part in ("", "code"):
        with pytest.raises(InvalidRequest, match=r"but also (code/)?json\.py") as caught:
            copy_to(verified, part, folder)
        assert "empty folder" in caught.value.advice
    assert copy_to(verified, "MLmodel", folder) == folder / "MLmodel"


def test_no_link_is_followed_out_of_the_folder(
    verified: Verified, folder: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (folder / "code").symlink_to(outside)
    for part in ("", "code", "code/helper.py"):
        with pytest.raises(InvalidRequest):
            copy_to(verified, part, folder)
    assert list(outside.iterdir()) == []

    (folder / "code").unlink()
    (folder / "MLmodel").symlink_to(outside / "file")
    copy_to(verified, "MLmodel", folder)
    assert not (folder / "MLmodel").is_symlink()
    assert list(outside.iterdir()) == []


def test_a_folder_under_another_name_is_a_folder(
    verified: Verified, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "name").symlink_to(folder)

    assert copy_to(verified, "", tmp_path / "name") == tmp_path / "name"
    assert hash_directory(folder).digest == verified.digest


def test_bytes_that_changed_since_they_were_verified_get_no_name(
    verified: Verified, folder: Path
) -> None:
    path = verified.path / "MLmodel"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes() + b"\n")

    with pytest.raises(VerificationError, match="file changed since it was verified: MLmodel"):
        copy_to(verified, "MLmodel", folder)
    assert list(folder.iterdir()) == []


def test_a_copy_that_cannot_be_made_is_an_error_of_ours(verified: Verified, folder: Path) -> None:
    (entry,) = files_of(verified.snapshot.manifest, "MLmodel")
    with pytest.raises(Unavailable, match="cannot be copied"):
        copy_file(verified, entry, folder / "absent" / "MLmodel")
    with pytest.raises(InvalidRequest, match="there is no folder"):
        copy_to(verified, "", folder / "absent")
    (folder / "code").write_text("a file")
    with pytest.raises(Unavailable, match="cannot be made"):
        copy_to(verified, "code/helper.py", folder)
