"""Where decision records go: a file of JSON lines, an HTTP endpoint for OPA's uploads."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import requests

from mlflow_governance.core import moment
from mlflow_governance.errors import ConfigurationError, Unavailable
from mlflow_governance.outbox.log_options import LogOptions
from mlflow_governance.outbox.relay import retry_after
from mlflow_governance.outbox.session import new_session

MAX_CHUNK_BYTES = 256 * 1024
"""Of one upload before compression. One record that is larger travels alone."""
MAX_CHUNK_RECORDS = 200
_TIMEOUT_SECONDS = (5.0, 30.0)
_UNFIT = frozenset({400, 413, 422})
"""The endpoint will not take these bytes, however often they are sent."""
_MEBIBYTE = 1024 * 1024


class Refused(Unavailable):
    """The sink did not take the records now; ``patience`` are the seconds it asks for."""

    def __init__(self, message: str, patience: float = 0.0) -> None:
        super().__init__(message)
        self.patience = patience


class Sink(Protocol):
    """Takes records, each one line of JSON without a line break."""

    @property
    def name(self) -> str:
        """Names the sink in the cursor and in logs."""

    def write(self, lines: Sequence[bytes]) -> int:
        """Take all of them; returns how many had to be left out for good.

        Raises:
            Refused: not now. Some may have been taken, and will come again.
        """


class FileSink:
    """JSON lines in a file, mode 0600, whole lines only, flushed to the disk with every write.

    Several processes of one host may share it: each write, and the rotation before it, is made
    under a lock. ``FILE.1`` is the youngest of the older files. A program that moves the file
    away is borne as well, since it is opened anew each time.

    Args:
        path: the file.
        max_bytes: past it the file is moved to ``FILE.1``.
        keep: older files that stay.
    """

    name = "decision-log/file"

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep

    def write(self, lines: Sequence[bytes]) -> int:
        """Append; returns 0.

        Raises:
            Refused: the file cannot be written, e.g. the disk is full.
        """
        data = b"".join(line + b"\n" for line in lines)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._locked():
                self._rotate(len(data))
                self._append(data)
        except OSError as error:
            raise Refused(f"{self._path}: {error.strerror or error}") from error
        return 0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(self._path.with_name(f"{self._path.name}.lock"), _flags(os.O_WRONLY), 0o600)
        try:
            with suppress(ImportError):  # not on Windows, where one process writes
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _rotate(self, more: int) -> None:
        try:
            size = self._path.lstat().st_size
        except FileNotFoundError:
            return
        if size == 0 or size + more <= self._max_bytes:
            return
        for number in range(self._keep - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._older(number).replace(self._older(number + 1))
        self._path.replace(self._older(1))

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _append(self, data: bytes) -> None:
        descriptor = os.open(self._path, _flags(os.O_RDWR), 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, 0o600)
            start = file.seek(0, os.SEEK_END)
            if start and os.pread(descriptor, 1, start - 1) != b"\n":
                data = b"\n" + data  # a line somebody was killed over
            try:
                _write_whole(descriptor, data)
                os.fsync(descriptor)
            except OSError:
                with suppress(OSError):
                    file.truncate(start)
                raise


def _flags(access: int) -> int:
    # Never through a link that somebody put there.
    return access | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def _write_whole(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class HttpSink:
    """An endpoint that takes what OPA uploads: POST of a gzipped JSON array.

    Args:
        url: without a path of its own, ``/logs`` is meant, as with OPA.
        token: bearer token, or empty.
        ca_file: PEM file of authorities to trust instead of the public ones.
    """

    name = "decision-log/http"

    def __init__(self, url: str, token: str = "", ca_file: str | None = None) -> None:
        self._url = url if urlsplit(url).path.strip("/") else url.rstrip("/") + "/logs"
        self._session = new_session(ca_file or "")
        self._session.headers.update(
            {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        )
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def write(self, lines: Sequence[bytes]) -> int:
        """Upload in chunks; a chunk the endpoint calls unfit is halved down to the one record.

        Returns:
            How many single records it would not take.

        Raises:
            Refused: it did not answer, or not with 2xx.
        """
        return sum(self._upload(chunk) for chunk in chunks(lines))

    def _upload(self, chunk: Sequence[bytes]) -> int:
        status = self._post(b"[" + b",".join(chunk) + b"]")
        if status not in _UNFIT:
            return 0
        if len(chunk) == 1:
            return 1
        half = len(chunk) // 2
        return self._upload(chunk[:half]) + self._upload(chunk[half:])

    def _post(self, body: bytes) -> int:
        try:
            with self._session.post(
                self._url,
                data=gzip.compress(body, 5, mtime=0),
                timeout=_TIMEOUT_SECONDS,
                allow_redirects=False,
                stream=True,
            ) as response:
                status, asked = response.status_code, response.headers.get("Retry-After", "")
        except (requests.RequestException, OSError) as error:
            raise Refused(f"{type(error).__name__}: {error}"[:500]) from error
        if not 200 <= status < 300 and status not in _UNFIT:
            raise Refused(f"HTTP {status}", retry_after(asked, moment.now()))
        return status


def chunks(lines: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The records in uploads of at most :data:`MAX_CHUNK_BYTES` and :data:`MAX_CHUNK_RECORDS`."""
    begin, size = 0, 0
    for at, line in enumerate(lines):
        full = size + len(line) > MAX_CHUNK_BYTES or at - begin >= MAX_CHUNK_RECORDS
        if full and at > begin:
            yield lines[begin:at]
            begin, size = at, 0
        size += len(line) + 1
    if begin < len(lines):
        yield lines[begin:]


def sinks_of(options: LogOptions) -> list[Sink]:
    """The sinks the settings ask for.

    Raises:
        ConfigurationError: the variable that should hold the token is empty.
    """
    sinks: list[Sink] = []
    if options.file is not None:
        sinks.append(FileSink(options.file, options.max_mebibytes * _MEBIBYTE, options.keep))
    if options.url:
        token = os.environ.get(options.token_variable, "") if options.token_variable else ""
        if options.token_variable and not token:
            raise ConfigurationError(
                f"the decision log's token is not in the environment ({options.token_variable})",
                advice=f"Start the server with {options.token_variable} set.",
            )
        sinks.append(HttpSink(options.url, token, options.ca_file))
    return sinks
