"""Bringing a model where nobody else can touch it, so that the bytes verified are those loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlflow_governance.core.digest import Digest
from mlflow_governance.core.manifest import EVIDENCE_FOLDER, Manifest
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import EvidenceMissing, GovernanceError, VerificationError
from mlflow_governance.serving import evidence as beside
from mlflow_governance.serving import files, proved
from mlflow_governance.serving.cache import ModelCache
from mlflow_governance.serving.evidence import Evidence
from mlflow_governance.serving.interface import Located, ModelSource
from mlflow_governance.serving.uri import ModelUri


@dataclass(frozen=True)
class Snapshot:
    """A private copy, hashed; nothing about it is proved yet.

    ``path`` holds exactly the files of ``manifest``. ``incoming`` is the directory to take into
    the cache once it has verified; None when the copy is there already.
    """

    uri: ModelUri
    ref: VersionRef
    path: Path
    manifest: Manifest = field(repr=False)
    evidence: Evidence = field(repr=False)
    incoming: Path | None = None

    @property
    def digest(self) -> Digest:
        """The content."""
        return self.manifest.digest

    @property
    def located(self) -> Located:
        """Version and content together."""
        return Located(self.ref, self.digest)


@contextmanager
def snapshot(uri: ModelUri, cache: ModelCache, source: ModelSource | None) -> Iterator[Snapshot]:
    """Hold a private copy of what a URI stands for.

    A copy not taken into the cache is deleted in the end. Bytes come from the cache when the
    registry names a content that is there, and only its evidence is fetched anew.

    Args:
        uri: what to bring.
        cache: where copies are.
        source: the registry; None uses nothing but the cache.

    Raises:
        VerificationError: a symlink or special file in it, or no copy while offline.
        NotFound, Denied, Unavailable: the registry said so, or nothing.
    """
    if source is None:
        yield _kept(uri, cache)
        return
    located = source.locate(uri)
    with cache.incoming() as folder:
        again = _refreshed(uri, located, cache, source, folder)
        yield again or _downloaded(uri, located.ref, source, folder)


def _kept(uri: ModelUri, cache: ModelCache) -> Snapshot:
    located = cache.recall(uri)
    if located.digest is None or not cache.has(located.digest):
        raise EvidenceMissing(
            f"the copy of {uri} is not in the cache any more",
            advice="It was purged, perhaps because it was withdrawn. Load it once with the "
            "registry in reach.",
        )
    # What the bytes are, whatever the index says: verification then names what changed.
    manifest = cache.manifest(located.digest)
    path = cache.model(located.digest)
    return Snapshot(uri, located.ref, path, manifest, cache.evidence(located))


def _refreshed(
    uri: ModelUri, located: Located, cache: ModelCache, source: ModelSource, folder: Path
) -> Snapshot | None:
    """The cached copy with the evidence of now; None when there is no whole copy."""
    if located.digest is None or not cache.has(located.digest):
        return None
    manifest = cache.whole(located.digest)
    if manifest is None:
        cache.discard(located.digest)
        return None
    path = cache.model(located.digest)
    try:
        fetched = source.download(located.ref, _empty(folder / "fresh"), EVIDENCE_FOLDER)
    except GovernanceError:
        return None  # the full download says what is wrong, if it is not only this folder
    return Snapshot(uri, located.ref, path, manifest, beside.read_folder(fetched, located.ref))


def _downloaded(uri: ModelUri, ref: VersionRef, source: ModelSource, folder: Path) -> Snapshot:
    fetched = source.download(ref, _empty(folder / "download"))
    entry = _empty(folder / "entry")
    if fetched.is_symlink() or not fetched.is_dir():
        raise VerificationError(f"{uri} is not a model directory")
    model = entry / proved.MODEL
    os.rename(fetched, model)
    evidence = beside.read_folder(model / EVIDENCE_FOLDER, ref)
    # Nobody's signature covers these, so nothing may be loaded from there either.
    files.delete_tree(model / EVIDENCE_FOLDER)
    return Snapshot(uri, ref, model, proved.prove(entry), evidence, entry)


def _empty(path: Path) -> Path:
    path.mkdir(mode=0o700)
    return path
