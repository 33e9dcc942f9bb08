from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlflow_governance.core import digest
from mlflow_governance.errors import ConfigurationError, Unavailable, VerificationError
from mlflow_governance.evidence.interface import EvidenceItem
from mlflow_governance.serving import evidence as beside
from mlflow_governance.serving.cache import ModelCache
from mlflow_governance.serving.evidence import Evidence
from mlflow_governance.serving.files import private_directory, read_file, replace_file
from mlflow_governance.serving.uri import ModelUri
from mlflow_governance.serving.verify import verify
from tests.unit.serving.builders import NAME, REF, URI, World


def run(world: World) -> Path:
    return verify(URI, world.settings, world.connections).path


def test_many_at_once_bring_one_copy_and_leave_nothing_else(world: World) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = {future.result() for future in [pool.submit(run, world) for _ in range(8)]}

    assert found == {world.copy}
    assert {path.name for path in world.settings.cache_dir.iterdir()} == {
        digest.hex_of(world.digest), "index.json", "revocations.json",
    }  # fmt: skip


def test_a_damaged_copy_gives_way_to_a_whole_one(world: World) -> None:
    path = run(world)
    os.chmod(path, 0o700)
    (path / "extra.py").write_text("import os")

    run(world)

    assert ModelCache(world.settings.cache_dir).whole(world.digest)


def test_what_a_process_that_died_left_is_swept_after_a_day(world: World) -> None:
    run(world)
    old, young = (world.settings.cache_dir / f".incoming-{name}" for name in ("old", "young"))
    for left in (old, young):
        (left / "model").mkdir(parents=True)
        (left / "model").chmod(0o500)
    os.utime(old, times=(time.time() - 90_000,) * 2)

    run(world)

    assert not old.exists()
    assert young.exists()


def test_a_cache_that_cannot_be_made_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError) as caught:
        ModelCache(tmp_path / "file" / "cache")
    assert "MLFLOW_GOVERNANCE_CACHE" in caught.value.advice


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_cache_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)

    with pytest.raises(ConfigurationError, match="another user"):
        private_directory(folder)


def test_a_link_a_pipe_and_a_large_file_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 11)
    (tmp_path / "link").symlink_to(tmp_path / "large")
    os.mkfifo(tmp_path / "pipe")

    for name in ("large", "link", "pipe"):
        with pytest.raises(VerificationError):
            read_file(tmp_path / name, 10)
    with pytest.raises(VerificationError):
        read_file(tmp_path, 10)
    assert read_file(tmp_path / "absent", 10) is None


def test_a_file_that_cannot_be_replaced_stays_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "inside").write_text("kept")

    with pytest.raises(Unavailable, match="cannot be written"):
        replace_file(tmp_path / "target", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize(
    "entry", ["null", "1", '{"name":"a"}', '{"digest":"x","name":"a","version":1}',
              '{"digest":"x","name":"a","version":"one"}'],
)  # fmt: skip
def test_a_malformed_entry_of_the_index_is_refused(tmp_path: Path, entry: str) -> None:
    cache = ModelCache(tmp_path / "cache")
    (tmp_path / "cache" / "index.json").write_text(
        f'{{"policy_digests":[1],"schema":1,"uris":{{"models:/a/1":{entry}}}}}'
    )

    with pytest.raises(VerificationError):
        cache.recall(ModelUri.parse("models:/a/1"))
    with pytest.raises(VerificationError, match="damaged"):
        cache.policy_digests()


def test_evidence_is_kept_byte_for_byte_even_two_of_one_name() -> None:
    found = Evidence(
        (EvidenceItem("model.sig", b"1"), EvidenceItem("model.sig", b"2")),
        (EvidenceItem("decisions/promote-1.vsa.json", b"\0\xff"),),
    )

    assert beside.unpack(beside.pack(found)) == found


def test_more_evidence_than_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "governance" / "evidence"
    folder.mkdir(parents=True)
    for number in range(5):
        (folder / f"{number}.intoto.json").write_bytes(b"x" * 100)
    assert len(beside.read_folder(tmp_path / "governance", REF).items) == 5

    monkeypatch.setattr(beside, "MAX_FILES", 4)
    with pytest.raises(VerificationError, match="more evidence"):
        beside.read_folder(tmp_path / "governance", REF)
    monkeypatch.setattr(beside, "MAX_FILES", 5)
    monkeypatch.setattr(beside, "MAX_BYTES", 499)
    with pytest.raises(VerificationError, match="more evidence"):
        beside.read_folder(tmp_path / "governance", REF)


def test_only_what_belongs_to_this_version_is_taken(world: World) -> None:
    other = world.registry.stored / "governance" / "other" / "v3" / "decisions"
    other.mkdir(parents=True)
    (other / "promote-9.vsa.json").write_bytes(b"{}")

    found = beside.read_folder(world.registry.stored / "governance", REF)

    assert [item.name for item in found.decisions] == ["decisions/promote-0.vsa.json"]
    assert REF.name == NAME
