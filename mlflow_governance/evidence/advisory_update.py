"""Taking in a new archive of advisories: checked completely first, then in place at once.

Everything is read, checked and written in a private folder beside the index. The index then takes
the place of the one before in a single rename, so that whoever looks, and whenever this process
dies, there is the old one or the new one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from mlflow_governance.core import moment
from mlflow_governance.errors import ConfigurationError, Conflict, InvalidRequest, VerificationError
from mlflow_governance.evidence import advisory_archive, exploited, osv
from mlflow_governance.evidence.advisory_index import (
    FILE_NAME,
    SOURCES,
    IndexWriter,
    Source,
    read_sources,
)

_WORK = ".update-"
_CLOCKS_DIFFER = timedelta(days=1)

Progress = Callable[[int], None]
"""Told how many documents have been read so far."""


@dataclass(frozen=True)
class Offer:
    """What an operator brings; what is None stays as it is."""

    archive: Path | None = None
    kev: Path | None = None
    epss: Path | None = None


@dataclass(frozen=True)
class Change:
    """One source before and after."""

    before: Source
    after: Source


def update(
    folder: Path,
    offer: Offer,
    now: datetime,
    *,
    force: bool = False,
    progress: Progress = lambda done: None,
) -> dict[str, Change]:
    """Build a new index from what is offered and what is there, and put it in place.

    Args:
        folder: the installation's advisories.
        offer: the new files.
        now: the moment; nothing may have been modified a day after it.
        force: take what is older, or far less, than what is there.
        progress: called after each document.

    Returns:
        What changed, by the names in ``SOURCES``.

    Raises:
        InvalidRequest: nothing is offered.
        NotFound: an offered file is not there.
        VerificationError: it is malformed, or beyond the bounds. Nothing was changed.
        Conflict: it is older than what is there, or another update is under way.
        ConfigurationError: the folder cannot be written.
    """
    if offer == Offer():
        raise InvalidRequest(
            "nothing to take in was named", advice="Name ARCHIVE, --kev FILE or --epss FILE."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _alone(folder) as work:
            before = _before(folder, force)
            _write(work / FILE_NAME, folder if before else None, offer, now, progress)
            after = dict(read_sources(work / FILE_NAME))
            changes = {name: Change(before.get(name, Source()), after[name]) for name in SOURCES}
            for name, change in changes.items():
                _refuse_empty(name, change, offer)
                if not force:
                    _refuse_older(name, change)
            _put_in_place(work / FILE_NAME, folder / FILE_NAME)
            return changes
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(
            f"the index of advisories in {folder} cannot be written: {error}",
            advice="Nothing was changed. Look at its owner and at the room on its disk.",
        ) from error


@contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """A private work folder; what an update that was killed left behind is cleared away."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"another update of {folder} is under way", advice="Wait for it to end."
            ) from error
        for left in folder.glob(f"{_WORK}*"):
            shutil.rmtree(left)
        work = Path(tempfile.mkdtemp(prefix=_WORK, dir=folder))
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _before(folder: Path, force: bool) -> Mapping[str, Source]:
    try:
        return present(folder)
    except VerificationError:
        if force:
            return {}  # a broken index is what this replaces
        raise


def _write(path: Path, kept: Path | None, offer: Offer, now: datetime, progress: Progress) -> None:
    writer = IndexWriter(path)
    try:
        if offer.archive is not None:
            writer.add_advisories(_documents(offer.archive, path.parent, now, progress))
        if offer.kev is not None:
            writer.add_kev(*exploited.read_kev(offer.kev))
        if offer.epss is not None:
            writer.add_epss(*exploited.read_epss(offer.epss))
        for name, offered in zip(SOURCES, (offer.archive, offer.kev, offer.epss), strict=True):
            if offered is None and kept is not None:
                _keep(writer, name, kept / FILE_NAME)
        writer.finish(now)
    finally:
        writer.connection.close()


def _keep(writer: IndexWriter, name: str, index: Path) -> None:
    try:
        writer.copy(name, index)
    except sqlite3.Error as error:
        raise VerificationError(
            f"the index of advisories {index} is damaged: {error}",
            advice="Remove it, and build it from all files: advisories, --kev and --epss.",
        ) from error


def _documents(
    archive: Path, work: Path, now: datetime, progress: Progress
) -> Iterator[osv.Document]:
    for done, (name, data) in enumerate(advisory_archive.documents(archive, work), 1):
        document = osv.read(name, data)
        if document.modified is None:
            raise VerificationError(f"{name[:256]} does not say when it was modified")
        if document.modified > now + _CLOCKS_DIFFER:
            raise VerificationError(
                f"{name[:256]} was modified at {moment.to_text(document.modified)}, in the future"
            )
        yield document
        progress(done)


def _refuse_empty(name: str, change: Change, offer: Offer) -> None:
    if name == "advisories" and offer.archive is not None and not change.after.count:
        raise VerificationError(
            f"{offer.archive} holds no advisory about a PyPI package",
            advice="Take the archive the OSV database publishes for PyPI (all.zip).",
        )


def _refuse_older(name: str, change: Change) -> None:
    before, after = change.before, change.after
    if before.newest and (after.newest is None or after.newest < before.newest):
        has = moment.to_text(after.newest) if after.newest else "no time"
        problem = f"is older ({has}) than what is there ({moment.to_text(before.newest)})"
    elif after.count * 2 < before.count:
        problem = f"has {after.count} entries, less than half of the {before.count} that are there"
    else:
        return
    raise Conflict(
        f"what is offered for {name} {problem}",
        advice="Nothing was changed. Look where it comes from; --force takes it all the same.",
    )


def _put_in_place(made: Path, place: Path) -> None:
    with made.open("rb+") as file:
        os.fsync(file.fileno())
    made.replace(place)
    descriptor = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def present(folder: Path) -> Mapping[str, Source]:
    """What the index of a folder holds, by the names in ``SOURCES``; empty where there is none.

    Raises:
        VerificationError: it cannot be read.
    """
    index = folder / FILE_NAME
    return dict(read_sources(index)) if index.is_file() else {}
