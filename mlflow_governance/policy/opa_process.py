"""A real ``opa`` of one's own: a short-lived server on this machine that serves one bundle."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import closing
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Gate
from mlflow_governance.errors import ConfigurationError, Unavailable
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.finding import Finding
from mlflow_governance.policy.interface import EngineError

MAX_ANSWER_BYTES = 16 * 1024 * 1024
_START_SECONDS = 20
_ATTEMPTS = 3
_REFUSAL = re.compile(r"([^\s:]+\.rego):(\d+)(?::(\d+))?: (.+)")


def find_binary(named: str | None = None) -> Path | None:
    """The ``opa`` to compare with: the one named, ``$OPA``, on PATH, or of ``make tools``.

    Raises:
        ConfigurationError: the one that was named is not there.
    """
    given = named or os.environ.get("OPA")
    if given:
        found = shutil.which(given)
        if found is None:
            raise ConfigurationError(
                f"{given!r} is no program that can be started",
                advice="Name an opa binary: mlflow-governance policy check --opa PATH",
            )
        return Path(found)
    beside = Path(__file__).resolve().parents[2] / ".tools" / "bin" / "opa"
    local = Path.cwd() / ".tools" / "bin" / "opa"
    found = shutil.which("opa") or next((str(p) for p in (local, beside) if p.is_file()), None)
    return Path(found) if found else None


class Refused(ConfigurationError):
    """OPA does not load the bundle; ``findings`` are its own words, with file and line."""

    def __init__(self, message: str, findings: tuple[Finding, ...]) -> None:
        super().__init__(message)
        self.findings = findings


class OpaProcess:
    """Runs ``opa run --server`` on a port of the loopback while the ``with`` block lasts.

    It is an engine (see :class:`.interface.PolicyEngine`) for one process and any thread.

    Args:
        binary: the opa program.
        bundle: what it serves.

    Raises:
        Refused: OPA does not load the bundle.
        Unavailable: it does not start or is not healthy within 20 s.
    """

    def __init__(self, binary: Path, bundle: Bundle) -> None:
        self._binary = binary
        self._bundle = bundle
        self._local = threading.local()
        self._connections: list[http.client.HTTPConnection] = []
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @cached_property
    def name(self) -> str:
        """``opa`` and its version."""
        said = subprocess.run(
            [self._binary, "version"], capture_output=True, text=True, check=False, timeout=20
        ).stdout
        version = re.search(r"Version: (\S+)", said)
        return f"opa {version[1]}" if version else "opa"

    @property
    def policy_digest(self) -> Digest:
        """Digest of the bundle."""
        return self._bundle.digest

    def __enter__(self) -> OpaProcess:
        self._folder = tempfile.TemporaryDirectory(prefix="opa-")
        try:
            self._start(Path(self._folder.name))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process; nothing of it stays."""
        while self._connections:
            self._connections.pop().close()
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def evaluate(self, gate: Gate, document: bytes) -> Any:
        """The raw decision of a gate.

        Raises:
            EngineError: see :meth:`query`.
        """
        return self.query(f"registry.{gate.value}.decision", document)

    def query(self, rule: str, document: bytes) -> Any:
        """The value of a rule, builtin errors being errors as they are in production.

        Raises:
            EngineError: ``ENG-UNDEFINED``, ``ENG-ERROR``, or ``ENG-UNREACHABLE`` where it is gone.
        """
        path = f"/v1/data/{rule.replace('.', '/')}?strict-builtin-errors=true"
        try:
            connection = self._connection()
            connection.request("POST", path, b'{"input":' + document + b"}")
            response = connection.getresponse()
            body = response.read(MAX_ANSWER_BYTES)
            answer = json.loads(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise EngineError("ENG-UNREACHABLE", f"opa stopped answering: {error}") from error
        if response.status != 200:
            raise EngineError("ENG-ERROR", f"opa answered HTTP {response.status}: {_said(answer)}")
        if answer.get("result") is None:
            raise EngineError("ENG-UNDEFINED", f"{rule} has no answer")
        return answer["result"]

    def _connection(self) -> http.client.HTTPConnection:
        # One a thread, kept open: connecting costs more than a decision.
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            connection.connect()
            assert connection.sock is not None  # noqa: S101  (connect() has just made it)
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._local.connection = connection
            self._connections.append(connection)
        return connection

    def _start(self, folder: Path) -> None:
        archive, log = folder / "bundle.tar.gz", folder / "log"
        archive.write_bytes(self._bundle.archive())
        for attempt in range(_ATTEMPTS):
            self._port = _free_port()
            command = [str(self._binary), "run", "--server", "--skip-version-check"]
            command += ["--log-level", "error", "--addr", f"127.0.0.1:{self._port}"]
            with log.open("wb") as output:
                self._process = subprocess.Popen(
                    [*command, "-b", str(archive)],
                    stdout=output,
                    stderr=output,
                    env={k: v for k, v in os.environ.items() if not k.startswith("OPA_")},
                )
            if self._is_healthy():
                return
            said = log.read_text("utf-8", "replace")
            # Somebody else may have taken the port in between.
            if "address already in use" not in said or attempt == _ATTEMPTS - 1:
                raise _refusal(said)

    def _is_healthy(self) -> bool:
        latest = time.monotonic() + _START_SECONDS
        while time.monotonic() < latest:
            if self._process is None or self._process.poll() is not None:
                return False
            try:
                with closing(http.client.HTTPConnection("127.0.0.1", self._port, 1)) as asked:
                    asked.request("GET", "/health?bundles")
                    if asked.getresponse().status == 200:
                        return True
            except (OSError, http.client.HTTPException):
                time.sleep(0.03)
        return False


def _free_port() -> int:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _refusal(said: str) -> ConfigurationError | Unavailable:
    text = said.replace("\\n", "\n").replace('\\"', '"')
    found = {
        Finding(
            m[1].lstrip("/").split("bundle.tar.gz/")[-1],
            int(m[2]),
            int(m[3] or 1),
            "opa-refuses",
            m[4][:300],
            "OPA does not load this: mend it, or it cannot be served by one",
        )
        for m in _REFUSAL.finditer(text)
    }
    if found:
        return Refused("OPA does not load the bundle", tuple(sorted(found)))
    return Unavailable(f"opa does not start: {' '.join(said.split())[:500] or 'it says nothing'}")


def _said(answer: object) -> str:
    if not isinstance(answer, dict):
        return "no explanation"
    errors = answer.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else {}
    told = first.get("message", "") if isinstance(first, dict) else ""
    return f"{answer.get('message', '')} {told}".strip()[:300]
