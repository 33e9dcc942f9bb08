"""A purge deletes one directory of the cache and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_governance.core.digest import hex_of
from mlflow_governance.errors import InvalidRequest
from tests.unit.outbox.builders import MODEL
from tests.unit.webhooks.builders import cached, receiver
from webhooks.receiver import cache


def test_a_read_only_copy_is_deleted(tmp_path: Path):
    cached(tmp_path, MODEL)
    assert cache.purge(tmp_path, MODEL)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_is_no_error(tmp_path: Path):
    assert not cache.purge(tmp_path, MODEL)
    assert not cache.purge(tmp_path / "no such cache", MODEL)


def test_a_link_is_removed_and_what_it_points_at_stays(tmp_path: Path):
    root, outside = tmp_path / "cache", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "kept").write_text("x")
    (root / hex_of(MODEL)).symlink_to(outside)
    assert cache.purge(root, MODEL)
    assert list(root.iterdir()) == []
    assert (outside / "kept").exists()


def test_a_link_inside_the_copy_is_not_followed(tmp_path: Path):
    root, outside = tmp_path / "cache", tmp_path / "outside"
    (root / hex_of(MODEL)).mkdir(parents=True)
    outside.mkdir(mode=0o755)
    (outside / "kept").write_text("x")
    (root / hex_of(MODEL) / "link").symlink_to(outside)
    assert cache.purge(root, MODEL)
    assert (outside / "kept").exists()
    assert outside.stat().st_mode & 0o777 == 0o755


def test_a_file_of_that_name_goes_too(tmp_path: Path):
    (tmp_path / hex_of(MODEL)).write_text("x")
    assert cache.purge(tmp_path, MODEL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["", "..", "sha256:..", "sha256:" + "/" * 64, None, 1])
def test_anything_but_a_digest_is_refused(tmp_path: Path, value: object):
    with pytest.raises(InvalidRequest):
        cache.purge(tmp_path, value)


def test_a_purge_that_was_killed_is_finished_at_the_next_start(tmp_path: Path):
    left = cached(tmp_path / "cache", MODEL)
    left.rename(left.with_name(f".purged-{left.name}-0000"))
    receiver(tmp_path)
    assert list((tmp_path / "cache").iterdir()) == []
