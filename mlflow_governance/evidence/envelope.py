"""DSSE envelopes (Dead Simple Signing Envelope, protocol and envelope v1.0).

What is signed is :func:`pae`, never the JSON around it. Unknown fields are ignored, as the
envelope specification demands; they are unsigned and nothing here looks at them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mlflow_governance.core import canonical
from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence.interface import MAX_ITEM_BYTES
from mlflow_governance.evidence.keys import PrivateKey, PublicKey

IN_TOTO = "application/vnd.in-toto+json"

MAX_SIGNATURES = 16
"""Bounds the verifications one envelope can cost: this many times the keys that are trusted."""

_MAX_TEXT = 1024


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature and the hint, which nobody signed, about the key that made it."""

    value: bytes
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class Material:
    """What a Sigstore bundle brings along to have its signature verified.

    None of it is a reason to trust anything: whoever wrote the bundle chose it.
    """

    chain: tuple[bytes, ...] = ()
    """Certificates in DER, the signer's first (``x509CertificateChain``)."""
    stamps: tuple[bytes, ...] = ()
    """RFC 3161 time stamp responses in DER, over the signature."""
    bundle: bytes = b""
    """The whole bundle, where it was signed with a certificate of Sigstore."""


class Signed(Protocol):
    """Something signed: an envelope, or plain bytes with a signature beside them."""

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """At least one."""

    @property
    def message(self) -> bytes:
        """The bytes each signature is over."""

    @property
    def plain(self) -> bytes | None:
        """The same for plain bytes; None for an envelope."""

    @property
    def material(self) -> Material:
        """What came along."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload, its media type, and who says to have signed it."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]
    material: Material = Material()

    @property
    def message(self) -> bytes:
        """What is signed: the pre-authentication encoding."""
        return pae(self.payload_type, self.payload)

    @property
    def plain(self) -> None:
        """Nothing: the payload is enclosed."""


@dataclass(frozen=True, slots=True)
class SignedBytes:
    """Bytes, and a signature made over them as they are (``cosign sign-blob``)."""

    message: bytes
    signatures: tuple[Signature, ...]
    material: Material = Material()

    @property
    def plain(self) -> bytes:
        """The bytes."""
        return self.message


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding, the bytes that are signed (protocol v1.0)."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, payload_type: str, keys: Sequence[PrivateKey]) -> bytes:
    """The envelope as JSON, with one signature by each key."""
    if not keys:
        raise ValueError("an envelope needs at least one key")
    message = pae(payload_type, payload)
    signatures = [
        {"keyid": key.public.key_id, "sig": base64.b64encode(key.sign(message)).decode("ascii")}
        for key in keys
    ]
    return canonical.encode(
        {
            "payload": base64.b64encode(payload).decode("ascii"),
            "payloadType": payload_type,
            "signatures": signatures,
        }
    )


def parse(data: bytes) -> Envelope:
    """Read an envelope from outside.

    Raises:
        VerificationError: not an envelope, or beyond the bounds.
    """
    try:
        return from_document(canonical.decode_object(data, max_bytes=MAX_ITEM_BYTES))
    except InvalidRequest as error:
        raise VerificationError(f"not a DSSE envelope: {error.message}") from error


def from_document(document: Mapping[str, Any]) -> Envelope:
    """The envelope in parsed JSON.

    Raises:
        VerificationError: not an envelope, or beyond the bounds.
    """
    signatures = document.get("signatures")
    if not isinstance(signatures, list) or not 1 <= len(signatures) <= MAX_SIGNATURES:
        raise VerificationError(f"not a DSSE envelope: 1 to {MAX_SIGNATURES} signatures are read")
    return Envelope(
        _text(document.get("payloadType"), "payloadType"),
        decode_base64(document.get("payload"), "payload"),
        tuple(_signature(entry) for entry in signatures),
    )


def verify(signed: Signed, keys: Iterable[PublicKey], threshold: int = 1) -> tuple[PublicKey, ...]:
    """The distinct keys, of those given, that signed it.

    A key counts once, however many signatures it made. The key id in a signature only decides
    which key is tried first.

    Raises:
        VerificationError: fewer than ``threshold`` of the keys signed.
    """
    if threshold < 1:
        raise ValueError("a threshold below one verifies nothing")
    message = signed.message
    open_keys = {key.key_id: key for key in keys}
    found: list[PublicKey] = []
    for signature in signed.signatures:
        ordered = sorted(open_keys.values(), key=lambda key: key.key_id != signature.key_id)
        signer = next((key for key in ordered if _made(key, signature, message)), None)
        if signer is not None:
            found.append(open_keys.pop(signer.key_id))
    if len(found) < threshold:
        raise VerificationError(f"{len(found)} of the keys that may sign did; {threshold} must")
    return tuple(found)


def decode_base64(text: object, what: str) -> bytes:
    """Canonical base64, standard or URL-safe alphabet (RFC 4648, sections 4 and 5).

    Raises:
        VerificationError: anything else.
    """
    if not isinstance(text, str) or not text.isascii():
        raise VerificationError(f"{what} is not base64")
    data = text.encode("ascii")
    alphabet = b"-_" if b"-" in data or b"_" in data else b"+/"
    try:
        value = base64.b64decode(data, alphabet, validate=True)
    except binascii.Error as error:
        raise VerificationError(f"{what} is not base64") from error
    # One value has one spelling: this refuses mixed alphabets and stray bits before the padding.
    if base64.b64encode(value, alphabet) != data:
        raise VerificationError(f"{what} is not canonical base64")
    return value


def _made(key: PublicKey, signature: Signature, message: bytes) -> bool:
    try:
        key.verify(signature.value, message)
    except VerificationError:
        return False
    return True


def _signature(entry: object) -> Signature:
    if not isinstance(entry, dict):
        raise VerificationError("not a DSSE envelope: a signature is not an object")
    value = decode_base64(entry.get("sig"), "sig")
    if not value or len(value) > _MAX_TEXT:
        raise VerificationError("not a DSSE envelope: a signature is empty or too long")
    return Signature(value, _text(entry.get("keyid") or "", "keyid"))


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise VerificationError(f"not a DSSE envelope: {what} is not a short text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise VerificationError(f"not a DSSE envelope: {what} is not Unicode text") from error
    return value
