"""Verified copies, by content.

::

    <cache>/<64 hex>/model/       exactly the hashed files, read-only; what is loaded
    <cache>/<64 hex>/proved.json  how each of them looked when it was hashed
    <cache>/<64 hex>/evidence/    one zip a version: the producer's evidence, the registry's word
    <cache>/index.json            which content a URI stood for when it last verified
    <cache>/revocations.json      the newest revocation list seen

``<cache>/<64 hex>`` is a contract: a receiver of the registry's events deletes it when the
content is withdrawn. Nothing enters the cache before it has verified, and everything in it is
verified again at each use, where files that look exactly as they did are not read again
(:mod:`~mlflow_governance.serving.proved`). The index only says which content an offline URI means.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mlflow_governance.core import canonical, digest
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import (
    EvidenceMissing,
    InvalidRequest,
    Unavailable,
    VerificationError,
)
from mlflow_governance.serving import evidence as beside
from mlflow_governance.serving import files, proved
from mlflow_governance.serving.evidence import Evidence
from mlflow_governance.serving.interface import Located
from mlflow_governance.serving.revocations import RevocationCache
from mlflow_governance.serving.uri import ModelUri

_INCOMING = ".incoming-"
_GONE = ".gone-"
_ABANDONED_SECONDS = 24 * 3600
_EMPTY: dict[str, Any] = {"schema": 1, "policy_digests": [], "uris": {}}
_ONLINE = "Load it once with the registry in reach."


class ModelCache:
    """The cache of one user.

    Args:
        root: the directory; made when absent.

    Raises:
        ConfigurationError: the directory is not this user's alone.
    """

    def __init__(self, root: Path) -> None:
        self._root = files.private_directory(root)
        self._index = self._root / "index.json"

    @property
    def revocations(self) -> RevocationCache:
        """The newest revocation list seen."""
        return RevocationCache(self._root / "revocations.json")

    def model(self, subject: Digest) -> Path:
        """Where the copy of a content is, if there is one."""
        return self._entry(subject) / proved.MODEL

    def has(self, subject: Digest) -> bool:
        """True when there is a copy; nothing is said about its bytes."""
        return self.model(subject).is_dir()

    def manifest(self, subject: Digest) -> Manifest:
        """What the copy of a content really is.

        Raises:
            VerificationError: a symlink, a special file or an unreadable one; names it.
        """
        return proved.manifest_of(self._entry(subject), subject)

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """An empty directory of mode 0700 for a download; deleted in the end."""
        self._sweep()
        folder = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=self._root))
        try:
            yield folder
        finally:
            files.delete_tree(folder)

    def keep(self, entry: Path, subject: Digest) -> Path:
        """Take a verified copy in.

        Args:
            entry: an incoming directory that holds ``model/``, proved to be ``subject``.
            subject: the content.

        Raises:
            Unavailable: the cache cannot be written.
        """
        model = self.model(subject)
        try:
            while not self._moved(entry, model.parent):
                # Somebody was faster; theirs counts if it is whole.
                if self.whole(subject):
                    break
                self.discard(subject)
        except OSError as error:
            raise Unavailable(f"the cache cannot be written: {error.strerror}") from error
        return model

    def whole(self, subject: Digest) -> Manifest | None:
        """The manifest of the copy of a content; None when there is none, or it has other bytes."""
        try:
            manifest = self.manifest(subject)
        except VerificationError:
            return None
        return manifest if manifest.digest == subject else None

    def discard(self, subject: Digest) -> None:
        """Delete a copy, from one moment to the next for everybody who looks for it."""
        gone = Path(tempfile.mkdtemp(prefix=_GONE, dir=self._root))
        with suppress(FileNotFoundError):
            os.rename(self._entry(subject), gone / "entry")
        files.delete_tree(gone)

    def save_evidence(self, located: Located, evidence: Evidence) -> None:
        """Keep what stands beside a version whose copy is here."""
        files.replace_file(self._evidence(located), beside.pack(evidence))

    def evidence(self, located: Located) -> Evidence:
        """What stood beside a version when it last verified.

        Raises:
            EvidenceMissing: nothing was kept.
            VerificationError: what was kept is damaged.
        """
        data = files.read_file(self._evidence(located), beside.MAX_BYTES)
        if data is None:
            raise EvidenceMissing(f"no evidence of models:/{located.ref} is kept", advice=_ONLINE)
        return beside.unpack(data)

    def remember(self, uri: ModelUri, located: Located, policies: frozenset[Digest] | None) -> None:
        """Note what a URI stood for and, if they are known, whose policies' word counted."""

        def note(index: dict[str, Any]) -> None:
            meaning = {
                "name": located.ref.name, "version": located.ref.version, "digest": located.digest,
            }  # fmt: skip
            index["uris"].update({str(uri): meaning, f"models:/{located.ref}": meaning})
            if policies is not None:
                index["policy_digests"] = sorted(policies)

        self._change(note)

    def recall(self, uri: ModelUri) -> Located:
        """What a URI stood for when it last verified.

        Raises:
            EvidenceMissing: it never did here.
            VerificationError: the index is damaged.
        """
        entry = self._read()["uris"].get(str(uri))
        if entry is None:
            raise EvidenceMissing(f"{uri} was never verified on this host", advice=_ONLINE)
        try:
            return Located(
                VersionRef(entry["name"], int(entry["version"])), digest.parse(entry["digest"])
            )
        except (TypeError, KeyError, ValueError, InvalidRequest) as error:
            raise self._damaged() from error

    def policy_digests(self) -> frozenset[Digest]:
        """The policies whose word counted at the last verification that succeeded online."""
        try:
            return frozenset(digest.parse(text) for text in self._read()["policy_digests"])
        except (TypeError, InvalidRequest) as error:
            raise self._damaged() from error

    def _evidence(self, located: Located) -> Path:
        if located.digest is None:
            raise ValueError("evidence is kept with a content")
        # A name may be longer than a file name can be; its hash is not.
        name = hashlib.sha256(str(located.ref).encode("utf-8")).hexdigest()[:32]
        return self._entry(located.digest) / "evidence" / f"{name}.zip"

    def _entry(self, subject: Digest) -> Path:
        return self._root / digest.hex_of(subject)

    def _moved(self, entry: Path, target: Path) -> bool:
        try:
            os.rename(entry, target)
        except OSError:
            if target.exists():
                return False
            raise
        return True

    def _change(self, note: Callable[[dict[str, Any]], None]) -> None:
        with files.locked(self._root):
            index = self._read()
            note(index)
            files.replace_file(self._index, canonical.encode(index))

    def _read(self) -> dict[str, Any]:
        data = files.read_file(self._index, canonical.MAX_BYTES)
        if data is None:
            return {**_EMPTY, "uris": {}}
        try:
            index = canonical.decode_object(data)
        except InvalidRequest as error:
            raise self._damaged() from error
        if set(index) != set(_EMPTY) or not isinstance(index["uris"], dict):
            raise self._damaged()
        return index

    def _damaged(self) -> VerificationError:
        return VerificationError(
            f"{self._index} is damaged", advice=f"Delete {self._index}. {_ONLINE}"
        )

    def _sweep(self) -> None:
        """Delete what a process that died left behind."""
        for prefix in (_INCOMING, _GONE):
            for left in self._root.glob(f"{prefix}*"):
                with suppress(OSError):
                    if left.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                        files.delete_tree(left)
