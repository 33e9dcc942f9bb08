"""A certificate transparency log: it promises (RFC 6962), and keeps no tree."""

from __future__ import annotations

import base64
import hashlib
import struct
import time
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.sigstore import der
from tests.sigstore.certificates import p256, spki

SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_POISON = der.oid("1.3.6.1.4.1.11129.2.4.3")


class CtLog:
    """Signs certificate timestamps for precertificates."""

    def __init__(self) -> None:
        self.key = p256()
        self.log_id = hashlib.sha256(spki(self.key.public_key())).digest()

    def add_pre_chain(self, request: dict[str, Any]) -> dict[str, Any]:
        """``POST /ct/v1/add-pre-chain`` (RFC 6962, section 4.2)."""
        pre, issuer, *_ = (
            x509.load_der_x509_certificate(base64.b64decode(one)) for one in request["chain"]
        )
        now = int(time.time() * 1000)
        tbs = without_poison(pre.tbs_certificate_bytes)
        entry = hashlib.sha256(spki(issuer.public_key())).digest() + _u24(tbs)
        signed = struct.pack("!BBQH", 0, 0, now, 1) + entry + struct.pack("!H", 0)
        signature = self.key.sign(signed, ec.ECDSA(hashes.SHA256()))
        return {
            "sct_version": 0,
            "id": base64.b64encode(self.log_id).decode(),
            "timestamp": now,
            "extensions": "",
            "signature": base64.b64encode(b"\x04\x03" + _u16(signature)).decode(),
        }


def sct_list(answer: dict[str, Any]) -> x509.UnrecognizedExtension:
    """The certificate extension that holds one answer of the log (RFC 6962, section 3.3)."""
    sct = (
        bytes([answer["sct_version"]])
        + base64.b64decode(answer["id"])
        + struct.pack("!QH", answer["timestamp"], 0)
        + base64.b64decode(answer["signature"])
    )
    return x509.UnrecognizedExtension(SCT_LIST, der.tlv(der.OCTETS, _u16(_u16(sct))))


def without_poison(tbs: bytes) -> bytes:
    """A precertificate's body as the final certificate will have it."""
    *fields, wrapped = der.parts(tbs)
    (extensions,) = der.parts(wrapped)
    kept = [one for one in der.parts(extensions) if _POISON not in one]
    return der.tlv(der.SEQUENCE, *fields, der.tlv(wrapped[0], der.tlv(der.SEQUENCE, *kept)))


def _u16(data: bytes) -> bytes:
    return struct.pack("!H", len(data)) + data


def _u24(data: bytes) -> bytes:
    return struct.pack("!I", len(data))[1:] + data
