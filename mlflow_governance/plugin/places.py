"""What a path means to the storage that is asked for it.

MLflow's repositories decode, resolve and follow paths in ways of their own. The guard decides
about every place a spelling may mean to them, so that none of them is a way round.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from mlflow_governance.errors import Denied, InvalidRequest

_PLAIN = re.compile(r"[\w.=@+,~-][\w./ =@+,~-]*")
"""Paths that MLflow neither decodes nor takes apart: nothing of ``%?#;:\\``, no control
characters, and no space at the front, where URL parsers drop it."""
_MAX_PATH = 4096
"""Characters in a path; Linux's PATH_MAX, and more than S3 has for a key."""


def normalise(path: str) -> str:
    """The one spelling of a path below the artifact destination."""
    return posixpath.normpath("/" + path).lstrip("/")


@dataclass(frozen=True)
class Root:
    """Where a repository's own root is.

    Args:
        base: empty below the artifact destination; otherwise ``scheme://host`` of storage
            elsewhere, whose locations are full URIs.
        prefix: the root below that.
        folder: the root on the server's own disk, if it is there.
        destination: the artifact destination on the server's own disk, if it is there.
    """

    base: str
    prefix: str
    folder: Path | None = None
    destination: Path | None = None

    def places(self, path: str | None) -> list[str]:
        """Every location a spelling may mean, in the form locations are recorded in.

        Raises:
            InvalidRequest: a spelling that storage and guard could take differently.
        """
        path = path or ""
        if len(path) > _MAX_PATH or "\0" in path:
            raise InvalidRequest("an artifact path of that form means nothing here")
        if self.folder is None:
            # Object stores take a key as it stands: only one spelling may pass.
            if path != "." and (path.startswith("/") or normalise(path) != path.rstrip("/")):
                raise InvalidRequest(f"not the one spelling of an artifact path: {path[:200]!r}")
            return [self._named(path)]
        forms = list(_forms(path))
        # A path that is absolute replaces the folder it is joined to. Reading shortens "a/.." and
        # deleting leaves it to the disk, which follows a link named "a" first.
        spelled = dict.fromkeys([*map(os.path.normpath, forms), *forms])
        joined = (os.path.join(self.folder, form) for form in spelled)
        return list(
            dict.fromkeys(
                [*map(self._named, forms), *(self.place_of(true_path(file)) for file in joined)]
            )
        )

    def place_of(self, real: str) -> str:
        """The location of a real path on the server's own disk."""
        top = self._real_destination
        if top is not None and (real == top or real.startswith(top.rstrip(os.sep) + os.sep)):
            return normalise(real[len(top) :])
        return f"file://{real}"

    def _named(self, path: str) -> str:
        below = normalise(posixpath.join(self.prefix, path.lstrip("/")))
        return f"{self.base}/{below}" if self.base else below

    @cached_property
    def _real_destination(self) -> str | None:
        return None if self.destination is None else true_path(str(self.destination))


def root_below(destination: str, uri: str, folder: Path | None) -> Root:
    """The root of a repository that is opened as the destination or a folder of it.

    Raises:
        Denied: it is not sure to lie below the destination.
    """
    top, uri = destination.rstrip("/"), uri.rstrip("/")
    prefix = "" if uri == top else uri.removeprefix(top + "/")
    # Storage takes a URI apart in its own way; only where there is nothing to take apart is it
    # sure that the guard and the storage mean the same place.
    if prefix == uri or normalise(prefix) != prefix or set("%?#\\") & set(prefix):
        raise Denied(f"{uri} lies outside the artifact destination")
    return Root("", prefix, folder, _destination_folder(folder, prefix))


def root_anywhere(destination: str, uri: str, folder: Path | None, top: Path | None) -> Root:
    """The root of a repository for a URI that somebody else chose.

    Args:
        destination: the URI of the artifact destination.
        uri: the URI of the repository.
        folder: where that is on the server's own disk, if it is there.
        top: where the destination is on the server's own disk, if it is there.
    """
    if folder is not None:
        real = true_path(str(folder))
        root = Root("", "", folder, top)
        place = root.place_of(real)
        if not place.startswith("file://"):
            return Root("", place, folder, top)
        return Root("file://", normalise(real), folder, top)
    try:
        return root_below(destination, uri, None)
    except Denied:
        parts = urlsplit(uri)
        return Root(f"{parts.scheme.lower()}://{parts.netloc}", normalise(parts.path))


def _destination_folder(folder: Path | None, prefix: str) -> Path | None:
    if folder is None:
        return None
    for _ in filter(None, prefix.split("/")):
        folder = folder.parent
    return folder


def true_path(path: str) -> str:
    """A path as the disk has it: links followed, and every name in its own case and form.

    What does not exist yet keeps the name it was given.
    """
    if "\0" in path:
        raise InvalidRequest("a path holds no NUL")
    real = os.path.realpath(path)
    if not _folds_names(os.path.dirname(real)):
        return real
    known, rest = real, []
    while not os.path.exists(known):
        known, name = os.path.split(known)
        rest.append(name)
    return os.path.join(_as_listed(known), *reversed(rest))


def _as_listed(path: str) -> str:
    parent, name = os.path.split(path)
    if parent == path:
        return path
    above = _as_listed(parent)
    names = os.listdir(above)
    if name not in names:
        same = (n for n in names if os.path.samefile(os.path.join(above, n), path))
        name = next(same, name)
    return os.path.join(above, name)


@lru_cache(maxsize=4096)
def _folds_names(folder: str) -> bool:
    """True when the disk takes another spelling for the same file, here or further up.

    As macOS and Windows do, and Linux for folders made so.
    """
    parent, name = os.path.split(folder)
    if parent == folder:
        return False
    other = name.swapcase()
    if other != name and _same(folder, os.path.join(parent, other)):
        return True
    return _folds_names(parent)


def _same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def _forms(path: str) -> Iterator[str]:
    """The path, and what MLflow's local repository takes it for."""
    yield path
    if not path or _PLAIN.fullmatch(path):
        return
    from mlflow.exceptions import MlflowException
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import validate_path_is_safe

    # It deletes what the one makes of a path and reads what the other does.
    yield str(local_file_uri_to_path(path))
    try:
        yield str(validate_path_is_safe(path))
    except (MlflowException, ValueError):
        return  # the storage refuses it as well
