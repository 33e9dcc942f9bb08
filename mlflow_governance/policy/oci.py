"""Reading a bundle from an OCI image layout: a directory, or a tar of one.

``oci:PLACE``, ``oci:PLACE:TAG`` or ``oci:PLACE@sha256:…``, as ``oras copy --to-oci-layout`` and
others write it (OCI Image Format 1.1, "Image Layout"). The bundle is the one layer of media type
``application/vnd.oci.image.layer.v1.tar+gzip``, which is what OPA's own downloader takes. Each
blob is held to the digest and size by which the one before names it.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow_governance.core import canonical, digest
from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import (
    ConfigurationError,
    InvalidRequest,
    NotFound,
    Unavailable,
    VerificationError,
)
from mlflow_governance.policy.archive import MAX_TOTAL_BYTES

SCHEME = "oci:"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_NAME = "org.opencontainers.image.ref.name"
_MAX_JSON = 1024 * 1024
_MAX_TAR = 8 * MAX_TOTAL_BYTES
_MAX_MEMBERS = 10_000

_Read = Callable[[str, int], bytes]
"""A file of the layout by name, at most so many bytes of it and one more."""


@dataclass(frozen=True)
class Layout:
    """Where an image layout is, and which image of it is meant; both empty: its only one."""

    path: Path
    tag: str = ""
    image: str = ""

    @classmethod
    def parse(cls, reference: str, base: Path) -> Layout:
        """Read ``oci:PLACE[:TAG|@DIGEST]``; a relative place is below ``base``.

        Raises:
            ConfigurationError: not of that form.
        """
        place, _, image = reference.removeprefix(SCHEME).partition("@")
        tag = ""
        if not image and ":" in place.rpartition("/")[2]:
            place, _, tag = place.rpartition(":")
        malformed = ConfigurationError(
            f"not a place of an OCI image: {reference[:200]!r}",
            advice="Write oci:DIR, oci:DIR:TAG or oci:DIR@sha256:…, or a tar instead of DIR.",
        )
        if not place or not reference.startswith(SCHEME):
            raise malformed
        try:
            return cls((base / place).resolve(), tag, digest.parse(image) if image else "")
        except (InvalidRequest, OSError, ValueError) as error:
            raise malformed from error

    def layer(self) -> tuple[bytes, Digest]:
        """The bundle's ``.tar.gz`` and its digest.

        Raises:
            Unavailable: there is no layout, or it cannot be read.
            VerificationError: it is malformed, or a blob is not what it is named.
        """
        try:
            read = self._directory() if self.path.is_dir() else self._tar()
            layout = _json(read("oci-layout", _MAX_JSON), "oci-layout")
            if layout.get("imageLayoutVersion") != "1.0.0":
                raise _refused("it is not of layout version 1.0.0")
            index = _json(read("index.json", _MAX_JSON), "index.json")
            manifest = _json(_blob(read, self._image(index), _MAX_JSON), "the image's manifest")
            layers = [part for part in _parts(manifest, "layers") if part["mediaType"] == LAYER]
            if len(layers) != 1:
                raise _refused(f"it has {len(layers)} layers of type {LAYER}; it must be one")
            return _blob(read, layers[0], MAX_TOTAL_BYTES), digest.parse(layers[0]["digest"])
        except (OSError, EOFError, NotFound) as error:
            raise Unavailable(
                f"the OCI image {self.path} cannot be read: {error}",
                advice="Copy it again: oras copy REGISTRY/NAME:TAG --to-oci-layout DIR:TAG",
            ) from error
        except (InvalidRequest, tarfile.TarError, ValueError) as error:
            raise _refused(str(error)) from error

    def _image(self, index: Mapping[str, Any]) -> Mapping[str, Any]:
        found = _parts(index, "manifests")
        if self.image:
            found = [part for part in found if part["digest"] == self.image]
        if self.tag:
            found = [part for part in found if _annotation(part) == self.tag]
        if len(found) != 1:
            raise _refused(f"{len(found)} images answer to that name; it must be one")
        if found[0]["mediaType"] != MANIFEST:
            raise _refused(f"its media type is {str(found[0]['mediaType'])[:80]!r}")
        return found[0]

    def _directory(self) -> _Read:
        def read(name: str, limit: int) -> bytes:
            with (self.path / name).open("rb") as file:
                return file.read(limit + 1)

        return read

    def _tar(self) -> _Read:
        members: dict[str, tuple[int, int]] = {}
        if self.path.stat().st_size > _MAX_TAR:
            raise _refused(f"it has more than {_MAX_TAR} bytes")
        with self.path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse() or name in members:
                    raise _refused(f"{name[:100]!r} is not a file, or there twice")
                if len(members) == _MAX_MEMBERS:
                    raise _refused(f"it holds more than {_MAX_MEMBERS} files")
                members[name] = (member.offset_data, member.size)

        def read(name: str, limit: int) -> bytes:
            if name not in members:
                raise NotFound(f"it has no {name}")
            start, size = members[name]
            with self.path.open("rb") as file:
                file.seek(start)
                return file.read(min(size, limit + 1))

        return read


def _blob(read: _Read, part: Mapping[str, Any], limit: int) -> bytes:
    named, size = digest.parse(part["digest"]), part["size"]
    if type(size) is not int or not 0 < size <= limit:
        raise _refused(f"{named} has {str(size)[:20]} bytes; at most {limit} are read")
    data = read(f"blobs/sha256/{digest.hex_of(named)}", size)
    if len(data) != size or digest.of_bytes(data) != named:
        raise _refused(f"the blob {named} holds something else")
    return data


def _json(data: bytes, what: str) -> dict[str, Any]:
    try:
        return canonical.decode_object(data, max_bytes=_MAX_JSON)
    except InvalidRequest as error:
        raise _refused(f"{what}: {error.message}") from error


def _parts(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    parts = document.get(name)
    if not isinstance(parts, list):
        raise _refused(f"it has no {name}")
    for part in parts:
        if not isinstance(part, dict) or not {"mediaType", "digest", "size"} <= part.keys():
            raise _refused(f"one of its {name} lacks a media type, a digest or a size")
    return parts


def _annotation(part: Mapping[str, Any]) -> object:
    annotations = part.get("annotations")
    return annotations.get(_NAME) if isinstance(annotations, dict) else None


def _refused(message: str) -> VerificationError:
    return VerificationError(
        f"the OCI image of the policies is refused: {message}",
        advice="Copy it again: oras copy REGISTRY/NAME:TAG --to-oci-layout DIR:TAG",
    )
