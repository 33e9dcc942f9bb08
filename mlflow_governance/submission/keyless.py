"""Signing without a key of one's own: an identity token buys a certificate for ten minutes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from mlflow_governance.errors import (
    ConfigurationError,
    GovernanceError,
    InvalidRequest,
    Unavailable,
    VerificationError,
)
from mlflow_governance.evidence.envelope import IN_TOTO

if TYPE_CHECKING:
    from sigstore.dsse import Statement
    from sigstore.models import ClientTrustConfig
    from sigstore.oidc import IdentityToken
    from sigstore.sign import Signer

TOKEN_VARIABLE = "SIGSTORE_ID_TOKEN"  # noqa: S105 - a name, which sigstore's and cosign's users know

_MAX_TOKEN_BYTES = 64 * 1024
_MAX_CONFIG_BYTES = 2 * 1024 * 1024
_MAX_TOLD = 300
_DEADLINE = 120.0
"""Seconds for one signature with everything it asks of others, however slowly they answer."""

_Result = TypeVar("_Result")


class KeylessKey:
    """Signs as whoever the identity token names.

    The certificate is asked for at the first signature, and used for every later one until it
    expires.

    Args:
        trust_config: a Sigstore client trust config (JSON), which names the services of a private
            instance and what to trust; None is the public-good instance.
        token_file: holds an OpenID Connect identity token for the audience ``sigstore``. None:
            ``$SIGSTORE_ID_TOKEN``, or the identity of the CI job this runs in.
        environment: where variables are looked up.
    """

    def __init__(
        self,
        trust_config: Path | None = None,
        token_file: Path | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._trust_config = trust_config
        self._token_file = token_file
        self._environment = environment
        self._signer: Signer | None = None

    def sign_dsse(self, payload: bytes, payload_type: str = IN_TOTO) -> bytes:
        """A Sigstore bundle v0.3 (JSON) around an envelope of exactly these bytes.

        Args:
            payload: an in-toto Statement v1.
            payload_type: its media type; Sigstore knows ``application/vnd.in-toto+json`` alone.

        Raises:
            InvalidRequest: no in-toto statement, no token, or one that Fulcio does not take.
            ConfigurationError: the trust config cannot be read.
            Unavailable: a service does not answer; nothing was signed, or nothing that counts.
            VerificationError: the certificate received is not what the trust config trusts.
        """
        from sigstore.dsse import Statement
        from sigstore.errors import Error

        if payload_type != IN_TOTO:
            raise InvalidRequest(f"keyless signatures are over {IN_TOTO}, not {payload_type}")
        try:
            statement = Statement(payload)
        except Error as error:
            raise InvalidRequest(f"not an in-toto statement: {_told(error)}") from error
        return _within(_DEADLINE, lambda: self._sign(statement))

    def _sign(self, statement: Statement) -> bytes:
        from sigstore._internal.fulcio import ExpiredCertificate

        try:
            try:
                bundle = self._current().sign_dsse(statement)
            except ExpiredCertificate:
                self._signer = None
                bundle = self._current().sign_dsse(statement)
            return bundle.to_json().encode("utf-8")
        except GovernanceError:
            raise
        except Exception as error:  # sigstore's own, requests', and pydantic's
            raise _translated(error) from error

    def _current(self) -> Signer:
        from sigstore.sign import SigningContext

        if self._signer is None:
            token = self._token()
            context = SigningContext.from_trust_config(_trust_config(self._trust_config))
            with context.signer(token) as signer:
                self._signer = signer
        return self._signer

    def _token(self) -> IdentityToken:
        from sigstore.oidc import IdentityError, IdentityToken, detect_credential

        try:
            raw = self._given() or detect_credential()
            if raw:
                return IdentityToken(raw)
        except IdentityError as error:
            raise InvalidRequest(
                f"the identity token is of no use: {_told(error.__cause__ or error)}",
                advice="Fetch a fresh one for the audience sigstore; a GitHub job also needs "
                "'permissions: id-token: write'.",
            ) from error
        raise InvalidRequest(
            "there is no identity to sign with",
            advice=f"Give a token: --identity-token FILE, or ${TOKEN_VARIABLE}. In a CI job with "
            "an OpenID Connect identity none is needed.",
        )

    def _given(self) -> str:
        if self._token_file is None:
            return self._environment.get(TOKEN_VARIABLE, "").strip()
        data = _read(self._token_file, _MAX_TOKEN_BYTES, "identity token")
        return data.decode("ascii", "replace").strip()


def _trust_config(path: Path | None) -> ClientTrustConfig:
    from sigstore.models import ClientTrustConfig

    if path is None:
        return ClientTrustConfig.production()
    data = _read(path, _MAX_CONFIG_BYTES, "Sigstore trust config")
    try:
        return ClientTrustConfig.from_json(data.decode("utf-8"))
    except Exception as error:  # pydantic, base64 and whatever the file's author thought of
        raise ConfigurationError(
            f"the Sigstore trust config {path} is malformed: {_told(error)}",
            advice="Use the client trust config of the instance: both a trustedRoot and a "
            "signingConfig are in it.",
        ) from error


def _read(path: Path, limit: int, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ConfigurationError(
            f"the {what} {path} cannot be read: {error.strerror}", advice="Correct its path."
        ) from error
    if len(data) > limit:
        raise ConfigurationError(f"the {what} {path} is over {limit} bytes")
    return data


def _translated(error: Exception) -> GovernanceError:
    import requests
    from sigstore._internal.fulcio.client import FulcioClientError
    from sigstore.errors import TUFError
    from sigstore.errors import VerificationError as Untrusted
    from sigstore.models import InvalidBundle
    from sigstore.oidc import ExpiredIdentity

    cause = error.__cause__
    response = cause.response if isinstance(cause, requests.HTTPError) else None
    if isinstance(error, ExpiredIdentity):
        return InvalidRequest("the identity token expired", advice="Fetch a fresh one.")
    if isinstance(error, FulcioClientError) and response is not None and response.status_code < 500:
        return InvalidRequest(
            f"Fulcio does not take the identity token: {_told(response.text)}",
            advice="The token must be fresh, for the audience sigstore, of an issuer it knows.",
        )
    if isinstance(error, InvalidBundle):
        return Unavailable(
            "no time stamp authority of the trust config answered", advice="Sign again."
        )
    if isinstance(error, TUFError):
        return Unavailable(
            f"the root of the public Sigstore cannot be refreshed: {_told(error)}",
            advice="Sign where there is a network, or give the trust config of your instance.",
        )
    if isinstance(error, Untrusted):
        return VerificationError(
            f"what Fulcio issued is not what the trust config trusts: {_told(error)}",
            advice="Use the trust config of the same Sigstore instance.",
        )
    return Unavailable(
        f"signing failed at a service of Sigstore: {_told(error)}", advice="Sign again."
    )


def _within(seconds: float, call: Callable[[], _Result]) -> _Result:
    # sigstore's clients wait without end; a thread is the one bound that holds for all of them.
    outcome: Future[_Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    Thread(target=run, name="keyless", daemon=True).start()
    try:
        return outcome.result(seconds)
    except TimeoutError as error:
        raise Unavailable(
            f"Sigstore did not sign within {seconds:.0f} s", advice="Sign again."
        ) from error


def _told(what: object) -> str:
    return " ".join((str(what) or type(what).__name__).split())[:_MAX_TOLD]
