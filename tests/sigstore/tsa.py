"""A time stamp authority (RFC 3161) with a clock that a test may set."""

from __future__ import annotations

import hashlib
import itertools
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.sigstore import certificates, der
from tests.sigstore.certificates import TIME_STAMPING, Holder, Wish
from tests.sigstore.der import OCTETS, SEQUENCE, SET, tlv

_SHA256 = tlv(SEQUENCE, der.oid("2.16.840.1.101.3.4.2.1"))
_ECDSA_SHA256 = tlv(SEQUENCE, der.oid("1.2.840.10045.4.3.2"))
_TST_INFO = der.oid("1.2.840.113549.1.9.16.1.4")
_SIGNED_DATA = der.oid("1.2.840.113549.1.7.2")
_CONTENT_TYPE = der.oid("1.2.840.113549.1.9.3")
_MESSAGE_DIGEST = der.oid("1.2.840.113549.1.9.4")
_SIGNING_CERTIFICATE_V2 = der.oid("1.2.840.113549.1.9.16.2.47")
_POLICY = der.oid("1.3.6.1.4.1.57264.2")
_serials = itertools.count(1)


def authority(**changes: object) -> Holder:
    """A time stamping certificate below a root."""
    wish = Wish(**{"name": "TSA", "usages": [TIME_STAMPING], "usage_critical": True, **changes})  # type: ignore[arg-type]
    return certificates.below(certificates.root("TSA root"), wish)


class Tsa:
    """Stamps whatever it is asked to. ``ahead`` is how wrong its clock is."""

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        self.ahead = timedelta()

    def reply(self, query: bytes) -> bytes:
        """A TimeStampResp for a TimeStampReq, the certificate embedded when it asks."""
        _version, imprint, *rest = der.parts(query)
        nonce = [one for one in rest if one[0] == der.INTEGER]
        wants_certificate = b"\x01\x01\xff" in rest
        token = self.token(imprint, datetime.now(UTC) + self.ahead, nonce, wants_certificate)
        return tlv(SEQUENCE, tlv(SEQUENCE, der.integer(0)), token)

    def stamp(self, message: bytes, at: datetime, embed: bool = True) -> bytes:
        """A TimeStampResp over ``message`` as of ``at``."""
        digest = tlv(OCTETS, hashlib.sha256(message).digest())
        token = self.token(tlv(SEQUENCE, _SHA256, digest), at, [], embed)
        return tlv(SEQUENCE, tlv(SEQUENCE, der.integer(0)), token)

    def token(self, imprint: bytes, at: datetime, nonce: list[bytes], embed: bool) -> bytes:
        """The TimeStampToken: CMS SignedData (RFC 5652) over a TSTInfo."""
        info = tlv(SEQUENCE, der.integer(1), _POLICY, imprint, der.integer(next(_serials)),
                   der.generalized_time(at), *nonce)  # fmt: skip
        content = tlv(SEQUENCE, _TST_INFO, tlv(0xA0, tlv(OCTETS, info)))
        chain = [certificates.der(self.holder.certificate)] if embed else []
        signed = tlv(
            SEQUENCE,
            der.integer(3),
            tlv(SET, _SHA256),
            content,
            *([tlv(0xA0, *chain)] if chain else []),
            tlv(SET, self._signer_info(info)),
        )
        return tlv(SEQUENCE, _SIGNED_DATA, tlv(0xA0, signed))

    def _signer_info(self, info: bytes) -> bytes:
        certificate = self.holder.certificate
        fingerprint = tlv(OCTETS, certificate.fingerprint(hashes.SHA256()))
        signing = tlv(SEQUENCE, tlv(SEQUENCE, tlv(SEQUENCE, fingerprint)))
        attributes = sorted(
            [
                tlv(SEQUENCE, _CONTENT_TYPE, tlv(SET, _TST_INFO)),
                tlv(SEQUENCE, _MESSAGE_DIGEST,
                    tlv(SET, tlv(OCTETS, hashlib.sha256(info).digest()))),
                tlv(SEQUENCE, _SIGNING_CERTIFICATE_V2, tlv(SET, signing)),
            ]
        )  # fmt: skip
        signature = self.holder.key.sign(tlv(SET, *attributes), ec.ECDSA(hashes.SHA256()))
        return tlv(
            SEQUENCE,
            der.integer(1),
            tlv(SEQUENCE, _issuer(certificate), der.integer(certificate.serial_number)),
            _SHA256,
            tlv(0xA0, *attributes),
            _ECDSA_SHA256,
            tlv(OCTETS, signature),
        )


def _issuer(certificate: x509.Certificate) -> bytes:
    return certificate.issuer.public_bytes()
