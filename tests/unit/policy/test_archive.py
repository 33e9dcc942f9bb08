"""Archives of bundles: one spelling out, bounded and strict in."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy.archive import MAX_TOTAL_BYTES, pack, unpack
from mlflow_governance.policy.bundle import MANIFEST, MAX_PATH, from_files
from tests.unit.policy.builders import shipped

NAMES = st.text("abc_.", min_size=1, max_size=40).filter(lambda name: name.strip("./"))


def test_the_bytes_of_an_archive_are_the_same_on_any_machine() -> None:
    packed = pack({"b/data.json": b"{}", ".manifest": b"x" * 70_000})

    assert hashlib.sha256(packed).hexdigest() == (
        "7272ac2869c66b0da5584200f19b777a4d6fc8170006aa754bbc48ca40d05df2"
    )


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=300), min_size=1, max_size=5))
def test_what_was_packed_is_what_comes_out(files: dict[str, bytes]) -> None:
    files = {name: data for name, data in files.items() if not name.startswith((".", "/"))}

    assert dict(unpack(io.BytesIO(pack(files)), "it")) == files
    gzip.decompress(pack(files))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_spoiled_archive_raises_nothing_but_a_refusal(data: st.DataObject) -> None:
    good = gzip.decompress(pack({"registry/a.rego": b"package registry", MANIFEST: b"{}"}))[:2048]
    bad = bytearray(good)
    for _ in range(data.draw(st.integers(1, 8))):
        bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
    spoiled = gzip.compress(bytes(bad[: data.draw(st.integers(1, len(bad)))]))

    try:
        dict(unpack(io.BytesIO(spoiled), "it"))
    except ConfigurationError:
        return


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_endless_headers_and_bombs_are_bounded(form: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=form) as tar:
        member = tarfile.TarInfo("registry/" + "a" * 5000)
        tar.addfile(member)
    assert len(dict(unpack(io.BytesIO(buffer.getvalue()), "it"))) == 1

    bomb = gzip.compress(b"\0" * (3 * MAX_TOTAL_BYTES))
    with pytest.raises(ConfigurationError, match="unpacks to more"):
        dict(unpack(io.BytesIO(bomb), "it"))


def test_a_path_that_not_every_writer_of_tar_can_split_is_refused() -> None:
    segments = "/".join(["registry", "a" * 60, "b" * 75, "c.rego"])
    fits = segments.replace("a" * 60, "a" * (60 - (len(segments) - MAX_PATH)))
    rego = b"package registry.c\n"

    assert from_files({**shipped().files, fits: rego}).archive()
    with pytest.raises(ConfigurationError, match="longer than"):
        from_files({**shipped().files, f"registry/{fits}": rego})


def test_a_revision_that_looks_like_a_digest_must_be_the_digest() -> None:
    published = shipped().published()
    assert from_files(published).digest == shipped().digest

    named = {**published, MANIFEST: published[MANIFEST].replace(b"sha256:", b"release-")}
    assert from_files(named).digest == shipped().digest
    other = {**published, "registry/more.rego": b"package registry.more\n"}
    with pytest.raises(ConfigurationError, match="its revision is"):
        from_files(other)


def test_a_sparse_file_is_no_mebibyte_for_512_bytes() -> None:
    header = bytearray(_sparse("registry/a.rego", 1024 * 1024))
    archive = gzip.compress(bytes(header) + bytes(1024))

    with pytest.raises(ConfigurationError, match="sparse"):
        dict(unpack(io.BytesIO(archive), "it"))


def _sparse(name: str, size: int) -> bytes:
    """The header of an old GNU sparse file that is nothing but a hole."""
    member = tarfile.TarInfo(name)
    member.type = tarfile.GNUTYPE_SPARSE
    block = bytearray(member.tobuf(format=tarfile.GNU_FORMAT))
    block[386:410] = b"%011o\0%011o\0" % (size, 0)
    block[483:495] = b"%011o\0" % size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
