"""The organisational engine: a real OPA server, asked over HTTP.

There is no fallback to the embedded engine: whoever can make a server slow could then choose
who decides. ``opa-python-client`` speaks the protocol; what its defaults leave open is closed
here (``_harden``), and the whole call has one deadline, since a socket timeout starts again with
every byte that drips in.
"""

from __future__ import annotations

import io
import ipaddress
import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Gate
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.interface import MAX_ANSWER_BYTES, EngineError

MAX_IN_FLIGHT = 64
"""Calls that may wait at once; one more is a timeout rather than one more thread."""

_MAX_TOKEN = 16 * 1024
_QUERY = {"provenance": "true", "strict-builtin-errors": "true"}


class OpaEngine:
    """Asks an OPA server that serves the bundle in force.

    Args:
        url: ``http(s)://host[:port]``, port 8181 if none is named.
        bundle: the policies in force; the server must serve these.
        token: bearer token, sent over https or to this machine only.
        deadline_seconds: for one whole decision.
        ca_file: PEM bundle to verify the server with instead of the system's.
        token_file: file of a token that is rotated; read again whenever it changes.
        cert_file: client certificate (PEM), for a server that asks for one.
        key_file: its key, if it is not in ``cert_file``.
        check_revision: refuse an answer unless the server names the bundle's digest as the
            revision of a bundle it has loaded (``Bundle.archive`` writes it so).

    Raises:
        ConfigurationError: the URL or a file is not usable, or ``opa-python-client`` is not
            installed.
    """

    def __init__(  # noqa: PLR0913  (keyword-only settings of one server)
        self,
        url: str,
        bundle: Bundle,
        *,
        token: str | None = None,
        deadline_seconds: float = 2.0,
        ca_file: str | None = None,
        token_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        check_revision: bool = True,
    ) -> None:
        self._arguments = _arguments(url, token or token_file, ca_file)
        self._arguments["token"] = token
        self._arguments["cert"] = _certificate(url, cert_file, key_file)
        self._token_file = _TokenFile(Path(token_file)) if token_file else None
        _refuse_unreadable(ca_file, cert_file, key_file, token_file)
        self._bundle = bundle
        self._deadline = deadline_seconds
        self._check_revision = check_revision
        self._begin()

    @property
    def name(self) -> str:
        """``opa`` and where it is."""
        return f"opa {self._arguments['host']}:{self._arguments['port']}"

    @property
    def policy_digest(self) -> Digest:
        """Digest of the bundle the server must serve."""
        return self._bundle.digest

    def evaluate(self, gate: Gate, document: bytes) -> Any:
        """The raw decision of a gate.

        Raises:
            EngineError: every way in which there is none; see ``decide``.
        """
        return self.query(f"registry.{gate.value}.decision", document)

    def query(self, rule: str, document: bytes) -> Any:
        """The value of any rule of the bundle.

        Raises:
            EngineError: see :meth:`evaluate`.
        """
        answer = self._within_deadline(rule, json.loads(document))
        if not isinstance(answer, dict):
            raise EngineError("ENG-SHAPE", "the policy server's answer is not an object")
        if self._check_revision:
            self._refuse_other_policy(answer)
        if answer.get("result") is None:
            raise EngineError("ENG-UNDEFINED", f"{rule} has no answer")
        return answer["result"]

    def _within_deadline(self, rule: str, dossier: Mapping[str, Any]) -> object:
        package, _, name = rule.rpartition(".")
        if self._process != os.getpid():
            self._begin()
        client, slots = self._client, self._slots
        if self._token_file is not None:
            client._session.headers["Authorization"] = f"Bearer {self._token_file.read()}"
        if not slots.acquire(timeout=self._deadline):
            raise EngineError("ENG-TIMEOUT", "too many decisions wait for the policy server")
        outcome: list[object] = []

        def ask() -> None:
            try:
                outcome.append(client.query_rule(dossier, package, name, _QUERY))
            except Exception as error:  # carried over to the thread that waits
                outcome.append(error)
            finally:
                slots.release()

        thread = threading.Thread(target=ask, name="opa-decision", daemon=True)
        thread.start()
        thread.join(self._deadline)
        if not outcome:
            raise EngineError(
                "ENG-TIMEOUT", f"the policy server did not answer within {self._deadline} s"
            )
        if isinstance(outcome[0], Exception):
            raise _translate(outcome[0]) from outcome[0]
        return outcome[0]

    def _refuse_other_policy(self, answer: Mapping[str, Any]) -> None:
        provenance = answer.get("provenance")
        bundles = provenance.get("bundles") if isinstance(provenance, dict) else None
        loaded = bundles.values() if isinstance(bundles, dict) else ()
        revisions = [b.get("revision") for b in loaded if isinstance(b, dict)]
        if self._bundle.digest not in revisions:
            raise EngineError(
                "ENG-REVISION",
                f"the policy server serves revision {str(revisions)[:200]}, "
                f"in force is {self._bundle.digest}",
            )

    def _begin(self) -> None:
        # Anew after a fork: two processes on one inherited connection would read each other's
        # answers, and the slots of threads that were not forked would never be given back.
        self._slots = threading.BoundedSemaphore(MAX_IN_FLIGHT)
        self._client = self._connect()
        self._process = os.getpid()

    def _connect(self) -> Any:
        try:
            from opa_client.opa import OpaClient
        except ImportError as error:
            raise ConfigurationError(
                "the OPA engine needs opa-python-client",
                advice='Install it: pip install "mlflow-governance[opa]"',
            ) from error
        timeouts = (min(0.5, self._deadline), self._deadline)
        client = OpaClient(**self._arguments, retries=0, timeout=timeouts)
        _harden(client, self._deadline)
        return client


def _arguments(url: str, token: str | None, ca_file: str | None) -> dict[str, Any]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 8181
    except ValueError as error:
        raise ConfigurationError(f"not the URL of a policy server: {url[:200]!r}") from error
    plain = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username)
    if parts.scheme not in ("http", "https") or not host or not plain:
        raise ConfigurationError(
            f"not the URL of a policy server: {url[:200]!r}",
            advice="Write http(s)://HOST[:PORT] and nothing after it.",
        )
    if token and parts.scheme == "http" and not _is_this_machine(host):
        raise ConfigurationError(
            "the policy server's token would travel unencrypted",
            advice="Use https, or a server on this machine.",
        )
    verify: bool | str = (ca_file or True) if parts.scheme == "https" else False
    return {
        "host": f"[{host}]" if ":" in host else host,
        "port": port,
        "ssl": verify,
        "token": token,
    }


def _certificate(url: str, cert_file: str | None, key_file: str | None) -> object:
    if key_file and not cert_file:
        raise ConfigurationError("the policy server's key_file needs a cert_file beside it")
    if cert_file and not url.startswith("https:"):
        raise ConfigurationError(
            "a certificate is shown to a policy server over https only",
            advice="Write https:// in the url of opa.",
        )
    return (cert_file, key_file) if cert_file and key_file else cert_file


def _refuse_unreadable(*paths: str | None) -> None:
    for path in filter(None, paths):
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"{path}, which the policy server needs, cannot be read: {error.strerror}"
            ) from error


class _TokenFile:
    """A token that somebody else renews."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: tuple[tuple[int, int, int], str] | None = None

    def read(self) -> str:
        """The token as it is now.

        Raises:
            EngineError: ``ENG-ERROR``, there is none.
        """
        try:
            found = self._path.stat()
            state = found.st_ino, found.st_mtime_ns, found.st_size
            if self._known is None or self._known[0] != state:
                self._known = state, self._path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise EngineError("ENG-ERROR", "the policy server's token cannot be read") from error
        token = self._known[1]
        if not token or len(token) > _MAX_TOKEN or not token.isprintable() or " " in token:
            raise EngineError("ENG-ERROR", "the policy server's token file holds no token")
        return token


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _harden(client: Any, deadline: float) -> None:
    session = client._session
    # ~/.netrc would replace the token, HTTP_PROXY see it, REQUESTS_CA_BUNDLE override the CA.
    session.trust_env = False
    session.max_redirects = 0
    session.headers["Accept-Encoding"] = "identity"

    def read_bounded(response: Any, *_: object, **__: object) -> Any:
        latest = time.monotonic() + deadline
        body = bytearray()
        for chunk in response.raw.stream(65536, decode_content=True):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES or time.monotonic() > latest:
                response.close()
                raise EngineError("ENG-SHAPE", "the policy server's answer has no end")
        response.raw = io.BytesIO(bytes(body))
        return response

    session.hooks["response"].append(read_bounded)


def _translate(error: Exception) -> EngineError:
    import requests

    if isinstance(error, EngineError):
        return error
    response = getattr(error, "response", None)
    if response is not None:
        return EngineError(
            f"ENG-HTTP-{response.status_code}",
            f"the policy server answered HTTP {response.status_code}: {_said(response)}",
        )
    if isinstance(error, requests.Timeout | TimeoutError):
        return EngineError("ENG-TIMEOUT", "the policy server did not answer in time")
    if isinstance(error, ValueError | RecursionError):
        return EngineError("ENG-SHAPE", "the policy server's answer is not JSON")
    if isinstance(error, OSError):  # requests' errors are OSErrors: refused, DNS, TLS, reset
        return EngineError(
            "ENG-UNREACHABLE", f"the policy server cannot be reached: {_cause(error)}"
        )
    return EngineError("ENG-ERROR", f"{type(error).__name__}: {error}")


def _cause(error: BaseException) -> str:
    # Whoever asked for a model is told what is wrong, and not where the policy server is.
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return getattr(error, "strerror", None) or str(error)


def _said(response: Any) -> str:
    try:
        body = response.json()
        first = (body.get("errors") or [{}])[0]
        return f"{body.get('message', '')} {first.get('message', '')}".strip()[:300]
    except (ValueError, AttributeError, LookupError, TypeError, RecursionError):
        return "no explanation"
