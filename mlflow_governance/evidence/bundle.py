"""Sigstore bundles v0.3, around a DSSE envelope or beside plain bytes, and cosign's older forms.

A bundle says itself how its signature could be verified: by a key, a chain of certificates, or a
certificate of Sigstore with its log entry. What it says is kept as material; who is believed is
for the trust policy. Entries of a transparency log beside a key are not looked at: the key is
trusted, or nothing is.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlflow_governance.core import canonical, digest
from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence import envelope
from mlflow_governance.evidence.envelope import Envelope, Material, Signature, SignedBytes
from mlflow_governance.evidence.interface import MAX_ITEM_BYTES
from mlflow_governance.evidence.keys import PrivateKey, PublicKey

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_MEDIA_TYPES = (MEDIA_TYPE, "application/vnd.dev.sigstore.bundle+json;version=0.3")
"""What is read: version 0.3 had the other name for a while."""

_MAX_CERTIFICATES = 10
_MAX_STAMPS = 4
_MAX_PIECE = 64 * 1024
_MAX_SIGNATURE = 4096
_DIGESTS = {"SHA2_256": "sha256", "SHA2_384": "sha384", "SHA2_512": "sha512"}


Stamper = Callable[[bytes], bytes]
"""Has a signature stamped with the time: gives the RFC 3161 response, DER."""


@dataclass(frozen=True)
class Proofs:
    """What goes into a bundle beside the signature of a key."""

    chain: tuple[bytes, ...] = ()
    """Certificates of the key in DER, its own first; empty names the key instead."""
    stamper: Stamper | None = None


NOTHING = Proofs()


def seal(payload: bytes, key: PrivateKey, hint: str, proofs: Proofs) -> bytes:
    """A bundle around an in-toto Statement, signed, and stamped if that is wanted.

    Args:
        payload: the statement.
        key: who signs.
        hint: how the key is named, see :func:`cosign_hint`.
        proofs: what goes beside the signature.
    """
    enclosed = envelope.sign(payload, envelope.IN_TOTO, [key])
    signature = envelope.parse(enclosed).signatures[0].value
    stamp = proofs.stamper(signature) if proofs.stamper else b""
    return wrap(enclosed, hint, stamp, proofs.chain)


def wrap(enclosed: bytes, hint: str, stamp: bytes = b"", chain: tuple[bytes, ...] = ()) -> bytes:
    """A bundle around the envelope ``enclosed`` (JSON as :func:`envelope.sign` returns it).

    Args:
        enclosed: the envelope.
        hint: how the key is named, see :func:`cosign_hint`.
        stamp: a time stamp over its one signature, if there is one.
        chain: the key's certificates in DER, its own first, which then stand in its place.
    """
    material: dict[str, Any] = {"publicKey": {"hint": hint}, "tlogEntries": []}
    if chain:
        listed = [{"rawBytes": base64.b64encode(der).decode("ascii")} for der in chain]
        material = {"x509CertificateChain": {"certificates": listed}, "tlogEntries": []}
    if stamp:
        signed = {"signedTimestamp": base64.b64encode(stamp).decode("ascii")}
        material["timestampVerificationData"] = {"rfc3161Timestamps": [signed]}
    return canonical.encode(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": material,
            "dsseEnvelope": _sigstore_form(canonical.decode_object(enclosed)),
        }
    )


def cosign_hint(key: PublicKey) -> str:
    """How cosign names a key: the base64 SHA-256 of its DER form. Never a reason to trust it."""
    return base64.b64encode(bytes.fromhex(digest.hex_of(digest.parse(key.key_id)))).decode("ascii")


def is_bundle(data: bytes) -> bool:
    """True when these bytes look like a bundle around an envelope rather than a bare envelope."""
    return b'"dsseEnvelope"' in data


def parse(data: bytes) -> Envelope:
    """The envelope in a bundle from outside.

    Raises:
        VerificationError: not a v0.3 bundle around an envelope.
    """
    document = _document(data)
    enclosed = document.get("dsseEnvelope")
    if not isinstance(enclosed, dict) or "messageSignature" in document:
        raise VerificationError("the Sigstore bundle holds no DSSE envelope")
    found = envelope.from_document(enclosed)
    if len(found.signatures) != 1:
        # The material is about one signature; the specification allows no other.
        raise VerificationError(
            f"the Sigstore bundle has {len(found.signatures)} signatures; one is allowed"
        )
    return replace(found, material=_material(document, data))


def parse_beside(data: bytes, message: bytes) -> SignedBytes:
    """What ``cosign sign-blob`` wrote about ``message``: a bundle, its old form, or a ``.sig``.

    Raises:
        VerificationError: it is none of them, or is about other bytes.
    """
    if data.lstrip()[:1] != b"{":
        return SignedBytes(message, (Signature(_text_signature(data)),))
    if b'"base64Signature"' in data:
        return SignedBytes(message, (_old_signature(data),))
    document = _document(data)
    body = document.get("messageSignature")
    if not isinstance(body, dict) or "dsseEnvelope" in document:
        raise VerificationError("the Sigstore bundle holds no signature over a file")
    _refuse_other_bytes(body.get("messageDigest"), message)
    value = _piece(body.get("signature"), "the signature")
    return SignedBytes(message, (Signature(value),), _material(document, data))


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = canonical.decode_object(data, max_bytes=MAX_ITEM_BYTES)
    except InvalidRequest as error:
        raise VerificationError(f"not a Sigstore bundle: {error.message}") from error
    if document.get("mediaType") not in _MEDIA_TYPES:
        raise VerificationError(f"not a Sigstore bundle: mediaType is not {MEDIA_TYPE}")
    return document


def _material(document: Mapping[str, Any], data: bytes) -> Material:
    said = document.get("verificationMaterial")
    kinds = ("publicKey", "x509CertificateChain", "certificate")
    named = [kind for kind in kinds if isinstance(said, dict) and said.get(kind) is not None]
    if not isinstance(said, dict) or len(named) != 1:
        raise VerificationError("the Sigstore bundle does not say how it was signed")
    stamps = _stamps(said.get("timestampVerificationData"))
    if named == ["publicKey"]:
        return Material(stamps=stamps)
    if named == ["certificate"]:
        return Material(stamps=stamps, bundle=data)
    return Material(chain=_chain(said["x509CertificateChain"]), stamps=stamps)


def _chain(value: object) -> tuple[bytes, ...]:
    listed = value.get("certificates") if isinstance(value, dict) else None
    if not isinstance(listed, list) or not 1 <= len(listed) <= _MAX_CERTIFICATES:
        raise VerificationError(f"the chain has 1 to {_MAX_CERTIFICATES} certificates")
    return tuple(_field(entry, "rawBytes", "a certificate") for entry in listed)


def _stamps(value: object) -> tuple[bytes, ...]:
    if value is None:
        return ()
    listed = value.get("rfc3161Timestamps", []) if isinstance(value, dict) else None
    if not isinstance(listed, list) or len(listed) > _MAX_STAMPS:
        raise VerificationError(f"the Sigstore bundle has more than {_MAX_STAMPS} time stamps")
    return tuple(_field(entry, "signedTimestamp", "a time stamp") for entry in listed)


def _field(entry: object, name: str, what: str) -> bytes:
    return _piece(entry.get(name) if isinstance(entry, dict) else None, what)


def _piece(value: object, what: str) -> bytes:
    data = envelope.decode_base64(value, what)
    if not 0 < len(data) <= _MAX_PIECE:
        raise VerificationError(f"{what} in the Sigstore bundle is empty or too large")
    return data


def _refuse_other_bytes(said: object, message: bytes) -> None:
    algorithm = _DIGESTS.get(str(said.get("algorithm"))) if isinstance(said, dict) else None
    if not isinstance(said, dict) or algorithm is None:
        raise VerificationError("the Sigstore bundle has no SHA-2 digest of what was signed")
    value = envelope.decode_base64(said.get("digest"), "the digest")
    if hashlib.new(algorithm, message).digest() != value:
        raise VerificationError("the Sigstore bundle is about other bytes")


def _old_signature(data: bytes) -> Signature:
    try:
        document = canonical.decode_object(data, max_bytes=MAX_ITEM_BYTES)
    except InvalidRequest as error:
        raise VerificationError(f"not a bundle of cosign: {error.message}") from error
    # "cert" may hold a key or a certificate and "rekorBundle" a log entry: who is trusted is
    # said elsewhere, and this form carries no proof of an identity that could be checked offline.
    return Signature(_piece(document.get("base64Signature"), "the signature"))


def _text_signature(data: bytes) -> bytes:
    if len(data) > _MAX_SIGNATURE:
        raise VerificationError("the signature file is too large")
    try:
        text = data.decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise VerificationError("the signature file is not base64") from error
    return _piece(text, "the signature")


def _sigstore_form(enclosed: dict[str, Any]) -> dict[str, Any]:
    # The bundle's own hint names the key; Sigstore's readers want the one inside empty.
    signatures = [{"sig": entry["sig"], "keyid": ""} for entry in enclosed["signatures"]]
    return {**enclosed, "signatures": signatures}
