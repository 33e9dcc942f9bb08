"""Sigstore bundles v0.3 around a DSSE envelope, signed with a key.

Transparency log entries and time stamps in a bundle are not looked at: the key is trusted, or
nothing is. Bundles with a certificate are refused, since no key of the trust policy signed them.
"""

from __future__ import annotations

import base64
from typing import Any

from mlflow_governance.core import canonical, digest
from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence import envelope
from mlflow_governance.evidence.envelope import Envelope
from mlflow_governance.evidence.interface import MAX_ITEM_BYTES
from mlflow_governance.evidence.keys import PublicKey

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def wrap(enclosed: bytes, hint: str) -> bytes:
    """A bundle around the envelope ``enclosed`` (JSON as :func:`envelope.sign` returns it)."""
    return canonical.encode(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
            "dsseEnvelope": _sigstore_form(canonical.decode_object(enclosed)),
        }
    )


def cosign_hint(key: PublicKey) -> str:
    """How cosign names a key: the base64 SHA-256 of its DER form. Never a reason to trust it."""
    return base64.b64encode(bytes.fromhex(digest.hex_of(digest.parse(key.key_id)))).decode("ascii")


def is_bundle(data: bytes) -> bool:
    """True when these bytes look like a bundle rather than a bare envelope."""
    return b'"dsseEnvelope"' in data


def parse(data: bytes) -> Envelope:
    """The envelope in a bundle from outside.

    Raises:
        VerificationError: not a v0.3 bundle around an envelope signed with a key.
    """
    try:
        document = canonical.decode_object(data, max_bytes=MAX_ITEM_BYTES)
    except InvalidRequest as error:
        raise VerificationError(f"not a Sigstore bundle: {error.message}") from error
    material = document.get("verificationMaterial")
    enclosed = document.get("dsseEnvelope")
    if document.get("mediaType") != MEDIA_TYPE:
        raise VerificationError(f"not a Sigstore bundle: mediaType is not {MEDIA_TYPE}")
    if not isinstance(material, dict) or "publicKey" not in material:
        raise VerificationError("the Sigstore bundle was not signed with a key")
    if not isinstance(enclosed, dict):
        raise VerificationError("the Sigstore bundle holds no DSSE envelope")
    return envelope.from_document(enclosed)


def _sigstore_form(enclosed: dict[str, Any]) -> dict[str, Any]:
    # The bundle's own hint names the key; Sigstore's readers want the one inside empty.
    signatures = [{"sig": entry["sig"], "keyid": ""} for entry in enclosed["signatures"]]
    return {**enclosed, "signatures": signatures}
