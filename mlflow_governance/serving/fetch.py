"""Fetching small documents over HTTP, with the credentials the MLflow client uses."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlflow_governance.core import canonical, digest
from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import (
    Denied,
    GovernanceError,
    InvalidRequest,
    NotFound,
    Unauthenticated,
    Unavailable,
    VerificationError,
)
from mlflow_governance.serving import revocations
from mlflow_governance.serving.files import read_file
from mlflow_governance.serving.settings import ServingSettings

if TYPE_CHECKING:
    import requests

_MAX_POLICY_BYTES = 4 * 1024 * 1024
_TIMEOUT = (5.0, 10.0)
"""Seconds to connect, and between two pieces of the answer."""
_DEADLINE = 30.0
"""Seconds for one whole answer, however steadily it drips."""
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class LiveFetcher:
    """Fulfils :class:`~mlflow_governance.serving.interface.Fetcher`.

    Args:
        settings: where the documents are, and whether servers may be reached at all.
        environment: MLflow's ``MLFLOW_TRACKING_*`` variables.
    """

    settings: ServingSettings
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def revocations(self) -> bytes:
        """The list from its file, which an offline host is given by hand, or from its URL."""
        path = self.settings.revocations_file
        if path is None:
            return self._get(self.settings.revocations_url, revocations.MAX_BYTES)
        data = read_file(path.resolve(), revocations.MAX_BYTES)
        if data is None:
            raise Unavailable(f"there is no revocation list at {path}")
        return data

    def policy_digests(self) -> frozenset[Digest]:
        """``policy_digest`` of the server, and its ``accepted_policy_digests`` if it names any."""
        data = self._get(self.settings.policy_url, _MAX_POLICY_BYTES)
        try:
            document = canonical.decode_object(data, max_bytes=_MAX_POLICY_BYTES)
            others = document.get("accepted_policy_digests", [])
            if not isinstance(others, list):
                raise VerificationError("the server's accepted_policy_digests are malformed")
            return frozenset(map(digest.parse, [document.get("policy_digest"), *others]))
        except InvalidRequest as error:
            raise VerificationError(
                f"the server's answer about its policy is malformed: {error.message}"
            ) from error

    def _get(self, url: str, limit: int) -> bytes:
        import requests

        if self.settings.offline or not url:
            why = "offline was asked for" if self.settings.offline else "no server is configured"
            raise Unavailable(
                f"nothing is fetched: {why}",
                advice="Set MLFLOW_TRACKING_URI to the server, or MLFLOW_GOVERNANCE_REVOCATIONS "
                "to a file.",
            )
        try:
            with requests.Session() as session:
                response = session.get(
                    url,
                    auth=self._credentials(url),
                    headers={"Accept-Encoding": "identity"},
                    verify=self._server_certificates(),
                    cert=self.environment.get("MLFLOW_TRACKING_CLIENT_CERT_PATH") or None,
                    timeout=_TIMEOUT,
                    # A redirect would take the credentials, and the question, somewhere else.
                    allow_redirects=False,
                    stream=True,
                )
                _refuse_status(response.status_code, url)
                return _bounded(response, limit, url)
        except (requests.RequestException, OSError) as error:
            raise Unavailable(f"{url} does not answer: {type(error).__name__}") from error

    def _credentials(
        self, url: str
    ) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
        # Given as a callable, even when there are none, or requests would look into ~/.netrc.
        env, server = self.environment, self.settings.server.rstrip("/")
        ours = bool(server) and url.startswith(server + "/")
        user, password = env.get("MLFLOW_TRACKING_USERNAME"), env.get("MLFLOW_TRACKING_PASSWORD")
        token = env.get("MLFLOW_TRACKING_TOKEN")
        if ours and user and password:
            from requests.auth import HTTPBasicAuth

            # As bytes: requests itself would write a password in Latin-1, MLflow writes UTF-8.
            return HTTPBasicAuth(user.encode("utf-8"), password.encode("utf-8"))

        def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
            if ours and token:
                request.headers["Authorization"] = f"Bearer {token}"
            return request

        return sign

    def _server_certificates(self) -> bool | str:
        if self.environment.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
            return False
        return self.environment.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True


def _refuse_status(status: int, url: str) -> None:
    if status == 200:
        return
    kinds: dict[int, tuple[type[GovernanceError], str]] = {
        401: (Unauthenticated, "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."),
        403: (Denied, "Ask for the right to read the registry."),
        404: (NotFound, "Is MLFLOW_TRACKING_URI a server of mlflow-governance?"),
    }
    kind, advice = kinds.get(status, (Unavailable, ""))
    raise kind(f"{url} answered {status}", advice=advice)


def _bounded(response: requests.Response, limit: int, url: str) -> bytes:
    end = time.monotonic() + _DEADLINE
    data = bytearray()
    for chunk in response.iter_content(_CHUNK):
        data += chunk
        if len(data) > limit:
            raise VerificationError(f"{url} sent more than {limit} bytes")
        if time.monotonic() > end:
            raise Unavailable(f"{url} did not finish its answer within {_DEADLINE:.0f} s")
    return bytes(data)
