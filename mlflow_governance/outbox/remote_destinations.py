"""Destinations of checkpoints over the network: a web server, a bucket."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from mlflow_governance.core import moment
from mlflow_governance.errors import Unavailable
from mlflow_governance.ledger import checkpoint
from mlflow_governance.outbox.checkpoint_options import DestinationOptions
from mlflow_governance.outbox.destinations import (
    MAX_NOTE_BYTES,
    MAX_STAMP_BYTES,
    as_text,
    of_interest,
    stem_of,
)
from mlflow_governance.outbox.session import new_session
from mlflow_governance.workflows.checkpoints import Kept

_TIMEOUT = (5.0, 20.0)
_LATEST = "checkpoint"
_NOTE_TYPE, _STAMP_TYPE = "text/plain; charset=utf-8", "application/timestamp-reply"


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
                yield Kept(as_text(found))

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
        names = of_interest(listed, at_least)
        for name in names:
            stamp = f"{Path(name).stem}.tsr"
            yield Kept(
                as_text(self._get(name, MAX_NOTE_BYTES) or b""),
                self._get(stamp, MAX_STAMP_BYTES) if stamp in listed else None,
            )
        if not names and (latest := self._get(_LATEST, MAX_NOTE_BYTES)) is not None:
            yield Kept(as_text(latest))

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


def _message(kept: Kept) -> bytes:
    told = checkpoint.parse(kept.note)
    stamp = base64.b64encode(kept.stamp).decode() if kept.stamp is not None else None
    document = {
        "origin": told.origin, "size": told.size, "root": told.root.hex(),
        "checkpoint": kept.note, "timestamp": stamp,
    }  # fmt: skip
    return json.dumps(document, ensure_ascii=False).encode()
