"""Handing out verified bytes: a place in the private copy, or a copy somewhere else."""

from __future__ import annotations

import hashlib
import os
import posixpath
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from mlflow_governance.core.manifest import FileEntry, Manifest, is_evidence
from mlflow_governance.errors import InvalidRequest, NotFound, Unavailable, VerificationError
from mlflow_governance.serving.verify import Verified

_CHUNK = 1024 * 1024
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
_MAX_NAMED = 5


def part_of(manifest: Manifest, path: str | None) -> str:
    """The one spelling of a path below a model directory; empty for the whole.

    Raises:
        VerificationError: it leads to evidence, which nobody may load as a model.
        NotFound: the model has no such file or folder.
    """
    part = posixpath.normpath(path) if path else "."
    if part == ".":
        return ""
    if is_evidence(part):
        raise VerificationError(
            f"{part} is evidence about the model and no part of it",
            advice="Read it with: mlflow-governance show NAME/VERSION",
        )
    if not files_of(manifest, part):
        raise NotFound(f"the verified model has no {part[:200]!r}")
    return part


def files_of(manifest: Manifest, part: str) -> list[FileEntry]:
    """The file ``part``, or the files in the folder of that name; all for an empty one."""
    inside = f"{part}/" if part else ""
    return [file for file in manifest.files if file.name == part or file.name.startswith(inside)]


def copy_to(verified: Verified, part: str, folder: Path, also: str = "") -> Path:
    """Copy the model, or a part of it, hashing the very bytes that are written.

    What is returned holds verified files and nothing else, so that they can be loaded from it.

    Args:
        verified: the model.
        part: as :func:`part_of` spells it.
        folder: where to; the part keeps its path below it.
        also: the name of a file that may stand beside the copied ones.

    Returns:
        Where the part is.

    Raises:
        InvalidRequest: there is no such folder, or it has other files where a folder is copied to.
        VerificationError: a file is not what it was when it was verified.
        Unavailable: it cannot be written.
    """
    if not folder.is_dir():
        raise InvalidRequest(f"there is no folder {folder}", advice=f"mkdir -p {folder}")
    entries = files_of(verified.snapshot.manifest, part)
    target = folder / part if part else folder
    _refuse_others(target, {folder / entry.name for entry in entries} | {target / also})
    for entry in entries:
        _prepare(folder, Path(entry.name).parent)
        copy_file(verified, entry, folder / entry.name)
    return target


def copy_file(verified: Verified, entry: FileEntry, target: Path) -> None:
    """Copy one file; it gets its name once its bytes have been checked.

    Raises:
        VerificationError: it is not what it was when it was verified.
        Unavailable: it cannot be read or written.
    """
    new = target.with_name(f".{secrets.token_hex(8)}.new")
    try:
        with (
            open(verified.path / entry.name, "rb") as source,
            open(os.open(new, _NEW, 0o666), "wb") as sink,
        ):
            hasher = hashlib.sha256()
            while chunk := source.read(_CHUNK):
                hasher.update(chunk)
                sink.write(chunk)
        if hasher.hexdigest() != entry.sha256:
            raise VerificationError(f"file changed since it was verified: {entry.name}")
        os.replace(new, target)
    except OSError as error:
        raise Unavailable(f"{entry.name} cannot be copied to {target}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            os.unlink(new)


def _prepare(folder: Path, below: Path) -> None:
    """Make the folders on the way to a file, and follow no symlink on it."""
    for step in below.parts:
        folder = folder / step
        if folder.is_symlink():
            raise InvalidRequest(f"a symlink is in the way: {folder}", advice=f"rm {folder}")
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise Unavailable(f"{folder} cannot be made: {error.strerror}") from error


def _refuse_others(target: Path, wanted: Iterable[Path]) -> None:
    known = set(wanted)
    others = [path for path in _found(target) if path not in known or path.is_symlink()]
    if others:
        listed = ", ".join(str(path.relative_to(target)) for path in sorted(others)[:_MAX_NAMED])
        raise InvalidRequest(
            f"{target} would not hold the verified model alone, but also {listed}",
            advice="Name an empty folder.",
        )


def _found(target: Path) -> Iterator[Path]:
    """Every file, link and special file below a folder."""
    for folder, folders, names in os.walk(target):
        links = (name for name in folders if (Path(folder) / name).is_symlink())
        yield from (Path(folder) / name for name in (*names, *links))
