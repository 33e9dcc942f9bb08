"""Keys and signed bundles for the tests of signing and of sources."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mlflow_governance.policy import bundle as bundles
from mlflow_governance.policy import signing
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.signing import SigningKey, TrustedKey

NOW = datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC)

Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

_CURVES: dict[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm]] = {
    "ES256": (ec.SECP256R1(), hashes.SHA256()),
    "ES384": (ec.SECP384R1(), hashes.SHA384()),
    "ES512": (ec.SECP521R1(), hashes.SHA512()),
}


def private(algorithm: str = "ES256", name: str = "security") -> Private:
    """A key made once in a run; another name is another key."""
    return _made_once(algorithm, name)


@cache
def _made_once(algorithm: str, _: str) -> Private:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm][0])
    return rsa.generate_private_key(65537, 2048)


def private_pem(key: Private) -> bytes:
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())


def public_pem(key: Private) -> str:
    public = key.public_key()
    return public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo).decode()


def signer(algorithm: str = "ES256", name: str = "security") -> SigningKey:
    """What signs, of every kind."""
    key = private(algorithm, name)
    if isinstance(key, rsa.RSAPrivateKey):
        return signing.rsa_signing_key(name, key)
    make: Callable[[bytes], bytes]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        make = key.sign
    else:
        ecdsa = ec.ECDSA(_CURVES[algorithm][1])

        def make(data: bytes) -> bytes:
            return key.sign(data, ecdsa)

    return SigningKey(name, public_pem(key), make)


def trusted(algorithm: str = "ES256", name: str = "security", problem: str = "") -> TrustedKey:
    return TrustedKey(name, public_pem(private(algorithm, name)), problem)


def signed_files(
    bundle: Bundle, key: SigningKey | None = None, scope: str = ""
) -> dict[str, bytes]:
    """The published files of a bundle with their signature."""
    files = bundle.published()
    return {**files, bundles.SIGNATURES: signing.sign(files, key or signer(), scope)}


def signed_archive(bundle: Bundle, key: SigningKey | None = None, scope: str = "") -> bytes:
    return bundle.archive(signing.sign(bundle.published(), key or signer(), scope))
