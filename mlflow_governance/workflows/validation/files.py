"""The artifact store: the files of each version hash to its digest, and what is attached stands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from mlflow_governance.core import canonical
from mlflow_governance.core.digest import of_bytes
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import GovernanceError, NotFound, VerificationError
from mlflow_governance.workflows.record import MIRROR
from mlflow_governance.workflows.validation.books import (
    Books,
    FileRow,
    GovernedRow,
    Scene,
    Shelves,
    subject,
)
from mlflow_governance.workflows.validation.findings import Finding, Severity, each, found

_MANIFEST_BYTES = 256 * 1024 * 1024
"""A manifest of a million files is read; it was made here, not outside."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Stock:
    """The versions whose files are looked at, and how to get at them.

    Args:
        books: for the manifests.
        shelves: for the files.
        wanted: decides by a version's row.
        progress: told after each version.
    """

    books: Books
    shelves: Shelves
    wanted: Callable[[GovernedRow], bool]
    progress: Progress


def check_files(scene: Scene, stock: Stock) -> Iterator[Finding]:
    """Model files and attachments: VAL-060 to VAL-066."""
    rows = [row for row in scene.seen.governed if scene.looks_at(row.uid) and stock.wanted(row)]
    rows.sort(key=lambda row: str(row.location))  # versions that share files are hashed once
    attached: dict[str, list[FileRow]] = defaultdict(list)
    for file in scene.seen.files:
        if file.role == "attachment":
            attached[file.version_uid].append(file)
    last: tuple[str, Manifest | str] = ("", "")
    for done, row in enumerate(rows):
        stock.progress("versions hashed", done, len(rows))
        if row.location != last[0]:
            last = (row.location, _hashed(stock.shelves, row.location))
        check = partial(_stocked, scene, stock, now=last[1], files=attached[row.uid])
        yield from each([row], check, _subject)
    stock.progress("versions hashed", len(rows), len(rows))


def _stocked(
    scene: Scene, stock: Stock, row: GovernedRow, now: Manifest | str, files: list[FileRow]
) -> Iterator[Finding]:
    yield from _model(scene, stock, row, now)
    yield from _attached(scene, stock, row, files)


def _subject(row: GovernedRow) -> str:
    return subject(row.ref)


def _hashed(shelves: Shelves, location: str) -> Manifest | str:
    # The manifest, or why there is none.
    try:
        return shelves.manifest(location)
    except (VerificationError, NotFound) as error:
        return error.message
    except GovernanceError:
        raise
    except Exception as error:  # whatever a storage client makes of a folder that is gone
        return f"{type(error).__name__}: {error}"


def _model(scene: Scene, stock: Stock, row: GovernedRow, now: Manifest | str) -> Iterator[Finding]:
    told = scene.told.versions[row.uid]
    expected = told.digest or row.digest
    if expected is None:
        return  # never hashed
    # Nothing is bound to the files of a version at None; they are hashed again when it is judged.
    lesser = Severity.WARNING if told.stage == Stage.NONE else None
    if isinstance(now, str):
        yield found("VAL-063", subject(row.ref), now, expected, lesser)
        return
    if now.digest == expected:
        return
    named = False
    for code, path, here, there in _differences(_accepted(stock.books, expected), now):
        named = True
        yield found(code, subject(row.ref, f":{path}"), here, there, lesser)
    if not named:  # the manifest itself is lost or was changed, which is a finding of its own
        yield found("VAL-060", subject(row.ref), f"files of digest {now.digest}", expected, lesser)


def _accepted(books: Books, digest: str) -> Manifest | None:
    data = books.manifest(digest)
    if data is None or of_bytes(data) != digest:
        return None
    return Manifest.from_document(canonical.decode(data, max_bytes=_MANIFEST_BYTES))


def _differences(
    accepted: Manifest | None, now: Manifest
) -> Iterable[tuple[str, str, str | None, str | None]]:
    if accepted is None:
        return
    there = {file.name: f"{file.size} bytes, sha256:{file.sha256}" for file in accepted.files}
    here = {file.name: f"{file.size} bytes, sha256:{file.sha256}" for file in now.files}
    for path in sorted(there.keys() | here.keys()):
        if path not in here:
            yield "VAL-061", path, None, there[path]
        elif path not in there:
            yield "VAL-062", path, here[path], None
        elif here[path] != there[path]:
            yield "VAL-060", path, here[path], there[path]


def _attached(
    scene: Scene, stock: Stock, row: GovernedRow, files: list[FileRow]
) -> Iterator[Finding]:
    folder = VersionRef(row.name, row.version, row.workspace).folder
    try:
        beside = dict(stock.shelves.beside(row.location, folder))
    except (VerificationError, NotFound) as error:
        yield found("VAL-063", subject(row.ref, f":{folder}"), error.message, "the attached files")
        return
    for file in files:
        here, name = beside.pop(file.path, None), subject(row.ref, f":{folder}/{file.path}")
        if not file.mirrored and scene.waits(row.uid, MIRROR):
            continue  # on its way
        if here is None:
            yield found("VAL-064", name, None, file.digest)
        elif here != file.digest:
            yield found("VAL-065", name, here, file.digest)
    if scene.told.was_deleted(row.ref):
        return  # a version of this name and number stood here before and left its own
    for path, here in sorted(beside.items()):
        yield found("VAL-066", subject(row.ref, f":{folder}/{path}"), here, None)
