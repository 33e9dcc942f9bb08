"""Sign a policy bundle, and say who did, in OPA's own format.

``.signatures.json`` is ``{"signatures": [JWS]}`` with exactly one compact JSON Web Signature
(RFC 7515) over ``{"files": [{"name", "hash", "algorithm": "SHA-256"}], "keyid", "scope"}`` (OPA
documentation, "Bundles: Signature Format"). A signature of ours is accepted by
``opa run --verification-key``, and one of ``opa sign`` or ``opa build --signing-key`` here.

Stricter than OPA: the algorithm follows from the trusted key, never from the signature; there is
no shared secret and no hash but SHA-256; what the signature names and what is there must be the
same files, none twice.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from mlflow_governance.core import canonical
from mlflow_governance.errors import ConfigurationError, InvalidRequest, VerificationError
from mlflow_governance.policy.bundle import SIGNATURES
from mlflow_governance.policy.file_hash import file_hash

MAX_SIGNATURE_BYTES = 1024 * 1024

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_RSA_BITS = range(2048, 8193)
_OWN_VERIFIER = (None, "", "_default")
_SIGN = "mlflow-governance policy sign --bundle FILE --key KEY.pem --key-id NAME"
_TRUST = "Trust the signer: mlflow-governance trust add NAME --key FILE.pub --for policy"

_Public = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


@dataclass(frozen=True)
class TrustedKey:
    """A public key in PEM and whose it is; ``problem`` says why its word does not count now."""

    name: str
    pem: str = field(repr=False)
    problem: str = ""

    @cached_property
    def material(self) -> _Public:
        """The key itself.

        Raises:
            ConfigurationError: not a public key of a kind that may sign a bundle.
        """
        try:
            key = form.load_pem_public_key(self.pem.encode("utf-8", "replace"))
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigurationError(f"the key of {self.name} is not a PEM public key") from error
        if isinstance(key, _Public) and _algorithms(key):
            return key
        raise ConfigurationError(
            f"the key of {self.name} is of a kind that does not sign policies",
            advice="Use EC P-256, P-384 or P-521, Ed25519, or RSA of 2048 bits and more.",
        )


@dataclass(frozen=True)
class SigningKey:
    """With what to sign.

    Args:
        name: the key id, by which OPA and the trust policy know the key.
        pem: its public half.
        make: signs bytes: DER ECDSA with the hash of the curve, Ed25519, or RSA PKCS #1 v1.5 with
            SHA-256. The private half may stay on a token.
    """

    name: str
    pem: str = field(repr=False)
    make: Callable[[bytes], bytes] = field(repr=False)


def rsa_signing_key(name: str, key: rsa.RSAPrivateKey) -> SigningKey:
    """A key for RS256, which is what OPA signs with unless told otherwise."""
    public = key.public_key().public_bytes(
        form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    )
    return SigningKey(
        name,
        public.decode("ascii"),
        lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA256()),
    )


def sign(files: Mapping[str, bytes], key: SigningKey, scope: str = "") -> bytes:
    """``.signatures.json`` over files by path (see ``Bundle.published`` and ``bundle.read``).

    Raises:
        ConfigurationError: the key is not of a kind that signs bundles.
        VerificationError: a JSON file among them has no hash that OPA would agree with.
    """
    public = TrustedKey(key.name, key.pem).material
    claims: dict[str, Any] = {"files": _entries(files), "keyid": key.name}
    if scope:
        claims["scope"] = scope
    header = {"alg": _algorithms(public)[0], "kid": key.name, "typ": "JWT"}
    told = b".".join(_base64(canonical.encode(part)) for part in (header, claims))
    token = told + b"." + _base64(_as_jws(public, key.make(told)))
    return canonical.encode({"signatures": [token.decode("ascii")]})


def verify(
    files: Mapping[str, bytes], keys: Sequence[TrustedKey], now: datetime, scope: str = ""
) -> str:
    """The name of the trusted key that signed exactly these files.

    Args:
        files: every file of the bundle by path, ``.signatures.json`` among them.
        keys: whose signature counts.
        now: the instant that ``exp`` and ``nbf`` (RFC 7519), where there are any, are held to.
        scope: what the signature must say it is for; empty: it must say nothing.

    Raises:
        VerificationError: not signed, by nobody who is trusted, or not over these files.
        ConfigurationError: a trusted key is not usable.
    """
    token = _token(files)
    try:
        header = canonical.decode_object(_plain(token.split(".")[0]))
        signer, payload = _who(token, header.get("kid"), keys)
        claims = canonical.decode_object(payload)
    except InvalidRequest as error:
        raise _refused(f"it cannot be read: {error.message}") from error
    if signer.problem:
        raise VerificationError(signer.problem, advice=_TRUST)
    _refuse_claims(claims, now, scope)
    _refuse_other_files(claims.get("files"), files)
    return signer.name


def _token(files: Mapping[str, bytes]) -> str:
    data = files.get(SIGNATURES)
    if data is None:
        raise VerificationError("the policy bundle is not signed", advice=f"Sign it: {_SIGN}")
    try:
        document = canonical.decode_object(data, max_bytes=MAX_SIGNATURE_BYTES)
    except InvalidRequest as error:
        raise _refused(f"{SIGNATURES} cannot be read: {error.message}") from error
    if document.get("plugin") not in _OWN_VERIFIER:
        raise _refused("it asks for a verifier that is not OPA's own")
    tokens = document.get("signatures")
    if not isinstance(tokens, list) or len(tokens) != 1 or not isinstance(tokens[0], str):
        raise _refused(f"{SIGNATURES} must hold exactly one signature")
    token: str = tokens[0]
    if token.count(".") != 2 or not token.isascii():
        raise _refused("it is not a compact JSON Web Signature")
    return token


def _who(token: str, key_id: object, keys: Sequence[TrustedKey]) -> tuple[TrustedKey, bytes]:
    """Whose signature it is, and what was signed.

    A key id that somebody goes by names them; ``default``, and what else OPA writes where nobody
    chose one, does not, and each key is tried. Keys that count come before those that do not.
    """
    named = [key for key in keys if key.name == key_id] or list(keys)
    for key in sorted(named, key=lambda key: bool(key.problem)):
        payload = _signed(token, key.material)
        if payload is not None:
            return key, payload
    raise VerificationError(
        "the policy bundle is signed by nobody who is trusted for policy"
        f" (its key id is {str(key_id)[:80]!r})",
        advice=_TRUST,
    )


def _signed(token: str, key: _Public) -> bytes | None:
    """What this key signed, or None."""
    import jwt

    try:
        payload = jwt.PyJWS().decode(token, key, algorithms=_algorithms(key))
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return None
    return payload if isinstance(payload, bytes) else None


def _algorithms(key: _Public) -> Sequence[str]:
    """The algorithms of RFC 7518 and 8037 that a key verifies with; the first is the one to use."""
    if isinstance(key, rsa.RSAPublicKey):
        return _RSA if key.key_size in _RSA_BITS else ()
    if isinstance(key, ed25519.Ed25519PublicKey):
        return ("EdDSA",)
    return (_CURVES[key.curve.name],) if key.curve.name in _CURVES else ()


def _refuse_claims(claims: Mapping[str, Any], now: datetime, scope: str) -> None:
    if claims.get("scope", "") != scope:
        raise _refused(f"it is for {str(claims.get('scope', ''))[:80]!r}, not for {scope!r}")
    for claim, over in (("exp", 1), ("nbf", -1)):
        at = claims.get(claim)
        if at is None:
            continue
        if not isinstance(at, int | float) or (now.timestamp() - at) * over >= 0:
            raise _refused(f"it does not count now: {claim} is {str(at)[:80]}")


def _refuse_other_files(entries: object, files: Mapping[str, bytes]) -> None:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _refused("it names no files")
    signed = [(entry.get("name"), entry.get("hash"), entry.get("algorithm")) for entry in entries]
    expected = {entry["name"]: entry["hash"] for entry in _entries(files)}
    names = [name for name, _, _ in signed]
    for name, claimed, algorithm in signed:
        if not isinstance(name, str) or names.count(name) != 1:
            raise _refused(f"it names {str(name)[:100]!r} twice, or not as a text")
        if algorithm != "SHA-256":
            raise _refused(f"{name[:100]} is hashed by {str(algorithm)[:20]!r}, not SHA-256")
        if name not in expected:
            raise _refused(f"{name[:100]} was signed and is not in the bundle")
        if not isinstance(claimed, str) or claimed.lower() != expected[name]:
            raise _refused(f"{name[:100]} is not what was signed")
    if unsigned := sorted(expected.keys() - set(names)):
        raise _refused(f"{unsigned[0][:100]} is in the bundle and was not signed")


def _entries(files: Mapping[str, bytes]) -> list[dict[str, str]]:
    return [
        {"name": name, "hash": _hash(name, data), "algorithm": "SHA-256"}
        for name, data in sorted(files.items())
        if name != SIGNATURES
    ]


def _hash(name: str, data: bytes) -> str:
    try:
        return file_hash(name, data)
    except InvalidRequest as error:
        raise _refused(f"{name[:100]} has no hash: {error.message}") from error


def _as_jws(public: _Public, signature: bytes) -> bytes:
    """RFC 7518, 3.4: the two numbers of ECDSA side by side, each as long as the curve's."""
    if not isinstance(public, ec.EllipticCurvePublicKey):
        return signature
    length = (public.curve.key_size + 7) // 8
    return b"".join(part.to_bytes(length, "big") for part in decode_dss_signature(signature))


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _plain(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise InvalidRequest("not base64url") from error


def _refused(message: str) -> VerificationError:
    return VerificationError(
        f"the signature of the policy bundle is refused: {message}", advice=f"Sign it: {_SIGN}"
    )
