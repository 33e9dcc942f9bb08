"""The files of withdrawn models, wherever else they were logged.

A registered location is judged by its digest. Everywhere else a file of a blocked model is
known by its own bytes: its size is looked up first, and only a file of a size that occurs in a
blocked model is hashed. What is remembered here are facts about bytes and manifests; which
digests are blocked is the caller's to read anew each time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path

from mlflow_governance.core.digest import Digest
from mlflow_governance.workflows.ports import Reading, Store

WRITTEN_BY_MLFLOW = frozenset(
    {
        "conda.yaml",
        "python_env.yaml",
        "requirements.txt",
        "input_example.json",
        "serving_input_example.json",
    }
)
"""Files MLflow writes into every model of a kind, often with the same bytes. At the top of a
model they are nobody's own; a blocked model takes none of them away from the others."""

_REMEMBERED = 65_536
_BySize = Mapping[int, Mapping[str, Digest]]
"""Size in bytes to SHA-256 to the blocked digest that has such a file."""


class BlockedFiles:
    """Knows the files of blocked models by size and SHA-256. Safe to share between threads."""

    def __init__(self) -> None:
        self._own: dict[Digest, _BySize] = {}
        self._last: tuple[frozenset[Digest], _BySize] = (frozenset(), {})
        self._holds: dict[tuple[Digest, str], bool] = {}

    def find(
        self,
        store: Store,
        blocked: frozenset[Digest],
        files: Collection[Path],
        besides: Collection[Digest] = (),
    ) -> Digest | None:
        """The blocked digest that a file belongs to which is nobody else's; None without one.

        Args:
            store: where manifests are; not held open while a file is hashed.
            blocked: every blocked digest.
            files: files on the server's own disk.
            besides: digests whose files are judged already; an accepted version that is not
                blocked may have every file as well.

        Raises:
            VerificationError: a manifest was changed in the database.
        """
        by_size = self._by_size(store, blocked)
        for file in files:
            suspects = by_size.get(file.stat().st_size)
            sha256 = _sha256(file) if suspects else ""
            if suspects and sha256 in suspects and not self._elsewhere(store, sha256, besides):
                return suspects[sha256]
        return None

    def may_have(self, store: Store, blocked: frozenset[Digest], size: int) -> bool:
        """True when a file of a blocked model has so many bytes."""
        return size in self._by_size(store, blocked)

    def _by_size(self, store: Store, blocked: frozenset[Digest]) -> _BySize:
        known, together = self._last
        if known == blocked:
            return together
        joined: dict[int, dict[str, Digest]] = {}
        with store.read() as reading:
            for digest in blocked:
                for size, hashes in self._of(reading, digest).items():
                    joined.setdefault(size, {}).update(hashes)
        # An index with a manifest missing is made again: it may still be stored.
        if all(digest in self._own for digest in blocked):
            self._last = (blocked, joined)
        return joined

    def _elsewhere(self, store: Store, sha256: str, besides: Collection[Digest]) -> bool:
        with store.read() as reading:
            others = reading.released_digests().union(besides)
            return any(self._has(reading, digest, sha256) for digest in others)

    def _of(self, reading: Reading, digest: Digest) -> _BySize:
        if digest not in self._own:
            manifest = reading.manifest(digest)
            if manifest is None:
                return {}
            found: dict[int, dict[str, Digest]] = {}
            for entry in manifest.files:
                if entry.size and entry.name not in WRITTEN_BY_MLFLOW:
                    found.setdefault(entry.size, {})[entry.sha256] = digest
            self._own[digest] = found
        return self._own[digest]

    def _has(self, reading: Reading, digest: Digest, sha256: str) -> bool:
        key = (digest, sha256)
        if key not in self._holds:
            manifest = reading.manifest(digest)
            if len(self._holds) >= _REMEMBERED:
                self._holds.clear()
            self._holds[key] = manifest is not None and any(
                entry.sha256 == sha256 for entry in manifest.files
            )
        return self._holds[key]


def _sha256(file: Path) -> str:
    status = file.stat()
    # The time of the last change of an inode cannot be set, unlike that of its content.
    return _hash_once(
        str(file), status.st_dev, status.st_ino, status.st_ctime_ns, status.st_mtime_ns
    )


@lru_cache(maxsize=_REMEMBERED)
def _hash_once(file: str, *_identity: int) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def files_at(path: Path) -> list[Path]:
    """The file, or every file below the folder."""
    if not path.is_dir():
        return [path] if path.is_file() else []
    return [Path(root, name) for root, _, names in os.walk(path) for name in names]
