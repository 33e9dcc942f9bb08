"""With what a producer signs: a key, a key with certificates, or an identity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mlflow_governance.core.manifest import Manifest
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.evidence import bundle, envelope
from mlflow_governance.evidence.bundle import NOTHING, Proofs
from mlflow_governance.evidence.keys import PrivateKey, open_key
from mlflow_governance.evidence.signature import sign_model, signature_payload
from mlflow_governance.submission.keyless import KeylessKey

_MAX_CHAIN_BYTES = 1024 * 1024


class Seal(Protocol):
    """Signs what a producer says."""

    def model(self, manifest: Manifest, name: str) -> bytes:
        """``model.sig``: OpenSSF Model Signing over these files."""

    def statement(self, payload: bytes) -> bytes:
        """An attestation: an envelope or a bundle around this in-toto Statement."""


@dataclass(frozen=True)
class KeySeal:
    """Signs with a key, from a file or a reference."""

    key: PrivateKey
    proofs: Proofs = NOTHING

    def model(self, manifest: Manifest, name: str) -> bytes:
        """See :class:`Seal`."""
        return sign_model(manifest, name, self.key, self.proofs)

    def statement(self, payload: bytes) -> bytes:
        """See :class:`Seal`. A bundle only where there is more to carry than the signature."""
        if self.proofs == NOTHING:
            return envelope.sign(payload, envelope.IN_TOTO, [self.key])
        return bundle.seal(payload, self.key, bundle.cosign_hint(self.key.public), self.proofs)


@dataclass(frozen=True)
class IdentitySeal:
    """Signs keyless, through Sigstore."""

    identity: KeylessKey

    def model(self, manifest: Manifest, name: str) -> bytes:
        """See :class:`Seal`."""
        return self.identity.sign_dsse(signature_payload(manifest, name))

    def statement(self, payload: bytes) -> bytes:
        """See :class:`Seal`."""
        return self.identity.sign_dsse(payload)


@dataclass(frozen=True)
class SealOptions:
    """How to sign, as a person says it.

    Args:
        key: a key file, or a reference such as ``awskms:alias/models``; None signs keyless.
        password: of an encrypted key file, or the PIN of a token.
        keyless: sign as an identity, through Sigstore.
        sigstore_config: client trust config of a private Sigstore; None is the public one.
        identity_token: file with the OpenID Connect token; None looks where CI jobs have it.
        certificate: PEM chain of the key, its own certificate first.
        timestamp_url: an RFC 3161 time stamp authority that stamps each signature.
    """

    key: str | Path | None = None
    password: bytes | None = None
    keyless: bool = False
    sigstore_config: Path | None = None
    identity_token: Path | None = None
    certificate: Path | None = None
    timestamp_url: str = ""


def open_seal(options: SealOptions) -> Seal:
    """Make ready to sign.

    Raises:
        InvalidRequest: neither or both of key and identity, or a certificate of another key.
        ConfigurationError: the key or the certificates cannot be read.
    """
    if (options.key is None) is not options.keyless:
        raise InvalidRequest(
            "say with what to sign, in one way", advice="Give --key KEY, or --keyless."
        )
    if options.key is None:
        if options.certificate or options.timestamp_url:
            raise InvalidRequest(
                "certificates and time stamps come with a keyless signature by themselves",
                advice="Leave --certificate and --timestamp-url out.",
            )
        return IdentitySeal(KeylessKey(options.sigstore_config, options.identity_token))
    key = open_key(options.key, options.password)
    chain = _chain(options.certificate, key) if options.certificate else ()
    return KeySeal(key, Proofs(chain, _stamper(options.timestamp_url)))


def _stamper(url: str) -> bundle.Stamper | None:
    if not url:
        return None
    from mlflow_governance.evidence import timestamp

    return lambda signature: timestamp.request(url, signature)


def _chain(path: Path, key: PrivateKey) -> tuple[bytes, ...]:
    from cryptography.hazmat.primitives import serialization as form

    from mlflow_governance.evidence import certificate
    from mlflow_governance.evidence.keys import PublicKey

    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}") from error
    chain = certificate.load_roots(data[:_MAX_CHAIN_BYTES])
    spki = (
        chain[0]
        .public_key()
        .public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )
    if PublicKey.from_pem(spki).key_id != key.public.key_id:
        raise InvalidRequest(
            f"the first certificate in {path} is of another key",
            advice="Put the key's own certificate first, then those that lead to the root.",
        )
    return tuple(entry.public_bytes(form.Encoding.DER) for entry in chain)
