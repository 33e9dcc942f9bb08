"""Policies from an OCI image layout: each blob is what its digest says, and one is meant."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_governance.core import digest
from mlflow_governance.errors import (
    ConfigurationError,
    GovernanceError,
    Unavailable,
    VerificationError,
)
from mlflow_governance.policy.oci import LAYER, MANIFEST, Layout
from mlflow_governance.policy.sources import Demand, PolicySource
from tests.unit.policy.builders import configured, shipped
from tests.unit.policy.signed import signed_archive, trusted

OLD, NEW = shipped(), configured(blocking_cvss=6.5)
CONFIG = "application/vnd.oci.image.config.v1+json"
NAME = "org.opencontainers.image.ref.name"

Change = Callable[[dict[str, Any]], None]


def unchanged(_: dict[str, Any]) -> None:
    pass


def put(folder: Path, data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    """A blob, and the descriptor of it."""
    found = digest.of_bytes(data)
    blob = folder / "blobs" / "sha256" / digest.hex_of(found)
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(data)
    return {"mediaType": media_type, "digest": found, "size": len(data), **more}


def image(
    folder: Path, archive: bytes, tag: str = "latest", *, manifest: Change = unchanged
) -> dict[str, Any]:
    """One image, as ``oras push --oci-layout`` writes it."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": put(folder, b"{}", CONFIG),
        "layers": [put(folder, archive, LAYER)],
    }
    manifest(document)
    return put(folder, json.dumps(document).encode(), MANIFEST, annotations={NAME: tag})


def layout(folder: Path, *images: dict[str, Any], index: Change = unchanged) -> Path:
    document: dict[str, Any] = {"schemaVersion": 2, "manifests": list(images)}
    index(document)
    folder.mkdir(exist_ok=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps(document))
    return folder


def tarred(folder: Path, path: Path) -> Path:
    with tarfile.open(path, "w") as tar:
        tar.add(folder, ".")
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "image"
    return layout(folder, image(folder, signed_archive(OLD)))


def source(home: Path, reference: str) -> PolicySource:
    return PolicySource(reference, Demand(lambda: [trusted()]), home)


def refuses(reference: str, word: str, base: Path) -> None:
    with pytest.raises(VerificationError, match=word):
        Layout.parse(reference, base).layer()


def test_a_signed_bundle_is_read_from_a_layout(place: Path, tmp_path: Path) -> None:
    loaded = source(tmp_path, "oci:image").fetch()

    assert (loaded.bundle.digest, loaded.signer) == (OLD.digest, "security")


def test_a_layout_in_a_tar_is_read_alike(place: Path, tmp_path: Path) -> None:
    tarred(place, tmp_path / "image.tar")

    for reference in ("oci:image.tar", "oci:image.tar:latest"):
        assert source(tmp_path, reference).fetch().bundle.digest == OLD.digest


def test_an_image_nobody_signed_is_refused(tmp_path: Path) -> None:
    layout(tmp_path / "image", image(tmp_path / "image", OLD.archive()))

    with pytest.raises(VerificationError, match="not signed"):
        source(tmp_path, "oci:image").fetch()


def test_a_tag_or_a_digest_chooses_one_of_several(tmp_path: Path) -> None:
    folder = tmp_path / "image"
    old = image(folder, signed_archive(OLD), "v1")
    new = image(folder, signed_archive(NEW), "v2")
    layout(folder, old, new)

    assert source(tmp_path, "oci:image:v1").fetch().bundle.digest == OLD.digest
    assert source(tmp_path, "oci:image:v2").fetch().bundle.digest == NEW.digest
    assert source(tmp_path, f"oci:image@{new['digest']}").fetch().bundle.digest == NEW.digest
    for reference in ("oci:image", "oci:image:v3", f"oci:image@{digest.of_bytes(b'no')}"):
        refuses(reference, "must be one", tmp_path)


def test_an_image_that_did_not_change_is_not_read_again(place: Path, tmp_path: Path) -> None:
    images = source(tmp_path, "oci:image")
    first = images.fetch()
    assert images.fetch(first) is first

    layout(place, image(place, signed_archive(NEW)))

    assert images.fetch(first).bundle.digest == NEW.digest


def test_the_last_good_copy_is_used_while_the_image_is_away(place: Path, tmp_path: Path) -> None:
    source(tmp_path, "oci:image").fetch()
    shutil.rmtree(place)

    loaded = source(tmp_path, "oci:image").fetch()

    assert loaded.bundle.digest == OLD.digest
    assert "cannot be read" in loaded.stale


def test_an_image_that_was_never_there_is_away(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no copy") as error:
        source(tmp_path, "oci:nowhere").fetch()
    assert "oras copy" in error.value.advice


@pytest.mark.parametrize("reference", ["oci:", "oci:image@sha256:short", "oci::tag", "oci:a\0b"])
def test_what_is_no_place_of_an_image_is_refused(reference: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a place"):
        source(tmp_path, reference)


def blobs_of(place: Path) -> list[Path]:
    config = digest.hex_of(digest.of_bytes(b"{}"))  # nobody reads it, as in OPA
    return [path for path in (place / "blobs" / "sha256").iterdir() if path.name != config]


def test_a_changed_shortened_or_lengthened_blob_is_refused(place: Path, tmp_path: Path) -> None:
    for blob in blobs_of(place):
        good = blob.read_bytes()
        for bad in (b"X" + good[1:], good[:-1], good + b"x", b""):
            blob.write_bytes(bad)
            refuses("oci:image", "holds something else", tmp_path)
        blob.write_bytes(good)
        blob.unlink()
        with pytest.raises(Unavailable):
            Layout.parse("oci:image", tmp_path).layer()
        blob.write_bytes(good)
    assert Layout.parse("oci:image", tmp_path).layer()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda part: part.update(digest="sha256:../../../etc/passwd"), "not a digest"),
        (lambda part: part.update(digest="sha512:" + "a" * 128), "not a digest"),
        (lambda part: part.update(digest=None), "not a digest"),
        (lambda part: part.update(size=2**40), "at most"),
        (lambda part: part.update(size=-1), "at most"),
        (lambda part: part.update(size="7"), "at most"),
        (lambda part: part.update(size=True), "at most"),
        (lambda part: part.pop("size"), "lacks"),
    ],
)
def test_descriptors_of_another_form_are_refused(change: Change, word: str, tmp_path: Path) -> None:
    folder = tmp_path / "image"
    layout(folder, image(folder, OLD.archive()), index=lambda d: change(d["manifests"][0]))
    refuses("oci:image", word, tmp_path)

    layout(folder, image(folder, OLD.archive(), manifest=lambda d: change(d["layers"][0])))
    refuses("oci:image", word, tmp_path)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda d: d.update(layers=[]), "0 layers"),
        (lambda d: d.update(layers=d["layers"] * 2), "2 layers"),
        (lambda d: d["layers"][0].update(mediaType="text/plain"), "0 layers"),
        (lambda d: d.update(layers=None), "no layers"),
        (lambda d: d.update(layers=["text"]), "lacks"),
    ],
)
def test_an_image_without_exactly_one_bundle_is_refused(
    change: Change, word: str, tmp_path: Path
) -> None:
    folder = tmp_path / "image"
    layout(folder, image(folder, OLD.archive(), manifest=change))

    refuses("oci:image", word, tmp_path)


def test_an_index_in_the_place_of_an_image_is_refused(place: Path, tmp_path: Path) -> None:
    def nested(document: dict[str, Any]) -> None:
        document["manifests"][0]["mediaType"] = "application/vnd.oci.image.index.v1+json"

    layout(place, image(place, OLD.archive()), index=nested)

    refuses("oci:image", "media type", tmp_path)


@pytest.mark.parametrize("name", ["oci-layout", "index.json"])
@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b"{" * 9, b" " * 2_000_000])
def test_files_of_another_form_are_refused(
    name: str, data: bytes, place: Path, tmp_path: Path
) -> None:
    (place / name).write_bytes(data)

    with pytest.raises(VerificationError):
        Layout.parse("oci:image", tmp_path).layer()


def test_a_tar_that_says_something_twice_or_by_a_link_is_refused(
    place: Path, tmp_path: Path
) -> None:
    path = tarred(place, tmp_path / "image.tar")
    with tarfile.open(path, "a") as tar:
        tar.add(place / "index.json", "index.json")
    refuses("oci:image.tar", "twice", tmp_path)

    (place / "index.json").rename(place / "other.json")
    (place / "index.json").symlink_to("other.json")
    tarred(place, path)
    refuses("oci:image.tar", "not a file", tmp_path)

    path.write_bytes(b"no tar" * 1000)
    refuses("oci:image.tar", "refused", tmp_path)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_tar_with_any_byte_changed_gives_the_bundle_or_an_error(
    data: st.DataObject, tmp_path: Path
) -> None:
    folder = tmp_path / "image"
    if not folder.exists():
        layout(folder, image(folder, OLD.archive()))
        tarred(folder, tmp_path / "good.tar")
    good = (tmp_path / "good.tar").read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] = data.draw(st.integers(0, 255))
    (tmp_path / "bad.tar").write_bytes(bad)

    try:
        archive, _ = Layout.parse("oci:bad.tar", tmp_path).layer()
    except GovernanceError:
        return
    assert archive == OLD.archive()


def test_a_layer_of_another_compression_is_refused(tmp_path: Path) -> None:
    folder, buffer = tmp_path / "image", io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as tar:
        tar.addfile(tarfile.TarInfo(".manifest"))
    layout(folder, image(folder, buffer.getvalue()))

    with pytest.raises(ConfigurationError, match=r"not a \.tar\.gz"):
        source(tmp_path, "oci:image").fetch()
