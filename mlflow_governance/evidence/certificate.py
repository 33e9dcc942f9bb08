"""Signatures by a certificate: from the chain in a bundle to a key that may be believed.

OpenSSF Model Signing and Sigstore bundles carry such a chain. The stock verifier of the former
checks it at the certificate's own first instant, for any purpose and any name; here the chain
(RFC 5280) must hold at a real instant, be for signing code, and be somebody's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization as form
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy

from mlflow_governance.core import moment
from mlflow_governance.errors import ConfigurationError, VerificationError
from mlflow_governance.evidence import panics
from mlflow_governance.evidence.keys import PublicKey

MAX_CHAIN = 8
"""Certificates in one chain, the root included."""
MAX_CERTIFICATE_BYTES = 64 * 1024

_MAX_ROOTS = 64
_MAX_ROOTS_BYTES = 1024 * 1024
_MAX_TOLD = 200
_NOISE = re.compile(
    r"validation failed: |candidates exhausted: |Python extension validator failed: "
    r"|ValueError: |\(encountered processing .*",
    re.DOTALL,
)
_NO_ROOT = (
    "all candidates exhausted with no interior errors",
    "signature does not match",
    "can't create an empty store",
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a certificate must have been issued to, letter by letter.

    ``name`` is an e-mail address, a URI or a DNS name among its subject alternative names. Only
    in a certificate that has none of these it is the common name, since an issuer that vouches
    for the former often takes the latter from the applicant (RFC 6125, 6.4.4).
    ``organisation``, when given, is the subject's one organisation.
    """

    name: str
    organisation: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigurationError(
                "a certificate's identity is empty, which would be anybody",
                advice="Give the e-mail address, URI or DNS name in the certificate.",
            )


def load_roots(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM file that says whom to trust.

    Raises:
        ConfigurationError: no certificates, or one that cannot be read.
    """
    if len(pem) > _MAX_ROOTS_BYTES:
        raise ConfigurationError(f"trusted roots of {len(pem)} bytes are not read")
    try:
        with panics.contained():
            roots = tuple(x509.load_pem_x509_certificates(pem))
    except Exception as error:  # ASN.1 and X.509 errors of several kinds
        raise ConfigurationError(
            "the trusted roots are not PEM certificates",
            advice="Give the file that begins with -----BEGIN CERTIFICATE-----.",
        ) from error
    if len(roots) > _MAX_ROOTS:
        raise ConfigurationError(f"{len(roots)} trusted roots; at most {_MAX_ROOTS} are read")
    return roots


def load_chain(ders: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """The certificates of a bundle, in their order, from DER.

    Raises:
        VerificationError: not 1 to ``MAX_CHAIN`` certificates.
    """
    if not 1 <= len(ders) <= MAX_CHAIN:
        raise VerificationError(f"{len(ders)} certificates; 1 to {MAX_CHAIN} make a chain")
    if any(len(der) > MAX_CERTIFICATE_BYTES for der in ders):
        raise VerificationError(f"a certificate is over {MAX_CERTIFICATE_BYTES} bytes")
    try:
        with panics.contained():
            return tuple(x509.load_der_x509_certificate(der) for der in ders)
    except Exception as error:  # ASN.1 and X.509 errors of several kinds
        raise VerificationError(f"not a certificate: {_told(error)}") from error


def verify_chain(
    chain: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    identity: Identity,
    at: datetime,
    *,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
) -> PublicKey:
    """The key of the first certificate, once everything about it is proved.

    Args:
        chain: the signing certificate first; a root in it is not trusted for being there.
        roots: whom to trust; nobody else is, and not the roots of the Web.
        identity: whom the certificate must name.
        at: the instant at which every certificate must be valid: now, or what a trusted time
            stamp proves. Never something that the certificate says.
        usage: the extended key usage it must have.

    Raises:
        VerificationError: the chain proves no such thing.
    """
    if not 1 <= len(chain) <= MAX_CHAIN:
        raise VerificationError(f"{len(chain)} certificates; 1 to {MAX_CHAIN} make a chain")
    leaf, *above = chain
    advice = "Trust its root: in trust.yaml give the signer the certificate's root and identity."
    try:
        # A self-issued certificate leads nowhere that ``roots`` does not. Names are parsed only
        # when asked for, and these are foreign.
        between = [one for one in above if one.issuer != one.subject]
        verifier = (
            verification.PolicyBuilder()
            .store(verification.Store(list(roots)))
            .time(at)
            .max_chain_depth(MAX_CHAIN)
            .extension_policies(ca_policy=_for_issuers(usage), ee_policy=_for_signers(usage))
            .build_client_verifier()
        )
        with panics.contained():
            verifier.verify(leaf, between)
            _refuse_others(leaf, identity)
            return _key(leaf)
    except VerificationError:
        raise
    except Exception as error:  # the chain is foreign: its extensions alone raise four kinds
        raise VerificationError(_explain(error, chain, at), advice=advice) from error


def _for_signers(usage: x509.ObjectIdentifier) -> ExtensionPolicy:
    def check_usage(policy: Policy, cert: x509.Certificate, value: x509.ExtendedKeyUsage) -> None:
        if usage not in value:
            raise ValueError(f"it is not for {_usage_name(usage)}")

    def check_key(policy: Policy, cert: x509.Certificate, value: x509.KeyUsage) -> None:
        if not value.digital_signature:
            raise ValueError("its key usage is not digitalSignature")
        if value.key_cert_sign:
            raise ValueError("it is of an authority: it may issue certificates")

    return (
        ExtensionPolicy.webpki_defaults_ee()
        # Makers of small authorities leave cA in their signers' certificates. Without keyCertSign
        # it says nothing (RFC 5280, 4.2.1.9), and the vectors of Model Signing have it.
        .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
        .require_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, check_usage)
        .require_present(x509.KeyUsage, Criticality.AGNOSTIC, check_key)
        .may_be_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    )


def _for_issuers(usage: x509.ObjectIdentifier) -> ExtensionPolicy:
    def check(policy: Policy, cert: x509.Certificate, value: x509.ExtendedKeyUsage | None) -> None:
        any_usage = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
        if value is not None and usage not in value and any_usage not in value:
            raise ValueError(f"its issuer may not issue for {_usage_name(usage)}")

    return ExtensionPolicy.webpki_defaults_ca().may_be_present(
        x509.ExtendedKeyUsage, Criticality.AGNOSTIC, check
    )


def _refuse_others(leaf: x509.Certificate, identity: Identity) -> None:
    names = _names(leaf)
    if identity.name not in names:
        raise VerificationError(
            f"the certificate is of {_told(', '.join(names) or 'nobody')}, not of {identity.name}",
            advice="In trust.yaml give the signer the identity its certificate has.",
        )
    found = [str(one.value) for one in _attributes(leaf, NameOID.ORGANIZATION_NAME)]
    if identity.organisation and found != [identity.organisation]:
        raise VerificationError(
            f"the certificate is of the organisation {_told(', '.join(found) or 'of nobody')}, "
            f"not of {identity.organisation}"
        )


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        sans = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = [str(one.value) for one in _attributes(leaf, NameOID.COMMON_NAME)]
        return common if len(common) == 1 else []
    return [
        *sans.get_values_for_type(x509.RFC822Name),
        *sans.get_values_for_type(x509.UniformResourceIdentifier),
        *sans.get_values_for_type(x509.DNSName),
    ]


def _attributes(
    leaf: x509.Certificate, kind: x509.ObjectIdentifier
) -> list[x509.NameAttribute[str | bytes]]:
    return list(leaf.subject.get_attributes_for_oid(kind))


def _key(leaf: x509.Certificate) -> PublicKey:
    pem = leaf.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    try:
        return PublicKey.from_pem(pem)
    except ConfigurationError as error:
        raise VerificationError(
            f"the certificate's key: {error.message}", advice=error.advice
        ) from error


def _explain(error: Exception, chain: Sequence[x509.Certificate], at: datetime) -> str:
    for one in chain:
        if not one.not_valid_before_utc <= at <= one.not_valid_after_utc:
            return (
                f"the certificate of {_told(_subject(one) or 'the signer')} is "
                f"valid from {moment.to_text(one.not_valid_before_utc)} until "
                f"{moment.to_text(one.not_valid_after_utc)}, not at {moment.to_text(at)}"
            )
    text = _NOISE.sub("", str(error)).strip()
    if text in _NO_ROOT:
        return "the certificate leads to no trusted root"
    return f"the certificate's chain does not hold: {_told(text)}"


def _subject(one: x509.Certificate) -> str:
    try:
        return one.subject.rfc4514_string()
    except ValueError:
        return ""  # a name that cannot be parsed


def _usage_name(usage: x509.ObjectIdentifier) -> str:
    return "code signing" if usage == ExtendedKeyUsageOID.CODE_SIGNING else usage.dotted_string


def _told(what: object) -> str:
    return " ".join(str(what).split())[:_MAX_TOLD]
