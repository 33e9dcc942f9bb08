"""How to reach a server, from the variables MLflow's own client reads."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from mlflow_governance.errors import ConfigurationError

ADDRESS_ADVICE = "Set MLFLOW_TRACKING_URI to the server, for example https://mlflow.example.org."
_READ_SECONDS = 120.0


@dataclass(frozen=True)
class Connection:
    """How to reach the server.

    Args:
        base: its address without a trailing slash and without credentials.
        auth: puts credentials into a request; None asks anonymously.
        verify: check certificates; a path names the authorities to trust.
        certificate: a client certificate (PEM with its key), if the server wants one.
        timeout: seconds to wait for an answer; judging may hash for a while.
    """

    base: str
    auth: AuthBase | None = field(default=None, repr=False)
    verify: bool | str = True
    certificate: str | None = None
    timeout: float = _READ_SECONDS

    @classmethod
    def from_environment(
        cls, tracking_uri: str | None = None, environ: Mapping[str, str] = os.environ
    ) -> Connection:
        """Read MLflow's own variables.

        Args:
            tracking_uri: instead of ``MLFLOW_TRACKING_URI``.
            environ: the environment.

        Raises:
            ConfigurationError: they name no HTTP server, or contradict each other.
        """
        base, inline = _address(tracking_uri or environ.get("MLFLOW_TRACKING_URI", ""))
        return cls(
            base=base,
            auth=_auth(environ) or inline,
            verify=_verify(environ),
            certificate=environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH") or None,
            timeout=_timeout(environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "")),
        )


class _Bearer(AuthBase):
    # As an auth object, because requests lets a .netrc overwrite a plain header.
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _address(uri: str) -> tuple[str, AuthBase | None]:
    # Credentials leave the address here, so that no message repeats them.
    try:
        parts = urlsplit(uri.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError("the tracking URI is malformed", advice=ADDRESS_ADVICE) from error
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError("the tracking URI names no HTTP server", advice=ADDRESS_ADVICE)
    place = f"[{host}]" if ":" in host else host
    base = f"{parts.scheme}://{place}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
    if not parts.username:
        return base, None
    return base, _basic(unquote(parts.username), unquote(parts.password or ""))


def _auth(environ: Mapping[str, str]) -> AuthBase | None:
    # In the order of MLflow's own client: user and password first, then the token.
    user = environ.get("MLFLOW_TRACKING_USERNAME")
    password = environ.get("MLFLOW_TRACKING_PASSWORD")
    token = environ.get("MLFLOW_TRACKING_TOKEN")
    if user and password:
        return _basic(user, password)
    return _Bearer(token) if token else None


def _basic(user: str, password: str) -> AuthBase:
    # requests would encode text as Latin-1; MLflow reads UTF-8
    return HTTPBasicAuth(user.encode(), password.encode())


def _verify(environ: Mapping[str, str]) -> bool | str:
    insecure = environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").strip().lower() in ("true", "1")
    authorities = environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH", "")
    if insecure and authorities:
        raise ConfigurationError(
            "MLFLOW_TRACKING_INSECURE_TLS and MLFLOW_TRACKING_SERVER_CERT_PATH contradict each "
            "other",
            advice="Unset MLFLOW_TRACKING_INSECURE_TLS.",
        )
    if authorities and not Path(authorities).exists():
        raise ConfigurationError(
            "MLFLOW_TRACKING_SERVER_CERT_PATH names a file that is not there",
            advice="Name the PEM file of the authority that signed the server's certificate.",
        )
    return authorities or not insecure


def _timeout(text: str) -> float:
    if not text:
        return _READ_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not math.isfinite(seconds) or seconds <= 0:
        raise ConfigurationError(
            "MLFLOW_HTTP_REQUEST_TIMEOUT is not a number of seconds",
            advice="Unset it, or set it to 120.",
        )
    return seconds
