"""Load a set of policies, and say which one it is.

A bundle is a directory or ``.tar.gz`` in OPA's layout (``.manifest``, ``*.rego``, ``data.json``).
Its identity is ``sha256(JCS([{name, sha256}, …]))`` over what decides and nothing else: tests,
Markdown and signatures beside it are left out, and the revision in the manifest is dropped
because it *is* that digest. Whatever a loader could read in two ways is refused: a data document
where a rule stands (one engine prefers the data, another refuses), links, odd names, unknown
files.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mlflow_governance.core import canonical, digest
from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import ConfigurationError, InvalidRequest, VerificationError
from mlflow_governance.policy.archive import MAX_FILE_BYTES, MAX_TOTAL_BYTES, pack, unpack
from mlflow_governance.policy.archive import refused as _broken

MAX_FILES = 500
MAX_PATH = 150
"""What every writer of tar (ustar) can split, whatever the segments are."""
MANIFEST = ".manifest"
SIGNATURES = ".signatures.json"
SCHEMA = "dossier.schema.json"
CONFIG_SCHEMA = "config.schema.json"
"""Says what the settings may be and decides nothing: a better sentence in it is no new policy."""

_DEEPEST = 30
"""Steps of a package."""
_MEMBERS = frozenset({"revision", "roots", "rego_version", "metadata"})
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_PACKAGE = re.compile(
    r"(?:[ \t]*(?:#[^\r\n]*)?\r?\n)*[ \t]*package[ \t]+([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s"
)
"""What a comment ends with belongs to nothing else: two readings of each line would be 2^lines."""


@dataclass(frozen=True)
class Bundle:
    """A policy set: what decides, by path, and its digest.

    Made by :func:`load` or :func:`from_files`; the manifest in ``files`` has no revision.
    """

    files: Mapping[str, bytes]
    digest: Digest

    @cached_property
    def modules(self) -> Mapping[str, str]:
        """Rego source by path."""
        return {n: d.decode("utf-8") for n, d in self.files.items() if n.endswith(".rego")}

    @cached_property
    def data(self) -> dict[str, Any]:
        """The data documents of the bundle, merged at their paths."""
        return _merge(self.files)

    def archive(self, signatures: bytes | None = None) -> bytes:
        """The bundle for an OPA server: a reproducible ``.tar.gz``, its revision the digest.

        ``signatures`` is what ``signing.sign`` made of :meth:`published`.
        """
        signed = {SIGNATURES: signatures} if signatures is not None else {}
        return pack({**self.published(), **signed})

    def published(self) -> Mapping[str, bytes]:
        """The files of the archive by path: what decides, and the digest as the revision."""
        manifest = {**canonical.decode_object(self.files[MANIFEST]), "revision": self.digest}
        return {**self.files, MANIFEST: canonical.encode(manifest)}


def load(path: Path) -> Bundle:
    """Read a bundle from a directory or a ``.tar.gz``.

    Raises:
        ConfigurationError: it cannot be read, or is not a bundle every engine reads alike.
    """
    return from_files(read(path))


def read(path: Path) -> Mapping[str, bytes]:
    """Every file of a directory or a ``.tar.gz`` by its path in it; signatures are over these.

    Raises:
        ConfigurationError: it cannot be read, is too large, or holds links.
    """
    try:
        if path.is_dir():
            return dict(_from_directory(path))
        with path.open("rb") as file:
            return dict(unpack(file, path.name))
    except OSError as error:
        raise ConfigurationError(f"the policy bundle {path} cannot be read: {error}") from error


def from_archive(archive: bytes) -> Bundle:
    """A bundle from the bytes of a ``.tar.gz``.

    Raises:
        ConfigurationError: see :func:`load`.
    """
    return from_files(dict(unpack(io.BytesIO(archive), "the archive")))


def kept_as(archive: bytes, expected: Digest) -> Bundle:
    """The bundle of this digest, from its archive.

    Raises:
        VerificationError: it is another one.
        ConfigurationError: see :func:`load`.
    """
    found = from_archive(archive)
    if found.digest != expected:
        raise VerificationError(
            f"the archive kept for policy {expected} holds {found.digest}",
            advice="Restore the database from a backup; see: mlflow-governance validate",
        )
    return found


def from_files(files: Mapping[str, bytes]) -> Bundle:
    """A bundle of these files by path; what does not decide is left out.

    Raises:
        ConfigurationError: see :func:`load`.
    """
    try:
        kept = {name: data for name, data in sorted(files.items()) if _decides(name)}
        _refuse_bulk(kept)
        revision, kept[MANIFEST] = _manifest(kept.get(MANIFEST))
        _refuse_ambiguity(kept)
        entries = [{"name": n, "sha256": digest.of_bytes(d)[7:]} for n, d in sorted(kept.items())]
        found = digest.of_bytes(canonical.encode(entries))
        _refuse_other_revision(revision, found)
        return Bundle(MappingProxyType(kept), found)
    except InvalidRequest as error:
        raise _broken(error.message) from error


def _from_directory(root: Path) -> Iterator[tuple[str, bytes]]:
    total = 0
    for folder, folders, names in os.walk(root, onerror=_raise):
        for name in (*folders, *names):
            if (Path(folder) / name).is_symlink():
                raise _broken(f"{name!r} is a symbolic link")
        for name in names:
            path = Path(folder) / name
            if not path.is_file():
                raise _broken(f"{name!r} is not a regular file")
            with path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
            total += len(data)
            if total > MAX_TOTAL_BYTES:
                raise _broken(f"it holds more than {MAX_TOTAL_BYTES} bytes")
            yield path.relative_to(root).as_posix(), data


def _raise(error: OSError) -> None:
    raise error


def _decides(name: str) -> bool:
    if name in (MANIFEST, SCHEMA):
        return True
    if name in (SIGNATURES, CONFIG_SCHEMA):
        return False
    if name.startswith("tests/") or name.endswith(".md"):
        return False
    if not all(_SEGMENT.fullmatch(segment) for segment in name.split("/")):
        raise _broken(f"the file name {name[:100]!r} has more than one reading")
    if len(name) > MAX_PATH:
        raise _broken(f"the path {name[:100]!r}… is longer than {MAX_PATH} characters")
    if name.endswith("_test.rego"):
        raise _broken(f"{name} is a test; tests stand in tests/")
    if name.endswith(".rego") or name.split("/")[-1] == "data.json":
        return True
    raise _broken(f"{name} is neither *.rego nor data.json: not every engine would read it")


def _refuse_bulk(files: Mapping[str, bytes]) -> None:
    if not any(name.endswith(".rego") for name in files):
        raise _broken("it holds no Rego")
    if len(files) > MAX_FILES:
        raise _broken(f"it holds more than {MAX_FILES} files")
    if len({name.lower() for name in files}) != len(files):
        raise _broken("two file names differ only in case")
    for name, data in files.items():
        if len(data) > MAX_FILE_BYTES:
            raise _broken(f"{name} has more than {MAX_FILE_BYTES} bytes")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _broken(f"{name} is not UTF-8") from error
        if "\0" in text or text.startswith("\ufeff"):
            raise _broken(f"{name} holds a NUL or a byte order mark")
    if sum(map(len, files.values())) > MAX_TOTAL_BYTES:
        raise _broken(f"it holds more than {MAX_TOTAL_BYTES} bytes")


def _manifest(data: bytes | None) -> tuple[object, bytes]:
    """The revision a manifest names, and the manifest without it."""
    if data is None:
        raise _broken(f"it has no {MANIFEST}")
    manifest = canonical.decode_object(data)
    if unknown := sorted(manifest.keys() - _MEMBERS):
        # file_rego_versions and wasm have one engine read other rules than the other.
        raise _broken(f"{MANIFEST} says {unknown[0][:80]!r}, which not every engine reads")
    revision = manifest.pop("revision", None)
    roots = manifest.get("roots")
    if not isinstance(roots, list) or not all(isinstance(r, str) and r.strip("/") for r in roots):
        raise _broken(f"{MANIFEST} names no roots")
    if manifest.get("rego_version") != 1:
        raise _broken(f"{MANIFEST} must say rego_version 1; an engine's default may be another")
    return revision, canonical.encode(manifest)


def _refuse_other_revision(revision: object, found: Digest) -> None:
    # A name of somebody's choice says nothing; a digest that is not this one is a lie about
    # what was reviewed, and an OPA server with it would be refused at every decision.
    if isinstance(revision, str) and revision.startswith("sha256:") and revision != found:
        raise _broken(f"its revision is {revision[:80]!r}, and its digest {found}")


def _refuse_ambiguity(files: Mapping[str, bytes]) -> None:
    roots = {tuple(r.strip("/").split("/")) for r in canonical.decode(files[MANIFEST])["roots"]}
    packages = {_package(n, d.decode()) for n, d in files.items() if n.endswith(".rego")}
    for package in packages:
        if not _is_inside(package, roots):
            raise _outside(package)
    above = {package[:end]: package for package in packages for end in range(1, len(package) + 1)}
    # Down no further than there are packages: data has a million leaves, if somebody likes.
    waiting: list[tuple[tuple[str, ...], Any]] = [((), _merge(files))]
    while waiting:
        path, value = waiting.pop()
        goes_on = isinstance(value, dict) and (value or not path)
        # An empty object is data too: at the path of a package it would hide the package.
        if path in packages or (path in above and not goes_on):
            raise _broken(
                f"the data at {'.'.join(path)} would hide rules of {'.'.join(above[path])}"
            )
        if path not in above and _is_inside(path, roots):
            continue
        if not goes_on:
            raise _outside(path)
        waiting += [((*path, key), inner) for key, inner in value.items()]


def _is_inside(path: tuple[str, ...], roots: set[tuple[str, ...]]) -> bool:
    return any(path[:end] in roots for end in range(1, len(path) + 1))


def _outside(path: tuple[str, ...]) -> ConfigurationError:
    return _broken(f"{'.'.join(path)} lies outside the roots of {MANIFEST}")


def _package(name: str, source: str) -> tuple[str, ...]:
    found = _PACKAGE.match(source)
    if found is None:
        raise _broken(f"{name} does not begin with a plain package clause")
    path = tuple(found[1].split("."))
    if len(path) > _DEEPEST:
        raise _broken(f"the package of {name} has more than {_DEEPEST} steps")
    return path


def _merge(files: Mapping[str, bytes]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name, data in files.items():
        if name.split("/")[-1] != "data.json":
            continue
        document = canonical.decode_object(data)
        for segment in reversed(name.split("/")[:-1]):
            document = {segment: document}
        _graft(merged, document, name)
    return merged


def _graft(target: dict[str, Any], source: Mapping[str, Any], name: str) -> None:
    for key, value in source.items():
        present = target.setdefault(key, value)
        if present is value:
            continue
        if not isinstance(present, dict) or not isinstance(value, dict):
            raise _broken(f"{name} sets {key!r} a second time")
        _graft(present, value, name)
