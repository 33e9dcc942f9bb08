from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlflow_governance.errors import InvalidRequest
from mlflow_governance.evidence import in_toto_files
from mlflow_governance.evidence.layout import FOLDER, MAX_LINKS
from mlflow_governance.submission.layout import read_layout
from tests.unit.evidence import layout_builders as make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in make.evidence().items():
        (tmp_path / name.removeprefix(FOLDER)).write_bytes(data)
    return tmp_path


def test_layout_and_links_are_read_under_their_evidence_names(folder: Path) -> None:
    assert read_layout(folder) == {
        f"{FOLDER}{path.name}": path.read_bytes() for path in folder.iterdir()
    }


def test_a_folder_without_a_layout_is_refused(folder: Path) -> None:
    (folder / "root.layout").unlink()

    with pytest.raises(InvalidRequest, match=r"holds no root\.layout"):
        read_layout(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read_layout(tmp_path / "none")


def test_other_files_are_not_sent_along(folder: Path) -> None:
    (folder / "owner.pem").write_text("secret")

    with pytest.raises(InvalidRequest, match=r"holds more .*: owner\.pem"):
        read_layout(folder)


@pytest.mark.parametrize("name", ["root.layout", "a.00000000.link"])
def test_symlinks_folders_and_pipes_are_not_followed(folder: Path, name: str) -> None:
    target = folder / name
    (folder / "elsewhere").write_bytes(target.read_bytes() if target.exists() else b"")
    outside = folder.parent / f"{folder.name}-outside"
    (folder / "elsewhere").rename(outside)
    for make_it in (lambda: target.symlink_to(outside), target.mkdir, lambda: os.mkfifo(target)):
        target.unlink(missing_ok=True)
        make_it()
        with pytest.raises(InvalidRequest):
            read_layout(folder)
        if target.is_dir() and not target.is_symlink():
            target.rmdir()


def test_a_layout_that_runs_commands_is_refused_before_it_is_sent(folder: Path) -> None:
    inspection = {"_type": "inspection", "name": "x", "run": ["true"]}
    root = make.layout(inspect=[{**inspection, "expected_materials": [], "expected_products": []}])
    (folder / "root.layout").write_bytes(make.signed(root, "owner"))

    with pytest.raises(InvalidRequest, match="asks to run commands"):
        read_layout(folder)


def test_a_link_that_is_none_is_refused_before_it_is_sent(folder: Path) -> None:
    (folder / "train.00000000.link").write_text("{}")

    with pytest.raises(InvalidRequest, match=r"train\.00000000\.link"):
        read_layout(folder)


def test_more_than_the_registry_reads_is_refused(folder: Path) -> None:
    (folder / "train.00000000.link").write_bytes(b" " * (in_toto_files.MAX_LINK_BYTES + 1))
    with pytest.raises(InvalidRequest, match="more than"):
        read_layout(folder)

    for number in range(MAX_LINKS):
        (folder / f"x.{number:08}.link").write_bytes(b"")
    with pytest.raises(InvalidRequest, match="at most 48"):
        read_layout(folder)
