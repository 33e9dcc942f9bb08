"""The manifest of a model: every file by name, size and SHA-256, and the digest over it.

The digest of the manifest *is* the identity of a model. OpenSSF Model Signing's own root
digest does not bind file names (spec v1.0, 6.5.1) and is never used as one.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from mlflow_governance.core import canonical, digest
from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import VerificationError

EVIDENCE_FOLDER = "governance"
"""What the registry and producers attach; never part of the model's identity."""


@dataclass(frozen=True, slots=True, order=True)
class FileEntry:
    """One file: POSIX path relative to the model directory, size in bytes, SHA-256 in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """All files of a model directory except ``governance/``, sorted by name."""

    files: tuple[FileEntry, ...]

    @classmethod
    def of(cls, files: Iterable[FileEntry]) -> Manifest:
        """A manifest of these files.

        Raises:
            VerificationError: no file at all, a name twice, or a name that leaves the directory.
        """
        ordered = tuple(sorted(files))
        if not ordered:
            raise VerificationError("the model directory holds no file")
        names = [entry.name for entry in ordered]
        if len(set(names)) != len(names):
            raise VerificationError("the model directory names a file twice")
        for name in names:
            refuse_unsafe_name(name)
        return cls(ordered)

    @cached_property
    def digest(self) -> Digest:
        """``sha256(JCS([{name, sha256, size}, …]))``."""
        return digest.of_bytes(canonical.encode(self.to_document()))

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return sum(entry.size for entry in self.files)

    def to_document(self) -> list[dict[str, str | int]]:
        """The JSON value that is hashed."""
        return [{"name": f.name, "sha256": f.sha256, "size": f.size} for f in self.files]

    @classmethod
    def from_document(cls, document: object) -> Manifest:
        """The manifest in a stored document.

        Raises:
            VerificationError: the document is not a manifest.
        """
        try:
            entries = [FileEntry(d["name"], d["size"], d["sha256"]) for d in document]  # type: ignore[attr-defined]
        except (TypeError, KeyError) as error:
            raise VerificationError("the stored manifest is malformed") from error
        if not all(map(_is_sound, entries)):
            raise VerificationError("the stored manifest is malformed")
        return cls.of(entries)

    def differences(self, other: Manifest) -> list[str]:
        """What ``other`` has changed, one sentence a file; empty when they are equal."""
        mine = {f.name: f for f in self.files}
        theirs = {f.name: f for f in other.files}
        return [
            *(
                f"file changed: {n}"
                for n in sorted(mine.keys() & theirs.keys())
                if mine[n] != theirs[n]
            ),
            *(f"file missing: {n}" for n in sorted(mine.keys() - theirs.keys())),
            *(f"file added: {n}" for n in sorted(theirs.keys() - mine.keys())),
        ]


def _is_sound(entry: FileEntry) -> bool:
    return isinstance(entry.name, str) and type(entry.size) is int and isinstance(entry.sha256, str)


def refuse_unsafe_name(name: str) -> None:
    """Refuse a path that is absolute, leaves its directory, or has more than one spelling.

    Raises:
        VerificationError: the name is not a plain relative POSIX path.
    """
    unsafe = (
        not name
        or name.startswith("/")
        or "\\" in name
        or "\0" in name
        or posixpath.normpath(name) != name
        or name.split("/")[0] in ("..", ".")
    )
    if unsafe:
        raise VerificationError(f"unsafe file name: {name[:200]!r}")


def is_evidence(name: str) -> bool:
    """True for files under ``governance/``, which are not part of the model."""
    return name == EVIDENCE_FOLDER or name.startswith(EVIDENCE_FOLDER + "/")
