"""Keyless signatures: Sigstore bundles signed by a person or a workload instead of a key.

A certificate authority (Fulcio) vouches for ten minutes that a key belongs to an identity, a
transparency log (Rekor) holds the signature, a time stamp authority says when it was made. All of
it is proved from the bundle and a trusted root, without the network.

Beyond what sigstore-python checks, a service counts only while the root says that it was in
service: whoever holds the key of a certificate authority or a log that was withdrawn signs
nothing that verifies here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.hazmat import asn1

from mlflow_governance.core import canonical, moment
from mlflow_governance.errors import (
    ConfigurationError,
    GovernanceError,
    InvalidRequest,
    VerificationError,
)
from mlflow_governance.evidence import panics
from mlflow_governance.evidence.interface import MAX_ITEM_BYTES

if TYPE_CHECKING:
    from sigstore.models import Bundle
    from sigstore.verify import Verifier
    from sigstore_models.common.v1 import TimeRange
    from sigstore_models.trustroot.v1 import TrustedRoot

_MAX_ROOT_BYTES = 1024 * 1024
_MAX_TOLD = 200
_MAX_COMMAS = 10_000
"""In a bundle, and so about as many values: it has some dozens, but its readers take their time
over each that is one too many. What is signed is base64, without a comma."""
_CLIENT_TRUST_CONFIG = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"

# Fulcio's certificate extensions: the OpenID Connect issuer, as a DER UTF8String and, deprecated,
# as bare text.
_ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_ISSUER_V1 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")

_ADVICE = "Trust it: in trust.yaml give the signer this identity, its issuer and their root."

_Result = TypeVar("_Result")
Root = Path | bytes | None


@dataclass(frozen=True, slots=True)
class KeylessProof:
    """What a keyless bundle proves.

    ``payload_type`` and ``payload`` are those of its DSSE envelope, empty for a bundle over a
    blob. The signature was made from ``not_before`` to ``not_after``, the validity of the signing
    certificate: ten minutes, as Fulcio issues them.
    """

    payload_type: str
    payload: bytes
    not_before: datetime
    not_after: datetime


def verify_keyless(bundle: bytes, identity: str, issuer: str, root: Root) -> KeylessProof:
    """Prove a bundle around a DSSE envelope.

    Args:
        bundle: a Sigstore bundle (v0.1 to v0.3) as JSON.
        identity: the e-mail address or the URI of the workload that must have signed, exactly.
        issuer: the URL of the OpenID Connect issuer that must vouch for it, exactly.
        root: a TrustedRoot or a ClientTrustConfig (Sigstore protobuf specs, JSON), or the file
            that holds it; None is the public-good instance, as the installed sigstore package
            knows it.

    Raises:
        VerificationError: the bundle proves no such thing.
        ConfigurationError: the root cannot be read.
    """

    def prove(verifier: Verifier, parsed: Bundle) -> tuple[str, bytes]:
        return verifier.verify_dsse(parsed, _Policy(identity, issuer))

    (payload_type, payload), certificate = _verified(bundle, (identity, issuer), root, prove)
    return _proof(certificate, payload_type, payload)


def verify_keyless_blob(
    bundle: bytes, sha256: bytes, identity: str, issuer: str, root: Root
) -> KeylessProof:
    """Prove a bundle over the blob whose SHA-256 is ``sha256`` (32 bytes).

    Arguments and errors are those of :func:`verify_keyless`.
    """

    def prove(verifier: Verifier, parsed: Bundle) -> None:
        from sigstore.hashes import Hashed
        from sigstore_models.common.v1 import HashAlgorithm

        hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=sha256)
        verifier.verify_artifact(hashed, parsed, _Policy(identity, issuer))

    if len(sha256) != 32:
        raise ValueError("a SHA-256 digest has 32 bytes")
    _, certificate = _verified(bundle, (identity, issuer), root, prove)
    return _proof(certificate, "", b"")


def _proof(certificate: x509.Certificate, payload_type: str, payload: bytes) -> KeylessProof:
    return KeylessProof(
        payload_type, payload, certificate.not_valid_before_utc, certificate.not_valid_after_utc
    )


def _verified(
    data: bytes,
    wanted: tuple[str, str],
    root: Root,
    prove: Callable[[Verifier, Bundle], _Result],
) -> tuple[_Result, x509.Certificate]:
    if not all(wanted):
        raise VerificationError("a keyless signature needs an identity and an issuer to compare")
    parsed = _parse(data)
    certificate = parsed.signing_certificate
    verifier = _verifier(_read_root(root), certificate.not_valid_after_utc)
    try:
        with panics.contained():
            return prove(verifier, parsed), certificate
    except GovernanceError:
        raise
    except Exception as error:  # sigstore and what is below it raise many kinds
        raise VerificationError(_explain(error), advice=_ADVICE) from error


def _parse(data: bytes) -> Bundle:
    from sigstore.models import Bundle

    if data.count(b",") > _MAX_COMMAS:
        raise VerificationError("not a Sigstore bundle: it holds too many values")
    try:
        canonical.decode_object(data, max_bytes=MAX_ITEM_BYTES)
        with panics.contained():
            return Bundle.from_json(data)
    except InvalidRequest as error:
        raise VerificationError(f"not a Sigstore bundle: {error.message}") from error
    except Exception as error:  # pydantic, base64, X.509 and ASN.1, each with errors of its own
        raise VerificationError(f"not a keyless Sigstore bundle: {_told(error)}") from error


class _Policy:
    """The identity and the issuer that a certificate must name; asked by sigstore."""

    def __init__(self, identity: str, issuer: str) -> None:
        self._identity = identity
        self._issuer = issuer

    def verify(self, cert: x509.Certificate) -> None:
        """Refuse a certificate of anybody else."""
        names = _names(cert)
        if self._identity not in names:
            raise VerificationError(
                f"signed by {_told(', '.join(names) or 'nobody')}, not by {self._identity}",
                advice=_ADVICE,
            )
        if (issuer := _issuer(cert)) != self._issuer:
            raise VerificationError(
                f"{_told(issuer or 'no issuer')} vouches for {self._identity}, not {self._issuer}",
                advice=_ADVICE,
            )


def _names(cert: x509.Certificate) -> list[str]:
    """The e-mail addresses and URIs a certificate was issued to."""
    found = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [
        *found.get_values_for_type(x509.RFC822Name),
        *found.get_values_for_type(x509.UniformResourceIdentifier),
    ]


def _issuer(cert: x509.Certificate) -> str:
    values = {one.oid: one.value for one in cert.extensions}
    newer, older = values.get(_ISSUER_V2), values.get(_ISSUER_V1)
    if isinstance(newer, x509.UnrecognizedExtension):
        return asn1.decode_der(str, newer.value)
    return older.value.decode("utf-8") if isinstance(older, x509.UnrecognizedExtension) else ""


def _read_root(path: Root) -> bytes:
    if isinstance(path, bytes):
        return path
    if path is None:
        return _public_good()
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_ROOT_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"the Sigstore root {path} cannot be read: {error.strerror}",
            advice="Correct its path in trust.yaml.",
        ) from error
    if len(data) > _MAX_ROOT_BYTES:
        raise ConfigurationError(f"the Sigstore root {path} is over {_MAX_ROOT_BYTES} bytes")
    return data


@cache
def _public_good() -> bytes:
    # Read from the package itself: sigstore's own way goes through a cache folder that others
    # could write, or through the network.
    from sigstore._internal.tuf import DEFAULT_TUF_URL
    from sigstore._utils import read_embedded

    return read_embedded("trusted_root.json", DEFAULT_TUF_URL)


def _verifier(root: bytes, expiry: datetime) -> Verifier:
    """A verifier that knows the services in service when the signing certificate expired.

    That is at or after each moment at which the certificate's key may have signed, so a service
    withdrawn before then does not count.
    """
    known = _trusted_root(root)

    def serving(spans: list[TimeRange | None]) -> tuple[int, ...]:
        return tuple(
            index
            for index, span in enumerate(spans)
            if span is None or (span.start <= expiry and (span.end is None or expiry <= span.end))
        )

    chosen = {
        "certificate authority": serving([one.valid_for for one in known.certificate_authorities]),
        "CT log": serving([one.public_key.valid_for for one in known.ctlogs]),
        "transparency log": serving([one.public_key.valid_for for one in known.tlogs]),
    }
    for service, found in chosen.items():
        if not found:
            raise VerificationError(
                f"the root has no {service} that was in service at {moment.to_text(expiry)}",
                advice=_ADVICE,
            )
    return _verifier_of(root, tuple(chosen.values()))


@lru_cache(maxsize=16)
def _verifier_of(root: bytes, chosen: tuple[tuple[int, ...], ...]) -> Verifier:
    from sigstore.models import TrustedRoot
    from sigstore.verify import Verifier

    known = _trusted_root(root)
    authorities, ctlogs, tlogs = chosen
    kept = known.model_copy(
        update={
            "certificate_authorities": [known.certificate_authorities[i] for i in authorities],
            "ctlogs": [known.ctlogs[i] for i in ctlogs],
            "tlogs": [known.tlogs[i] for i in tlogs],
        }
    )
    try:
        with panics.contained():
            return Verifier(trusted_root=TrustedRoot(kept))
    except Exception as error:
        raise _malformed(error) from error


@lru_cache(maxsize=8)
def _trusted_root(data: bytes) -> TrustedRoot:
    from sigstore_models.trustroot.v1 import TrustedRoot

    try:
        document = canonical.decode_object(data, max_bytes=_MAX_ROOT_BYTES)
        if document.get("mediaType") == _CLIENT_TRUST_CONFIG:
            document = document["trustedRoot"]
        return TrustedRoot.from_json(canonical.encode(document))
    except Exception as error:  # pydantic, base64 and whatever the file's author thought of
        raise _malformed(error) from error


def _malformed(error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"the Sigstore root is malformed: {_told(error)}",
        advice="Use a trusted_root.json or a client trust config of the Sigstore instance.",
    )


def _explain(error: Exception) -> str:
    """Which link of the proof is broken, in words that lead to the mend."""
    from sigstore.errors import CertValidationError

    text = str(error)
    if isinstance(error, CertValidationError):
        if "not valid at validation time" in text:
            return "the signature was made when its certificate was not valid: it had expired"
        return "the signing certificate is of another root"
    reasons = {
        "sources of verified time": "no time stamp by an authority of this root is over the "
        "signature: stripped, or of another root",
        "expired at time of signing": "the certificate had expired when the signature was made",
        "SCT": "no CT log of this root knows the signing certificate",
        "log entry": "the signature is not in a transparency log of this root",
        "Certificate does not contain a signed certificate timestamp": "no CT log of this root "
        "knows the signing certificate",
        "nvalid signature": "the signature is not over this payload",
        "ignature is invalid": "the signature is not over this file",
        "digest mismatch": "the signature is over another file",
    }
    for word, reason in reasons.items():
        if word in text:
            return reason
    return f"the keyless signature does not verify: {_told(error)}"


def _told(what: object) -> str:
    text = str(what) or type(what).__name__
    return " ".join(text.split())[:_MAX_TOLD]
