"""Places off the host that keep checkpoints: a folder, a web server, a bucket.

A file is named by the size of its ledger and by its own content, ``<size>-<8 hex>.checkpoint``:
nothing is ever written over, and a fork shows as two files of one size. Its time stamp has the same
stem and ends in ``.tsr``: ``openssl ts -verify -data X.checkpoint -in X.tsr`` checks it.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from mlflow_governance.core import digest
from mlflow_governance.errors import ConfigurationError, GovernanceError, Unavailable
from mlflow_governance.ledger import checkpoint
from mlflow_governance.outbox.checkpoint_options import HOME, DestinationOptions
from mlflow_governance.workflows.checkpoints import Kept

MAX_NOTE_BYTES = 128 * 1024
MAX_STAMP_BYTES = 32 * 1024
_NAME = re.compile(r"([0-9]{12,19})(-[0-9a-f]{8})?\.checkpoint")


class Destination(Protocol):
    """A place that keeps checkpoints. Every method raises Unavailable when it cannot be had."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def readable(self) -> bool:
        """Whether what it keeps can be read again."""

    def put(self, kept: Kept) -> None:
        """Keep a checkpoint and its time stamp; twice is once."""

    def seen(self, at_least: int) -> Iterator[Kept]:
        """What it keeps of ledgers of that size and larger, largest first; and, where there is
        none, the largest below. Nothing is verified."""


def stem_of(note: str) -> str:
    """The name of a checkpoint's files, without their ending.

    Raises:
        LedgerError: it is not a checkpoint.
    """
    size = checkpoint.parse(note).size
    return f"{size:012d}-{digest.hex_of(digest.of_bytes(note.encode()))[:8]}"


class Folder:
    """A folder, made by whoever mounts it: one that is away must not be a folder of this host.

    Args:
        name: what it is called.
        path: where it is.
        by_any_name: people put checkpoints there, too, under whatever name.
    """

    readable = True

    def __init__(self, name: str, path: Path, *, by_any_name: bool = False) -> None:
        self.name = name
        self._path = path
        self._by_any_name = by_any_name

    def put(self, kept: Kept) -> None:
        """Write what is not there yet, flushed to the disk."""
        stem = stem_of(kept.note)
        try:
            self._write(f"{stem}.checkpoint", kept.note.encode())
            if kept.stamp is not None:
                self._write(f"{stem}.tsr", kept.stamp)
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror or error}") from error

    def seen(self, at_least: int) -> Iterator[Kept]:
        """Files by the size in their name."""
        try:
            names = os.listdir(self._path)
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror or error}") from error
        others = [name for name in sorted(names) if self._by_any_name and _is_other(name)]
        for name in (*of_interest(names, at_least), *others):
            yield Kept(
                as_text(self._read(name, MAX_NOTE_BYTES) or b""),
                self._read(f"{Path(name).stem}.tsr", MAX_STAMP_BYTES),
            )

    def _read(self, name: str, most: int) -> bytes | None:
        try:
            with (self._path / name).open("rb") as file:
                return file.read(most + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"{self._path / name}: {error.strerror or error}") from error

    def _write(self, name: str, data: bytes) -> None:
        path = self._path / name
        if path.exists() and path.read_bytes() == data:
            return
        temporary = self._path / f".{name}.{secrets.token_hex(4)}"
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        with suppress(OSError):  # not everywhere a folder can be opened
            descriptor = os.open(self._path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def home_folder(path: Path) -> Folder:
    """The checkpoints in the home folder."""
    return Folder(HOME, path, by_any_name=True)


def destination_of(options: DestinationOptions) -> Destination:
    """The destination the settings describe.

    Raises:
        ConfigurationError: its token is not set, or boto3 is not installed.
    """
    if options.path is not None:
        return Folder(options.name, options.path)
    from mlflow_governance.outbox.remote_destinations import Bucket, WebServer

    if options.url:
        token = os.environ.get(options.token_variable, "")
        if options.token_variable and not token:
            raise ConfigurationError(
                f"the token for checkpoints to {options.name} is not in {options.token_variable}",
                advice=f"Start the server with {options.token_variable} set.",
            )
        return WebServer(options, token)
    try:
        import boto3  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"checkpoints to {options.name} need boto3", advice="pip install boto3"
        ) from error
    return Bucket(options)


def read_file(path: Path) -> Kept:
    """A checkpoint file somebody names, with the time stamp beside it.

    Raises:
        ConfigurationError: it cannot be read.
    """
    folder = Folder(str(path), path.parent)
    try:
        data = folder._read(path.name, MAX_NOTE_BYTES)
        stamp = folder._read(f"{path.stem}.tsr", MAX_STAMP_BYTES)
    except GovernanceError as error:
        raise ConfigurationError(error.message) from error
    if data is None:
        raise ConfigurationError(f"there is no file {path}")
    return Kept(as_text(data), stamp)


def _is_other(name: str) -> bool:
    return name.endswith(".checkpoint") and not name.startswith(".") and not _NAME.fullmatch(name)


def of_interest(names: Iterable[str], at_least: int) -> list[str]:
    """The names of checkpoints of that size and larger, or else of the largest, largest first."""
    sized = sorted(
        ((int(match[1]), name) for name in names if (match := _NAME.fullmatch(name))), reverse=True
    )
    found = [name for size, name in sized if size >= at_least]
    return found or [name for _, name in sized[:1]]


def as_text(data: bytes) -> str:
    """A note as it was read; what is not UTF-8 will not verify."""
    return data.decode("utf-8", "replace")
