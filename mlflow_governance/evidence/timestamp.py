"""Trusted time stamps (RFC 3161): when a signature existed, on the word of a trusted authority."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mlflow_governance.errors import ConfigurationError, Unavailable, VerificationError
from mlflow_governance.evidence import panics

if TYPE_CHECKING:
    import requests
    from rfc3161_client import TimeStampResponse

MAX_TOKENS = 8
"""Time stamps that are looked at for one signature; more are refused."""
MAX_TOKEN_BYTES = 32 * 1024

_MAX_CHAIN = 8
_MAX_PEM_BYTES = 64 * 1024
_TIMEOUT = (5.0, 10.0)
"""Seconds to connect, and between two pieces of the answer."""
_DEADLINE = 20.0
"""Seconds until the last piece of the answer, however steadily it drips."""
_GRANTED = 0


@dataclass(frozen=True, slots=True)
class Authority:
    """A time stamp authority that is trusted: its certificate first, its root last."""

    name: str
    chain: tuple[x509.Certificate, ...]


def load_authority(name: str, pem: bytes) -> Authority:
    """An authority from its certificates in PEM: its own first, then up to its root.

    That is how ``/api/v1/timestamp/certchain`` of Sigstore's timestamp-authority answers.

    Raises:
        ConfigurationError: no such chain, or not one of a time stamp authority (RFC 3161, 2.3).
    """
    advice = "Give the authority's own certificate first, its root last, in one PEM file."
    if len(pem) > _MAX_PEM_BYTES:
        raise ConfigurationError(f"the certificates of {name} are over {_MAX_PEM_BYTES} bytes")
    try:
        chain = tuple(x509.load_pem_x509_certificates(pem))
        _refuse_unfit(chain)
    except Exception as error:  # ASN.1, X.509 and signatures of several kinds
        raise ConfigurationError(
            f"{name} is not a time stamp authority: {error or 'its chain is broken'}", advice=advice
        ) from error
    return Authority(name, chain)


def _refuse_unfit(chain: tuple[x509.Certificate, ...]) -> None:
    if not 2 <= len(chain) <= _MAX_CHAIN:
        raise ValueError(f"{len(chain)} certificates; 2 to {_MAX_CHAIN} make a chain")
    for below, above in zip(chain, (*chain[1:], chain[-1]), strict=True):
        below.verify_directly_issued_by(above)
    usage = chain[0].extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    if list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING] or not usage.critical:
        raise ValueError("its certificate is not, critically and alone, for time stamps")


def stamped_at(
    tokens: Sequence[bytes], signature: bytes, authorities: Sequence[Authority]
) -> datetime | None:
    """When ``signature`` existed at the latest: the earliest moment that a token proves.

    Args:
        tokens: TimeStampResp or TimeStampToken in DER, as ``rfc3161Timestamps`` of a Sigstore
            bundle has them; one by nobody trusted, or over something else, proves nothing.
        signature: the raw bytes that were stamped.
        authorities: whose word counts.

    Returns:
        An instant in UTC; None when nothing is proved.

    Raises:
        VerificationError: a token is malformed, or there are more than ``MAX_TOKENS``.
    """
    if len(tokens) > MAX_TOKENS:
        raise VerificationError(f"{len(tokens)} time stamps; at most {MAX_TOKENS} are looked at")
    parsed = [_parse(token) for token in tokens]
    proved = [
        at
        for response in parsed
        for authority in authorities
        if (at := _proved(response, signature, authority)) is not None
    ]
    return min(proved, default=None)


def _parse(token: bytes) -> TimeStampResponse:
    from rfc3161_client import decode_timestamp_response

    if len(token) > MAX_TOKEN_BYTES:
        raise VerificationError(f"a time stamp of {len(token)} bytes is not read")
    try:
        with panics.contained():
            response = decode_timestamp_response(_as_response(token))
            granted = response.status == _GRANTED
            response.tst_info.gen_time  # noqa: B018 - parsed only when asked for
    except Exception as error:  # a parser in Rust, with errors of several libraries
        raise VerificationError(f"not an RFC 3161 time stamp: {str(error)[:200]}") from error
    if not granted:
        raise VerificationError("the time stamp was not granted")
    return response


def _as_response(token: bytes) -> bytes:
    # A bare token is a ContentInfo, SEQUENCE { OBJECT IDENTIFIER …; a response begins with a
    # SEQUENCE of its status. The status put before a bare token is "granted".
    long_form = token[1] & 0x7F if len(token) > 1 and token[1] & 0x80 else 0
    if token[2 + long_form : 3 + long_form] != b"\x06":
        return token
    body = b"\x30\x03\x02\x01\x00" + token
    return b"\x30\x82" + len(body).to_bytes(2, "big") + body


def _proved(response: TimeStampResponse, signature: bytes, authority: Authority) -> datetime | None:
    from rfc3161_client import VerifierBuilder

    leaf, *between, root = authority.chain
    verifier = VerifierBuilder(tsa_certificate=leaf, intermediates=between, roots=[root]).build()
    try:
        with panics.contained():
            at = response.tst_info.gen_time.astimezone(UTC)
            verifier.verify_message(response, signature)
    except Exception:  # whatever stops the proof, nothing is proved
        return None
    inside = all(
        one.not_valid_before_utc <= at <= one.not_valid_after_utc for one in authority.chain
    )
    return at if inside else None


def request(url: str, signature: bytes) -> bytes:
    """Ask an authority for a time stamp over ``signature``; a TimeStampResp in DER.

    That it is over these bytes is checked, not that its signer is trusted.

    Raises:
        Unavailable: the authority does not answer in time, or cannot now.
        VerificationError: it answers something else than a time stamp over ``signature``.
    """
    from rfc3161_client import TimestampRequestBuilder
    from rfc3161_client.base import HashAlgorithm

    if not signature:
        raise ValueError("a time stamp needs bytes to be over")
    query = TimestampRequestBuilder().data(signature).hash_algorithm(HashAlgorithm.SHA256).build()
    answer = _post(url, query.as_bytes())
    told = _parse(answer).tst_info
    same = told.message_imprint.message == query.message_imprint.message
    if not same or told.nonce != query.nonce:
        raise VerificationError(f"{url} answered with a time stamp over something else")
    return answer


def _post(url: str, body: bytes) -> bytes:
    import requests

    class Direct(requests.Session):
        # requests would read the whole body of a redirect even when it does not follow it.
        def get_redirect_target(self, resp: requests.Response) -> None:
            return None

    headers = {"Content-Type": "application/timestamp-query", "Accept-Encoding": "identity"}
    latest = time.monotonic() + _DEADLINE
    try:
        with (
            Direct() as session,
            session.post(
                url, data=body, headers=headers, timeout=_TIMEOUT, stream=True
            ) as response,
        ):
            if response.status_code not in (200, 201):
                raise Unavailable(
                    f"the time stamp authority {url} answered HTTP {response.status_code}"
                )
            return _bounded(response, latest, url)
    except (requests.RequestException, OSError, ValueError) as error:
        raise Unavailable(
            f"the time stamp authority {url} does not answer: {type(error).__name__}",
            advice="Check its address, or sign without a time stamp.",
        ) from error


def _bounded(response: requests.Response, latest: float, url: str) -> bytes:
    data = bytearray()
    # read1 hands over what has arrived, so that the deadline is looked at between small pieces.
    while piece := response.raw.read1(4096):
        data += piece
        if len(data) > MAX_TOKEN_BYTES:
            raise VerificationError(f"{url} answered more than a time stamp")
        if time.monotonic() > latest:
            raise Unavailable(f"the time stamp authority {url} did not answer in time")
    return bytes(data)
