"""Whatever a path is spelled like: the guard means the file the storage means."""

from __future__ import annotations

import os
import unicodedata
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from mlflow_governance.errors import Denied, InvalidRequest
from mlflow_governance.plugin import places
from mlflow_governance.plugin.places import Root, root_anywhere, root_below, true_path

FILE = "1/models/m-1/artifacts/sub/weights.bin"
LOCATION = "1/models/m-1/artifacts"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk") / "artifacts"
    (folder / FILE).parent.mkdir(parents=True)
    (folder / FILE).write_bytes(b"secret")
    (folder / "1/models/link").symlink_to(folder / LOCATION, target_is_directory=True)
    (folder / "1/models/file").symlink_to(folder / FILE)
    return folder


_TRICKS = st.sampled_from(
    [
        *("", "/", "//", ".", "./", "..", "../", "%2e%2e/", "%2E", "%2f", "%252f", "%25"),
        *("file:", "file:/", "file://", "FILE:", "?", "#", ";", "?x", "\\", ":", " ", "\t"),
        *("\r\n", "\0", "\x01", "\x7f", "\u2024", "\uff0f", "\u200b", "\ufeff", "~", "*", "+"),
        *("1", "models", "m-1", "artifacts", "sub", "weights.bin", "link", "file", "MODELS"),
    ]
)


@st.composite
def _spellings(draw: Any) -> str:
    parts = [
        draw(st.sampled_from(["1", "%31", "1"])),
        draw(st.sampled_from(["models", "%6dodels", "m%6fdels", "%256dodels", "Models"])),
        draw(st.sampled_from(["m-1", "link", "m%2d1", "file", "./m-1", "x/../m-1"])),
        draw(st.sampled_from(["artifacts", "%61rtifacts", "", "artifacts/."])),
        draw(st.sampled_from(["sub", "s%75b", "", "%73ub"])),
        draw(st.sampled_from(["weights.bin", "weights%2ebin", "weights%252ebin", ""])),
    ]
    for _ in range(draw(st.integers(0, 3))):
        parts.insert(draw(st.integers(0, len(parts))), draw(_TRICKS))
    glue = [draw(st.sampled_from(["/", "/", "/", "//", "/./", "%2f", ""])) for _ in parts]
    return "".join(part + between for part, between in zip(parts, glue, strict=True))


def _read(repository: LocalArtifactRepository, spelling: str) -> Path | None:
    try:
        found = repository.get_local_path(spelling)
    except Exception:  # whatever storage makes of it, it hands out nothing
        return None
    return None if found is None else Path(found)


@given(spelling=_spellings(), below=st.sampled_from(["", "1", "1/models", "1/models/m-1"]))
@example(spelling="%2531/models/m-1/artifacts/sub/weights.bin", below="")
@example(spelling="file:1/models/m-1/artifacts/sub/weights.bin", below="")
@example(spelling=" 1/models/m-1/artifacts/sub/weights.bin?", below="")
@example(spelling="1/models/file", below="")
@example(spelling="1/\tmodels/link/sub", below="")
@settings(max_examples=1500, deadline=None)
def test_whatever_spelling_storage_reads_a_file_by_the_guard_knows_the_file(
    disk: Path, spelling: str, below: str
) -> None:
    folder = disk / below
    spelling = spelling.removeprefix(below + "/") if below else spelling
    found = _read(LocalArtifactRepository(str(folder)), spelling)
    if found is None or not found.is_relative_to(disk):
        return
    root = root_below("dest", f"dest/{below}".rstrip("/"), folder)

    meant = root.places(spelling)

    inside = os.path.relpath(os.path.realpath(found), os.path.realpath(disk))
    assert ("" if inside == "." else inside) in meant


@given(spelling=_spellings())
@example(spelling="1/models/link/../artifacts/sub/weights.bin")
@settings(max_examples=300, deadline=None)
def test_whatever_spelling_storage_deletes_by_the_guard_knows_it(disk: Path, spelling: str) -> None:
    from mlflow.utils.file_utils import local_file_uri_to_path

    target = local_file_uri_to_path(os.path.join(str(disk), spelling))
    if "\0" in target or not os.path.exists(target):
        return
    inside = os.path.relpath(os.path.realpath(target), os.path.realpath(disk))
    if inside.startswith(".."):
        return

    assert ("" if inside == "." else inside) in Root("", "", disk, disk).places(spelling)


@pytest.mark.parametrize(
    "path", ["/etc", "a//b", "../b", "a/../b", "./a", "a/./b", "a\0b", "x" * 5000]
)
def test_an_object_store_takes_one_spelling_only(path: str) -> None:
    with pytest.raises(InvalidRequest):
        Root("", "").places(path)


@pytest.mark.parametrize("path", ["a/b", "a/b/", ".hidden", "a%2fb", "A/b", "a b", "a\\b", "é"])
def test_an_object_stores_key_is_taken_as_it_stands(path: str) -> None:
    assert Root("", "1").places(path) == [f"1/{path.rstrip('/')}"]


@pytest.mark.parametrize("path", ["", ".", None])
def test_nothing_named_is_the_root_itself(path: str | None, tmp_path: Path) -> None:
    assert Root("", "1").places(path) == ["1"]
    assert Root("", "1", tmp_path / "1", tmp_path).places(path) == ["1"]


def test_links_lead_to_what_they_link(disk: Path) -> None:
    root = Root("", "", disk, disk)

    assert LOCATION + "/sub/weights.bin" in root.places("1/models/link/sub/weights.bin")
    assert FILE in root.places("1/models/file")


def test_a_destination_behind_a_link_is_the_same_destination(disk: Path, tmp_path: Path) -> None:
    behind = tmp_path / "behind"
    behind.symlink_to(disk, target_is_directory=True)

    root = root_anywhere("file:///x", f"file://{disk}/1/models", disk / "1/models", behind)

    assert root.places("m-1/artifacts") == [LOCATION]


def test_a_folder_elsewhere_has_its_own_name(disk: Path, tmp_path: Path) -> None:
    root = root_anywhere("file:///x", str(tmp_path), tmp_path, disk)

    assert all(place.startswith("file://") for place in root.places("a"))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_disk_that_folds_names_gives_each_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Any
) -> None:
    # Such a disk is not at hand everywhere, so what it does is shown to the code by hand.
    listed = unicodedata.normalize(form, "Modèle")
    (tmp_path / listed).mkdir()
    (tmp_path / listed / "F.bin").write_bytes(b"x")
    same = os.path.samefile

    def folded(path: str) -> str:
        return unicodedata.normalize("NFC", path).lower()

    monkeypatch.setattr(os.path, "samefile", lambda a, b: folded(a) == folded(b) or same(a, b))
    monkeypatch.setattr(os.path, "exists", lambda path: "new" not in path)
    places._folds_names.cache_clear()
    try:
        found = true_path(str(tmp_path / "MODÈLE" / "f.BIN"))
        new = true_path(str(tmp_path / "modèle" / "new.bin"))
    finally:
        places._folds_names.cache_clear()

    assert found == str(tmp_path / listed / "F.bin")
    assert new == str(tmp_path / listed / "new.bin")


@pytest.mark.parametrize("uri", ["s3://b/other", "s3://b/artifacts2", "s3://b/artifacts/%31"])
def test_what_may_lie_outside_is_not_below_the_destination(uri: str) -> None:
    with pytest.raises(Denied, match="outside the artifact destination"):
        root_below("s3://b/artifacts", uri, None)


def test_a_bucket_of_somebody_else_keeps_its_address() -> None:
    root = root_anywhere("s3://b/artifacts", "S3://other/a/?versionId=1", None, None)

    assert root.places("f") == ["s3://other/a/f"]
    assert root_anywhere("s3://b/a", "s3://b/a/1", None, None).places("f") == ["1/f"]


def test_percent_encoded_twice_is_still_the_same_file(disk: Path) -> None:
    spelling = urllib.parse.quote(urllib.parse.quote(FILE, safe=""), safe="")

    assert FILE in Root("", "", disk, disk).places(spelling)
