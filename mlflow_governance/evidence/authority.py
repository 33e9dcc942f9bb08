"""Whose word a signature is: the holder of a key, of a certificate, or of an identity.

With a key nobody but a time stamp says when something was signed; a certificate of Sigstore is
valid for minutes and so says it itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow_governance.core import canonical, digest
from mlflow_governance.errors import ConfigurationError, InvalidRequest, VerificationError
from mlflow_governance.evidence import envelope, trust_file
from mlflow_governance.evidence.envelope import Signed
from mlflow_governance.evidence.keys import PublicKey

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


@dataclass(frozen=True, slots=True)
class When:
    """When a signature was made: between two instants. ``proved`` by somebody trusted for it.

    Where nothing proves it, the signature may be as young as the question: both are ``now``.
    """

    earliest: datetime
    latest: datetime
    proved: bool = False
    issued: bool = False
    """Proved on both sides. A time stamp proves one: it can be had today for what is old."""


@dataclass(frozen=True)
class KeyHolder:
    """Who holds a private key."""

    key: PublicKey

    @property
    def id(self) -> str:
        """``sha256:<hex>`` of the key."""
        return self.key.key_id

    def to_document(self) -> dict[str, Any]:
        """The field of ``trust.yaml`` that names it, all material in it."""
        return {"key": self.key.pem}


@dataclass(frozen=True)
class CertificateHolder:
    """Who has a certificate of one of these roots in this name (OpenSSF Model Signing, x509).

    ``identity`` is an e-mail address, URI or DNS name in it, or the common name where it has none
    of these; ``organisation`` is empty where any will do. See ``certificate.Identity``.
    """

    roots: str = field(repr=False)
    """PEM, one or several certificates."""
    identity: str
    organisation: str = ""

    @cached_property
    def id(self) -> str:
        """The name and the roots it is of."""
        of = digest.of_bytes(self.roots.encode())
        return f"x509:{self.identity}:{self.organisation}#{of}"

    def prove(self, signed: Signed, when: When) -> When:
        """When it signed; ``when`` is what is known about that without asking.

        Raises:
            VerificationError: it did not sign, or its chain was not valid at the latest instant
                that is possible.
        """
        from mlflow_governance.evidence import certificate

        if not signed.material.chain:
            raise VerificationError("it was not signed with a certificate")
        chain = certificate.load_chain(signed.material.chain)
        whom = certificate.Identity(self.identity, self.organisation)
        key = certificate.verify_chain(chain, self._roots, whom, when.latest)
        envelope.verify(signed, [key])
        return when

    def to_document(self) -> dict[str, Any]:
        """The field of ``trust.yaml`` that names it, all material in it."""
        organisation = {"organisation": self.organisation} if self.organisation else {}
        return {"certificate": {"roots": self.roots, "identity": self.identity, **organisation}}

    @cached_property
    def _roots(self) -> tuple[Certificate, ...]:
        from mlflow_governance.evidence import certificate

        return certificate.load_roots(self.roots.encode())


@dataclass(frozen=True)
class IdentityHolder:
    """Who proved an identity to an issuer: keyless signing through Sigstore.

    ``root`` is a Sigstore trusted root, JSON; empty for the public good instance, whose root
    comes with the library, so that nothing is fetched.
    """

    issuer: str
    identity: str
    root: str = field(default="", repr=False)

    @cached_property
    def id(self) -> str:
        """Identity, issuer, and the root it is of."""
        of = digest.of_bytes(self.root.encode()) if self.root else "public"
        return f"oidc:{self.identity}@{self.issuer}#{of}"

    def prove(self, signed: Signed, when: When) -> When:
        """When it signed: in the few minutes its certificate is valid.

        Raises:
            VerificationError: it did not sign.
        """
        from mlflow_governance.evidence import keyless

        if not signed.material.bundle:
            raise VerificationError("it was not signed by an identity")
        root = self.root.encode("utf-8") or None
        if signed.plain is not None:
            sha256 = hashlib.sha256(signed.plain).digest()
            proof = keyless.verify_keyless_blob(
                signed.material.bundle, sha256, self.identity, self.issuer, root
            )
        else:
            proof = keyless.verify_keyless(signed.material.bundle, self.identity, self.issuer, root)
            if envelope.pae(proof.payload_type, proof.payload) != signed.message:
                raise VerificationError("the bundle can be read in two ways")
        return When(proof.not_before, proof.not_after, proved=True, issued=True)

    def to_document(self) -> dict[str, Any]:
        """The field of ``trust.yaml`` that names it, all material in it."""
        root = {"root": self.root} if self.root else {}
        return {"keyless": {"issuer": self.issuer, "identity": self.identity, **root}}


Authority = KeyHolder | CertificateHolder | IdentityHolder
"""Somebody who signs. ``id`` tells one from another: under two names one would count as two."""


def read(entry: Mapping[str, Any], base: Path) -> Authority:
    """The authority an entry of ``trust.yaml`` names; ``base`` is where relative files are.

    Raises:
        ConfigurationError: a file cannot be read, or what is in it is not what it should be.
    """
    if "key" in entry:
        return KeyHolder(PublicKey.from_pem(trust_file.material(entry["key"], base), with_rsa=True))
    if "certificate" in entry:
        return _certificate_holder(entry["certificate"], base)
    named = entry["keyless"]
    root = trust_file.material(named["root"], base) if "root" in named else b""
    if root:
        try:
            canonical.decode_object(root)
        except InvalidRequest as error:
            raise ConfigurationError(
                "the Sigstore root is not JSON",
                advice="Give the trusted_root.json of your Sigstore instance.",
            ) from error
    return IdentityHolder(named["issuer"], named["identity"], root.decode("utf-8"))


def _certificate_holder(named: Mapping[str, Any], base: Path) -> CertificateHolder:
    from mlflow_governance.evidence import certificate

    roots = trust_file.material(named["roots"], base)
    certificate.load_roots(roots)
    return CertificateHolder(
        roots.decode("ascii"), named["identity"], named.get("organisation", "")
    )
