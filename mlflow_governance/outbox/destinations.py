"""Places off the host that keep checkpoints: a folder, a web server, a bucket.

A file is named by the size of its ledger and by its own content, ``<size>-<8 hex>.checkpoint``:
nothing is ever written over, and a fork shows as two files of one size. Its time stamp has the same
stem and ends in ``.tsr``: ``openssl ts -verify -data X.checkpoint -in X.tsr`` checks it.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import requests
import urllib3

from mlflow_governance.core import digest, moment
from mlflow_governance.errors import ConfigurationError, GovernanceError, Unavailable
from mlflow_governance.ledger import checkpoint
from mlflow_governance.outbox.checkpoint_options import HOME, DestinationOptions
from mlflow_governance.outbox.session import new_session
from mlflow_governance.workflows.checkpoints import Kept

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_NOTE_BYTES = 128 * 1024
MAX_STAMP_BYTES = 32 * 1024
_TIMEOUT = (5.0, 20.0)
_NAME = re.compile(r"([0-9]{12,19})(-[0-9a-f]{8})?\.checkpoint")
_LATEST = "checkpoint"
_NOTE_TYPE, _STAMP_TYPE = "text/plain; charset=utf-8", "application/timestamp-reply"


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
    """A folder, made by whoever mounts it: one that is away must not be a folder of this host."""

    readable = True

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path

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
        for name in _of_interest(names, at_least):
            yield Kept(
                _text(self._read(name, MAX_NOTE_BYTES) or b""),
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


class WebServer:
    """An HTTPS address that takes files (PUT) or messages (POST)."""

    def __init__(self, options: DestinationOptions, token: str) -> None:
        self.name = options.name
        self.readable = options.method == "PUT"
        self._url = options.url.rstrip("/")
        self._ca_file = options.ca_file
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def put(self, kept: Kept) -> None:
        """Send it; the newest also as ``checkpoint``, so that it can be found again."""
        if not self.readable:
            self._send("POST", self._url, _message(kept), "application/json")
            return
        stem, note = stem_of(kept.note), kept.note.encode()
        self._send("PUT", f"{self._url}/{stem}.checkpoint", note, _NOTE_TYPE)
        if kept.stamp is not None:
            self._send("PUT", f"{self._url}/{stem}.tsr", kept.stamp, _STAMP_TYPE)
        self._send("PUT", f"{self._url}/{_LATEST}", note, _NOTE_TYPE)

    def seen(self, at_least: int) -> Iterator[Kept]:
        """The newest it took."""
        if self.readable:
            found = self._get(f"{self._url}/{_LATEST}")
            if found is not None:
                yield Kept(_text(found))

    def _send(self, method: str, url: str, data: bytes, kind: str) -> None:
        headers = {**self._headers, "Content-Type": kind}
        status, _ = self._ask(method, url, data=data, headers=headers)
        if not 200 <= status < 300:
            raise Unavailable(f"{url} answers HTTP {status}")

    def _get(self, url: str) -> bytes | None:
        status, body = self._ask("GET", url, headers=self._headers)
        if status in (404, 410):
            return None
        if status != 200:
            raise Unavailable(f"{url} answers HTTP {status}")
        return body

    def _ask(self, method: str, url: str, **given: Any) -> tuple[int, bytes]:
        try:
            with (
                new_session(self._ca_file) as session,
                session.request(
                    method, url, timeout=_TIMEOUT, allow_redirects=False, stream=True, **given
                ) as response,
            ):
                body = response.raw.read(MAX_NOTE_BYTES + 1) if method == "GET" else b""
                return response.status_code, body
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"{url}: {type(error).__name__}") from error


class Bucket:
    """A bucket and a prefix, through boto3 with whatever credentials it finds."""

    readable = True

    def __init__(self, options: DestinationOptions) -> None:
        self.name = options.name
        parts = urlsplit(options.s3)
        self._bucket = parts.netloc
        prefix = parts.path.strip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._lock_days, self._lock_mode = options.lock_days, options.lock_mode
        self._opened: Any = None

    def put(self, kept: Kept) -> None:
        """Put the objects, locked if asked; the newest also as ``checkpoint``, never locked."""
        stem, note = stem_of(kept.note), kept.note.encode()
        self._put(f"{stem}.checkpoint", note, _NOTE_TYPE, self._lock())
        if kept.stamp is not None:
            self._put(f"{stem}.tsr", kept.stamp, _STAMP_TYPE, self._lock())
        self._put(_LATEST, note, _NOTE_TYPE, {})

    def seen(self, at_least: int) -> Iterator[Kept]:
        """Objects by the size in their name."""
        listed = self._list(at_least)
        names = _of_interest(listed, at_least)
        for name in names:
            stamp = f"{Path(name).stem}.tsr"
            yield Kept(
                _text(self._get(name, MAX_NOTE_BYTES) or b""),
                self._get(stamp, MAX_STAMP_BYTES) if stamp in listed else None,
            )
        if not names and (latest := self._get(_LATEST, MAX_NOTE_BYTES)) is not None:
            yield Kept(_text(latest))

    def _lock(self) -> Mapping[str, Any]:
        if not self._lock_days:
            return {}
        until = moment.now() + timedelta(days=self._lock_days)
        return {"ObjectLockMode": self._lock_mode, "ObjectLockRetainUntilDate": until}

    def _put(self, name: str, data: bytes, kind: str, extra: Mapping[str, Any]) -> None:
        self._ask("put_object", Key=self._prefix + name, Body=data, ContentType=kind, **extra)

    def _get(self, name: str, most: int) -> bytes | None:
        answer = self._ask("get_object", Key=self._prefix + name)
        return None if answer is None else bytes(answer["Body"].read(most + 1))

    def _list(self, at_least: int) -> set[str]:
        # Names sort as sizes do: what is smaller is not even listed.
        given = {"Prefix": self._prefix, "StartAfter": f"{self._prefix}{max(at_least, 0):012d}"}
        found: set[str] = set()
        while True:
            answer = self._ask("list_objects_v2", **given) or {}
            found |= {one["Key"].removeprefix(self._prefix) for one in answer.get("Contents", [])}
            if not answer.get("IsTruncated"):
                return found
            given["ContinuationToken"] = answer["NextContinuationToken"]

    def _ask(self, what: str, **given: Any) -> Any:
        import botocore.exceptions

        try:
            return getattr(self._client(), what)(Bucket=self._bucket, **given)
        except botocore.exceptions.ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                return None
            raise Unavailable(f"s3://{self._bucket}: {error}") from error
        except botocore.exceptions.BotoCoreError as error:
            raise Unavailable(f"s3://{self._bucket}: {error}") from error

    def _client(self) -> Any:
        if self._opened is None:
            import boto3
            from botocore.config import Config

            bounds = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 2})
            self._opened = boto3.client("s3", config=bounds)
        return self._opened


def home_folder(path: Path) -> Folder:
    """The checkpoints in the home folder."""
    return Folder(HOME, path)


def destination_of(options: DestinationOptions) -> Destination:
    """The destination the settings describe.

    Raises:
        ConfigurationError: its token is not set, or boto3 is not installed.
    """
    if options.path is not None:
        return Folder(options.name, options.path)
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
    return Kept(_text(data), stamp)


def _of_interest(names: Iterable[str], at_least: int) -> list[str]:
    sized = sorted(
        ((int(match[1]), name) for name in names if (match := _NAME.fullmatch(name))), reverse=True
    )
    found = [name for size, name in sized if size >= at_least]
    return found or [name for _, name in sized[:1]]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _message(kept: Kept) -> bytes:
    told = checkpoint.parse(kept.note)
    stamp = base64.b64encode(kept.stamp).decode() if kept.stamp is not None else None
    document = {
        "origin": told.origin, "size": told.size, "root": told.root.hex(),
        "checkpoint": kept.note, "timestamp": stamp,
    }  # fmt: skip
    return json.dumps(document, ensure_ascii=False).encode()
