"""What is remembered about a copy, so that it is hashed once, and what makes it forgotten."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_governance.core.manifest import FileEntry, Manifest
from mlflow_governance.errors import GovernanceError, VerificationError
from mlflow_governance.evidence import hashing
from mlflow_governance.evidence.hashing import Found, Progress, hash_directory
from mlflow_governance.serving import proved
from mlflow_governance.serving.files import delete_tree
from mlflow_governance.serving.verify import Verified, verify
from tests.unit.serving import builders
from tests.unit.serving.builders import NOW, OTHER_POLICY, POLICY, URI, World, blocked, revocations


class Reads:
    """Which files were hashed, and which opened, since it was last cleared."""

    def __init__(self) -> None:
        self.hashed: list[str] = []
        self.opened: list[str] = []

    def clear(self) -> None:
        self.hashed.clear()
        self.opened.clear()

    def opened_below(self, folder: Path) -> list[str]:
        return [name for name in self.opened if name.startswith(f"{folder}/")]


_READS = Reads()


@pytest.fixture(scope="module", autouse=True)
def _audit() -> None:
    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], (str, Path)):
            _READS.opened.append(str(arguments[0]))

    sys.addaudithook(note)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    hash_file = hashing._hash_file

    def counted(found: Found, told: Progress, private: bool) -> FileEntry:
        _READS.hashed.append(found.name)
        return hash_file(found, told, private)

    monkeypatch.setattr(hashing, "_hash_file", counted)
    return _READS


@pytest.fixture
def loaded(world: World, reads: Reads) -> World:
    """A consumer that has loaded the model once."""
    run(world)
    world.registry.tag = world.digest
    world.change(offline=True)
    assert len(reads.hashed) >= 5
    reads.clear()
    return world


def run(world: World) -> Verified:
    return verify(URI, world.settings, world.connections)


def refusal(world: World) -> str:
    with pytest.raises(VerificationError) as caught:
        run(world)
    return str(caught.value)


def model_file(copy: Path) -> Path:
    return max(copy.glob("model.*"), key=lambda path: path.stat().st_size)


def flip(path: Path) -> None:
    """Another byte in the middle, with the size, mode and times of before."""
    status = path.stat()
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    path.chmod(status.st_mode & 0o777)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(path: Path, data: bytes) -> None:
    """Another file of the same name, mode and times."""
    status = path.stat()
    path.parent.chmod(0o700)
    path.unlink()
    path.write_bytes(data)
    path.chmod(status.st_mode & 0o777)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    path.parent.chmod(0o500)


def record_of(world: World) -> Path:
    return world.copy.parent / proved.RECORD


@pytest.mark.parametrize("offline", [True, False])
def test_a_second_load_hashes_nothing_and_opens_none_of_the_files(
    loaded: World, reads: Reads, offline: bool
) -> None:
    loaded.change(offline=offline)
    copy = loaded.copy
    reads.clear()

    found = run(loaded)

    assert reads.hashed == []
    assert reads.opened_below(copy) == []
    assert found.facts["signature"]["signer"] == "pipeline"
    assert hash_directory(found.path).digest == found.digest


def test_a_flipped_byte_is_refused_although_its_times_were_set_back(loaded: World) -> None:
    path = model_file(loaded.copy)
    before = path.stat()
    flip(path)
    after = path.stat()

    def seen(status: os.stat_result) -> tuple[int, ...]:
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode

    assert seen(before) == seen(after)
    assert f"file changed: {path.name}" in refusal(loaded)


def test_a_file_replaced_by_other_bytes_is_refused(loaded: World) -> None:
    path = model_file(loaded.copy)
    data = path.read_bytes()
    replace(path, data[:-1] + bytes([data[-1] ^ 1]))

    assert f"file changed: {path.name}" in refusal(loaded)


def test_a_file_replaced_by_the_same_bytes_is_hashed_once_more(loaded: World, reads: Reads) -> None:
    path = model_file(loaded.copy)
    replace(path, path.read_bytes())
    reads.clear()

    run(loaded)
    assert path.name in reads.hashed
    reads.clear()
    run(loaded)
    assert reads.hashed == []


def test_an_added_a_missing_and_a_linked_file_are_refused(loaded: World) -> None:
    copy = loaded.copy
    copy.chmod(0o700)
    requirements = copy / "requirements.txt"
    elsewhere = requirements.rename(loaded.home / "elsewhere")
    assert "file missing: requirements.txt" in refusal(loaded)

    copy.chmod(0o700)
    requirements.symlink_to(elsewhere)
    assert "symlink" in refusal(loaded)
    assert elsewhere.stat().st_mode & 0o777 == 0o400

    requirements.unlink()
    elsewhere.rename(requirements)
    (copy / "extra.py").write_text("import os")
    assert "file added: extra.py" in refusal(loaded)


def test_evidence_put_into_the_copy_is_refused(loaded: World) -> None:
    loaded.copy.chmod(0o700)
    (loaded.copy / "governance").mkdir()

    assert "put into a verified copy" in refusal(loaded)


def test_a_file_made_writable_is_hashed_and_made_read_only_again(
    loaded: World, reads: Reads
) -> None:
    path = model_file(loaded.copy)
    path.chmod(0o600)
    reads.clear()

    run(loaded)

    assert path.name in reads.hashed
    assert path.stat().st_mode & 0o777 == 0o400


def test_a_touched_file_is_hashed_again(loaded: World, reads: Reads) -> None:
    os.utime(model_file(loaded.copy))

    run(loaded)

    assert reads.hashed


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _of_another_boot(path: Path) -> None:
    record = json.loads(path.read_text())
    record["boot"] = "0" * 36
    path.write_text(json.dumps(record))


def _linked(path: Path) -> None:
    path.symlink_to(path.rename(path.with_name("elsewhere")))


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink, _cut, _of_another_boot, _linked, *(
            lambda path, text=text: path.write_text(text)
            for text in ("", "[]", "{}", '{"boot":"","files":[],"schema":1}', "\0",
                         '{"boot":null,"files":[{"name":1,"sha256":[],"size":{},"seen":1}],'
                         '"schema":1}', "[" * 100_000)
        ),
    ],
)  # fmt: skip
def test_without_a_record_that_is_whole_everything_is_hashed(
    loaded: World, reads: Reads, damage: Callable[[Path], object]
) -> None:
    damage(record_of(loaded))
    reads.clear()

    run(loaded)

    assert len(reads.hashed) >= 5


def test_a_record_forged_for_changed_bytes_is_not_believed(loaded: World) -> None:
    path = model_file(loaded.copy)
    flip(path)
    real = hash_directory(loaded.copy)
    record = json.loads(record_of(loaded).read_text())
    hashes = {file.name: file.sha256 for file in real.files}
    for file in record["files"]:
        file["sha256"] = hashes[file["name"]]
        file["seen"] = proved._fingerprint(os.lstat(loaded.copy / file["name"]))
    record_of(loaded).write_text(json.dumps(record))

    assert f"file changed: {path.name}" in refusal(loaded)


def test_a_copy_moved_here_from_elsewhere_is_hashed(loaded: World, reads: Reads) -> None:
    moved = loaded.home / "moved"
    shutil.copytree(loaded.settings.cache_dir, moved)
    loaded.change(cache_dir=moved)
    flip(model_file(loaded.copy))

    assert "file changed" in refusal(loaded)


def test_a_file_system_whose_clock_stands_still_is_believed_nothing(
    world: World, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proved, "_is_past", lambda *_: False)
    run(world)
    world.change(offline=True)

    assert not record_of(world).exists()
    reads.clear()
    run(world)
    assert len(reads.hashed) >= 5


def test_a_clock_is_past_a_moment_only_when_a_change_would_show(tmp_path: Path) -> None:
    now = tmp_path.stat().st_ctime_ns

    def at(moment: int) -> dict[str, str]:
        return {"file": f"1:2:3:4:{moment}:6"}

    assert proved._is_past(tmp_path, at(now))
    assert not proved._is_past(tmp_path, at(now + 3600 * 10**9))
    assert list(tmp_path.iterdir()) == []


def test_a_change_while_it_is_hashed_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changing(model: Path, private: bool) -> Manifest:
        manifest = hash_directory(model, private=private)
        flip(model / "weights")
        return manifest

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"x" * 100)
    monkeypatch.setattr(proved, "hash_directory", changing)

    manifest = proved.prove(tmp_path)

    assert proved.remembered(tmp_path, manifest.digest) is None
    assert not (tmp_path / proved.RECORD).exists()


def test_where_nothing_can_be_written_the_copy_is_hashed_each_time(
    loaded: World, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    record_of(loaded).unlink()
    monkeypatch.setattr(proved.files, "make_read_only", read_only)

    for _ in range(2):
        reads.clear()
        run(loaded)
        assert len(reads.hashed) >= 5


def test_what_was_revoked_meanwhile_is_refused_without_hashing(loaded: World, reads: Reads) -> None:
    loaded.registry.listed = revocations(blocked(loaded.digest), epoch=8)
    reads.clear()

    assert "is Revoked since" in refusal(loaded)
    assert reads.hashed == []


def test_what_another_policy_judged_is_refused_without_hashing(loaded: World, reads: Reads) -> None:
    loaded.change(offline=False)
    loaded.registry.policies = frozenset({OTHER_POLICY})
    digest = loaded.digest  # hashes the store
    loaded.registry.tag = digest
    reads.clear()

    assert f"under the policy {POLICY}, which does not count" in refusal(loaded)
    assert reads.hashed == []


# Whatever happens to the copy, to what the registry says and to the clock between two loads.

STEPS = (
    "load", "flip", "touch", "chmod", "replace", "add", "delete", "forget", "cut", "purge",
    "revoke", "release", "other policy", "this policy", "distrust", "trust", "expire", "renew",
)  # fmt: skip


class Consumer:
    """A host with a cache, to which things happen."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.epoch = 7
        self.subject = world.digest
        world.registry.tag = self.subject

    def step(self, name: str) -> None:
        world = self.world
        if name in ("flip", "touch", "chmod", "replace", "add", "delete", "forget", "cut", "purge"):
            self._to_the_copy(name)
        elif name in ("revoke", "release"):
            self.epoch += 1
            entries = blocked(self.subject) if name == "revoke" else []
            world.registry.listed = revocations(entries, epoch=self.epoch, issued_at=world.now)
        elif name in ("expire", "renew"):
            world.now += timedelta(hours=25)
            if name == "renew":
                self.epoch += 1
                world.registry.listed = revocations(epoch=self.epoch, issued_at=world.now)
        elif name.endswith("policy"):
            policy = POLICY if name == "this policy" else OTHER_POLICY
            world.registry.policies = frozenset({policy})
        elif name.endswith("trust"):
            world.trust(*(builders.TRUST if name == "trust" else builders.TRUST[1:]))

    def _to_the_copy(self, name: str) -> None:
        copy = self.world.copy
        if not copy.is_dir():
            return
        path, record = model_file(copy), copy.parent / proved.RECORD
        if name == "flip":
            flip(path)
        elif name == "touch":
            os.utime(path)
        elif name == "chmod":
            path.chmod(0o640)
        elif name == "replace":
            replace(path, path.read_bytes())
        elif name in ("add", "delete"):
            copy.chmod(0o700)
            (copy / "extra").write_text("x") if name == "add" else (copy / "conda.yaml").unlink(
                missing_ok=True
            )
        elif name == "purge":
            from webhooks.receiver.cache import purge

            purge(self.world.settings.cache_dir, self.subject)
        elif record.exists():
            record.unlink() if name == "forget" else _cut(record)

    def verdict(self, cache: Path, *, offline: bool) -> tuple[str, object]:
        world = self.world
        kept = world.settings
        world.change(cache_dir=cache, offline=offline)
        try:
            found = run(world)
        except GovernanceError as error:
            return type(error).__name__, str(error)
        finally:
            world.settings = kept
        assert hash_directory(found.path).digest == found.digest == self.subject
        return "loaded", found.facts


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=8))
def test_the_verdict_of_the_cache_is_that_of_an_empty_one_whatever_happened_between(
    trained: Path, tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    home = tmp_path_factory.mktemp("property")
    consumer = Consumer(builders.world(home, trained))
    consumer.world.now = NOW
    cache = consumer.world.settings.cache_dir
    for number, name in enumerate(("load", *steps, "load")):
        consumer.step(name)
        other = home / str(number)
        if name == "load":
            fresh = consumer.verdict(other, offline=False)
            assert consumer.verdict(cache, offline=False) == fresh
        else:
            # The same files under other inodes: nothing remembered of them counts.
            shutil.copytree(cache, other, symlinks=True)
            hashed = consumer.verdict(other, offline=True)
            assert consumer.verdict(cache, offline=True) == hashed
    delete_tree(home)
