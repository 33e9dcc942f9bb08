"""Fetching a bundle from a web server: bounded in size and in time, and from nowhere else."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urljoin, urlsplit

from mlflow_governance.errors import (
    ConfigurationError,
    GovernanceError,
    Unavailable,
    VerificationError,
)
from mlflow_governance.policy.archive import MAX_TOTAL_BYTES

if TYPE_CHECKING:
    import requests

MAX_ETAG = 1024
_TIMEOUT = (5.0, 10.0)
"""Seconds to connect, and between two pieces of the answer."""
_REDIRECTS = 3
_CHUNK = 64 * 1024
_PORTS = {"https": 443, "http": 80}
_MOVED = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Access:
    """How a web server is asked.

    Args:
        token: bearer token; empty: none is sent.
        ca_file: PEM file of the authorities to trust instead of the system's.
        deadline_seconds: for the whole answer, however steadily it drips.
    """

    token: str = field(default="", repr=False)
    ca_file: Path | None = None
    deadline_seconds: float = 30.0


class Download:
    """One address, asked again and again; threads that share it ask one after another.

    Raises:
        ConfigurationError: the address or the file of authorities is not usable.
    """

    def __init__(self, url: str, access: Access) -> None:
        _refuse_address(url)
        if access.ca_file is not None and not access.ca_file.is_file():
            raise ConfigurationError(
                f"there is no file of authorities at {access.ca_file}",
                advice="Name a PEM file as policy_ca_file in config.yaml.",
            )
        self._url, self._access = url, access
        self._worker: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def shown(self) -> str:
        """The address without its query, which may hold a secret."""
        return urlsplit(self._url)._replace(query="").geturl()

    def get(self, etag: str = "") -> tuple[bytes, str] | None:
        """The body and its ETag; None where it is still what that ETag names.

        Raises:
            Unavailable: no answer in time, or another one than this file.
            VerificationError: the answer is too large.
        """
        outcome: list[tuple[bytes, str] | GovernanceError | None] = []

        def ask() -> None:
            try:
                outcome.append(self._asked(etag))
            except GovernanceError as error:
                outcome.append(error)
            except Exception as error:  # carried over to the thread that waits
                outcome.append(self._away(f"{type(error).__name__}"))

        with self._lock:
            if self._worker is not None and self._worker.is_alive():
                raise self._away("it has still to answer the question before")
            # Names, TLS and headers have no deadline of their own, so it is kept from outside.
            self._worker = threading.Thread(target=ask, name="policy-download", daemon=True)
            self._worker.start()
            self._worker.join(self._access.deadline_seconds)
        if not outcome:
            raise self._away(f"no whole answer within {self._access.deadline_seconds:g} s")
        if isinstance(outcome[0], GovernanceError):
            raise outcome[0]
        return outcome[0]

    def _asked(self, etag: str) -> tuple[bytes, str] | None:
        import requests

        latest = time.monotonic() + self._access.deadline_seconds
        url = self._url
        with requests.Session() as session:
            # ~/.netrc would replace the token, HTTP_PROXY see it, REQUESTS_CA_BUNDLE win.
            session.trust_env = False
            for _ in range(_REDIRECTS + 1):
                with self._send(session, url, etag) as response:
                    if response.status_code in _MOVED:
                        url = self._moved(url, response.headers.get("Location", ""))
                        continue
                    if response.status_code == 304 and etag:
                        return None
                    if response.status_code != 200:
                        raise self._away(f"it answers HTTP {response.status_code}")
                    return self._body(response, latest), _etag(response.headers)
        raise self._away("it redirects in circles")

    def _send(self, session: requests.Session, url: str, etag: str) -> requests.Response:
        headers = {"Accept-Encoding": "identity", "User-Agent": "mlflow-governance"}
        if self._access.token:
            headers["Authorization"] = f"Bearer {self._access.token}"
        if etag:
            headers["If-None-Match"] = etag
        return session.get(
            url,
            headers=headers,
            verify=str(self._access.ca_file or "") or True,
            timeout=_TIMEOUT,
            allow_redirects=False,
            stream=True,
        )

    def _moved(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        try:
            same = _origin(urlsplit(target)) == _origin(urlsplit(url))
        except ValueError:
            same = False
        if not location or not same:
            # Another host would be sent the token, and is nobody the operator named.
            raise self._away(f"it redirects elsewhere, to {target.split('?')[0][:200]!r}")
        return target

    def _body(self, response: requests.Response, latest: float) -> bytes:
        data = bytearray()
        # The bytes as they are: some servers label a .tar.gz as an encoding of a .tar.
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            data += chunk
            if len(data) > MAX_TOTAL_BYTES:
                raise VerificationError(
                    f"{self.shown} sent more than {MAX_TOTAL_BYTES} bytes",
                    advice="A policy bundle is smaller; look at what stands at that address.",
                )
            if time.monotonic() > latest:
                raise self._away("its answer has no end")
        expected = response.headers.get("Content-Length", "")
        if expected.isdecimal() and len(data) != int(expected):
            raise self._away("its answer broke off")
        return bytes(data)

    def _away(self, why: str) -> Unavailable:
        return Unavailable(
            f"the policy bundle cannot be fetched from {self.shown}: {why}",
            advice="Look at policies, policy_token_variable and policy_ca_file in config.yaml.",
        )


def _refuse_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _, _ = parts.hostname, parts.port, url.encode("ascii")
    except ValueError as error:
        raise _no_address(url) from error
    if parts.scheme not in _PORTS or not host or parts.username is not None or parts.fragment:
        raise _no_address(url)
    if parts.scheme == "http" and not _is_this_machine(host):
        raise ConfigurationError(
            f"policies would be fetched unencrypted, from {host}",
            advice="Use https, or a server on this machine.",
        )


def _no_address(url: str) -> ConfigurationError:
    shown = url.split("?")[0].rpartition("@")[2][:200]
    return ConfigurationError(
        f"not the address of a policy bundle: {shown!r}",
        advice="Write https://HOST[:PORT]/PATH, without user and password.",
    )


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _etag(headers: Mapping[str, str]) -> str:
    etag = headers.get("ETag", "")
    return etag if len(etag) <= MAX_ETAG and etag.isprintable() and etag.isascii() else ""
