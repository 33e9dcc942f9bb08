import hashlib
import os
import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import hashing
from tests.unit.evidence import builders

LARGE = os.urandom(1024) * 3000  # above the size from which a file is a task of its own
FILES = {"MLmodel": b"abc", "empty": b"", "a/b/c": b"1", "a/governance/x": b"2", "big": LARGE}


@pytest.fixture(autouse=True, scope="module")
def _threads_even_for_little_work():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "_ALONE", 0)
        yield


@pytest.fixture
def model(tmp_path):
    return builders.write_model(tmp_path / "model", FILES)


@pytest.mark.parametrize("threads", [None, 1, 2, 7])
@pytest.mark.parametrize("private", [False, True])
def test_every_file_is_hashed(model, threads, private):
    manifest = hashing.hash_directory(model, threads=threads, private=private)

    assert {f.name: (f.size, f.sha256) for f in manifest.files} == {
        name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in FILES.items()
    }


def test_only_the_evidence_folder_at_the_top_is_left_out(model):
    before = hashing.hash_directory(model)
    builders.write_model(model, {"governance/evidence/model.sig": b"x"})

    assert hashing.hash_directory(model) == before
    assert "a/governance/x" in {f.name for f in before.files}


def test_many_small_files_are_hashed_once_each(tmp_path):
    files = {f"d{n % 7}/f{n}": str(n).encode() for n in range(500)}
    model = builders.write_model(tmp_path / "m", files)

    assert {f.name for f in hashing.hash_directory(model, threads=3).files} == set(files)


@pytest.mark.parametrize("private", [False, True])
def test_progress_adds_up_to_the_size(model, private):
    told: list[int] = []
    hashing.hash_directory(model, threads=4, progress=told.append, private=private)

    assert sum(told) == hashing.directory_size(model) == sum(map(len, FILES.values()))


def _symlink(path):
    path.symlink_to("MLmodel")


def _symlinked_folder(path):
    path.symlink_to("a")


def _pipe(path):
    os.mkfifo(path)


def _socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(path))


@pytest.mark.parametrize("make", [_symlink, _symlinked_folder, _pipe, _socket])
@pytest.mark.parametrize("name", ["odd", "a/odd", "governance"])
def test_what_is_no_plain_file_is_refused_by_name(model, make, name):
    make(model / name)

    for act in (hashing.hash_directory, hashing.directory_size):
        with pytest.raises(VerificationError, match=name):
            act(model)


def test_a_file_in_the_place_of_the_evidence_folder_is_refused(model):
    (model / "governance").write_bytes(b"hidden")

    with pytest.raises(VerificationError, match="governance"):
        hashing.hash_directory(model)


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\\b"])
def test_a_name_with_no_single_spelling_is_refused(model, name):
    (model / os.fsdecode(name)).write_bytes(b"x")

    with pytest.raises(VerificationError, match="unsafe file name"):
        hashing.hash_directory(model)


def test_an_empty_or_absent_directory_is_refused(tmp_path):
    (tmp_path / "m" / "governance").mkdir(parents=True)
    (tmp_path / "m" / "governance" / "x").write_bytes(b"x")

    with pytest.raises(VerificationError, match="no file"):
        hashing.hash_directory(tmp_path / "m")
    for name in ("absent", "m/governance/x"):
        with pytest.raises(VerificationError, match="cannot be read"):
            hashing.hash_directory(tmp_path / name)


def test_a_file_that_cannot_be_read_is_named(model, monkeypatch):
    (model / "MLmodel").chmod(0)
    if os.access(model / "MLmodel", os.R_OK):  # the superuser reads everything
        opened = os.open

        def refuse(path, *arguments, **options):
            if os.fspath(path).endswith("MLmodel"):
                raise PermissionError(13, "Permission denied")
            return opened(path, *arguments, **options)

        monkeypatch.setattr(hashing.os, "open", refuse)

    with pytest.raises(VerificationError, match="'MLmodel': Permission denied"):
        hashing.hash_directory(model)


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite"])
def test_a_file_that_changes_meanwhile_is_refused(model, change):
    changed = threading.Event()

    def meddle(count: int) -> None:
        if not changed.is_set():
            changed.set()
            with open(model / "big", "r+b") as file:
                if change == "shrink":
                    file.truncate(1500_000)
                else:
                    file.seek(0, os.SEEK_END if change == "grow" else os.SEEK_SET)
                    file.write(b"meddled")
            os.utime(model / "big", ns=(1, 1))

    with pytest.raises(VerificationError, match="changed while it was read: 'big'"):
        hashing.hash_directory(model, threads=1, progress=meddle)


def test_little_work_starts_no_thread(model, monkeypatch):
    monkeypatch.setattr(hashing, "_ALONE", 2**40)
    monkeypatch.setattr(hashing, "ThreadPoolExecutor", None)

    assert hashing.hash_directory(model, threads=4).size == sum(map(len, FILES.values()))


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.text("abcÄ. ", min_size=1, max_size=5).filter(lambda n: n.strip(".") != ""),
        st.binary(max_size=40),
        min_size=1,
    )
)
def test_the_digest_does_not_depend_on_threads_or_order(tmp_path_factory, files):
    model = builders.write_model(tmp_path_factory.mktemp("m"), files)

    assert hashing.hash_directory(model, threads=1) == hashing.hash_directory(model, threads=4)
