"""Fulcio's certificate authority, version 2 of its interface."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec

from tests.sigstore import certificates, der
from tests.sigstore.certificates import CODE_SIGNING, Holder, Wish
from tests.sigstore.ct import CtLog, sct_list

_ISSUER_V1 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")


def authority() -> Holder:
    """An intermediate below a root: what issues signing certificates."""
    wish = Wish("Intermediate", ca=True, path_length=0, digital_signature=False,
                usages=[CODE_SIGNING])  # fmt: skip
    return certificates.below(certificates.root("Fulcio root"), wish)


class Fulcio:
    """Issues a certificate to whoever has a token and the key of the request.

    ``lifetime`` is how long certificates are valid, ``usages`` what for; ``logged=False`` leaves
    the promise of the CT log out.
    """

    def __init__(self, holder: Holder, log: CtLog) -> None:
        self.holder = holder
        self.lifetime = timedelta(minutes=10)
        self.usages = [CODE_SIGNING]
        self.logged = True
        self._log = log

    def signing_cert(self, claims: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
        """``POST /api/v2/signingCert``."""
        identity = claims.get("email") or claims["sub"]
        made = self.issue(_proved_key(request, identity), identity, claims["iss"])
        chain = [certificates.pem(one).decode() for one in (made, *self.holder.chain)]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}

    def issue(self, public: object, identity: str, issuer: str) -> x509.Certificate:
        """A certificate for a key, with the promise of the CT log."""
        now = datetime.now(UTC).replace(microsecond=0)
        wish = Wish(sans=[_san(identity)], usages=self.usages, basic_constraints=False,
                    since=now, until=now + self.lifetime)  # fmt: skip
        ours = self.holder.certificate
        plain = certificates.builder(wish, public, ours.subject, ours.public_key())
        plain = plain.add_extension(  # type: ignore[attr-defined]
            x509.UnrecognizedExtension(_ISSUER_V1, issuer.encode()), False
        ).add_extension(
            x509.UnrecognizedExtension(_ISSUER_V2, der.tlv(der.TEXT, issuer.encode())), False
        )
        if not self.logged:
            return plain.sign(self.holder.key, hashes.SHA256())
        pre = plain.add_extension(x509.PrecertPoison(), True).sign(self.holder.key, hashes.SHA256())
        chain = [base64.b64encode(certificates.der(one)).decode() for one in (pre, ours)]
        promise = sct_list(self._log.add_pre_chain({"chain": chain}))
        return plain.add_extension(promise, False).sign(self.holder.key, hashes.SHA256())


def _proved_key(request: dict[str, Any], identity: str) -> object:
    """The key asked for, which signed the request itself or, as cosign has it, the identity."""
    if csr := request.get("certificateSigningRequest"):
        asked = x509.load_pem_x509_csr(base64.b64decode(csr))
        if not asked.is_signature_valid:
            raise ValueError("the request is not signed by its key")
        return asked.public_key()
    asked = request["publicKeyRequest"]
    key = form.load_pem_public_key(asked["publicKey"]["content"].encode())
    proof = base64.b64decode(asked["proofOfPossession"])
    key.verify(proof, identity.encode(), ec.ECDSA(hashes.SHA256()))
    return key


def _san(identity: str) -> x509.GeneralName:
    if "://" in identity:
        return x509.UniformResourceIdentifier(identity)
    return x509.RFC822Name(identity)
