"""People who ask the server, in HTTP exactly as written."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tests.integration.world import World

API, AJAX = "/api/2.0", "/ajax-api/2.0"
RAW = "/mlflow-artifacts/artifacts"


KNOWN_STUMBLES: tuple[bytes, ...] = (
    # MLflow has no status for "workspaces are not enabled": any request that names one.
    b'"error_code":"FEATURE_DISABLED"',
    b"Trace data not stored in tracking store",
    # A trace's tag sends it to runs:/ or models:/, and it takes itself for a client of its own.
    b"the tracking URI must be a valid http or https URI",
)
"""What MLflow itself answers with HTTP 500, although it means a refusal."""


@dataclass
class Answer:
    """One answer; ``raw`` is status, headers and body."""

    status: int
    body: bytes
    raw: bytes

    def json(self) -> Any:
        """The body, if it is a JSON object, else an empty one."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass
class Asker:
    """Somebody with a connection to the server; an empty name is nobody.

    Everything answered so far is kept in ``heard`` until :meth:`listen` takes it, and what the
    server stumbled over in ``stumbles``: a server that stumbles is not one that refuses.
    """

    world: World
    user: str
    heard: list[bytes] = field(default_factory=list)
    stumbles: list[str] = field(default_factory=list)
    things: dict[str, str] = field(default_factory=dict)
    _line: http.client.HTTPConnection | None = None

    @property
    def credentials(self) -> dict[str, str]:
        """The header that says who asks."""
        if not self.user:
            return {}
        pair = f"{self.user}:{self.world.server.password(self.user)}"
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Any = None,
        headers: Mapping[str, str] | list[tuple[str, str]] | None = None,
    ) -> Answer:
        """Send one request as written; a body that is no bytes is sent as JSON."""
        given = list(headers.items()) if isinstance(headers, Mapping) else list(headers or [])
        names = {name.lower() for name, _ in given}
        if "authorization" not in names:
            given += self.credentials.items()
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None and "content-type" not in names:
            given.append(("Content-Type", "application/json"))
        address = path + ("?" + urlencode(query, doseq=True) if query else "")
        answer = self._send(method, address, data, given)
        self.heard.append(answer.raw)
        if answer.status == 500 and not any(known in answer.body for known in KNOWN_STUMBLES):
            self.stumbles.append(f"HTTP 500: {method} {address[:300]}: {answer.body[:160]!r}")
        return answer

    def _send(
        self, method: str, address: str, data: bytes | None, headers: list[tuple[str, str]]
    ) -> Answer:
        for again in (True, False):
            if self._line is None:
                self._line = http.client.HTTPConnection("127.0.0.1", self.world.server.port, 60)
            try:
                self._line.putrequest(method, address, skip_accept_encoding=True)
                for name, value in headers:
                    self._line.putheader(name, value)
                if data is not None or method in ("POST", "PUT", "PATCH"):
                    self._line.putheader("Content-Length", str(len(data or b"")))
                self._line.endheaders(data)
                answer = self._line.getresponse()
                content = answer.read()
            except (http.client.HTTPException, OSError):
                self.close()  # kept alive for too long, or closed after a refused body
                if not again:
                    raise
                continue
            head = f"{answer.status} {answer.reason}\n{answer.msg}"
            return Answer(answer.status, content, head.encode() + content)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def listen(self) -> bytes:
        """Everything answered since the last time."""
        heard = b"\n".join(self.heard)
        self.heard.clear()
        return heard

    def stumbled(self) -> list[str]:
        """Every unknown HTTP 500 since the last time."""
        stumbles, self.stumbles = self.stumbles, []
        return stumbles
