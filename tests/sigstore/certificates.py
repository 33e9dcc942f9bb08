"""Keys and certificates made for one test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
CODE_SIGNING = ExtendedKeyUsageOID.CODE_SIGNING
TIME_STAMPING = ExtendedKeyUsageOID.TIME_STAMPING
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Wish:
    """What a certificate shall say; the defaults are those of a sound one."""

    name: str = ""
    organisation: str = "Example"
    ca: bool = False
    path_length: int | None = None
    usages: Sequence[x509.ObjectIdentifier] = ()
    usage_critical: bool = False
    digital_signature: bool = True
    sans: Sequence[x509.GeneralName] = ()
    since: datetime | None = None
    until: datetime | None = None
    basic_constraints: bool = True


@dataclass(frozen=True)
class Holder:
    """A certificate, its private key, and the chain up to the root (itself first)."""

    key: Key
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]

    @property
    def root(self) -> x509.Certificate:
        return self.chain[-1]


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def root(name: str = "Root", **changes: object) -> Holder:
    """A self-signed authority."""
    wish = Wish(**{"name": name, "ca": True, "digital_signature": False, **changes})  # type: ignore[arg-type]
    key = p256()
    subject = _name(wish)
    made = builder(wish, key.public_key(), subject, key.public_key()).sign(key, hashes.SHA256())
    return Holder(key, made, (made,))


def below(issuer: Holder, wish: Wish, key: Key | None = None) -> Holder:
    """A certificate that ``issuer`` signs."""
    held = key or p256()
    made = builder(
        wish, held.public_key(), issuer.certificate.subject, issuer.certificate.public_key()
    ).sign(issuer.key, hash_of(issuer.key))
    return Holder(held, made, (made, *issuer.chain))


def hash_of(key: Key) -> hashes.HashAlgorithm | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def builder(wish: Wish, public: object, issuer: x509.Name, issuer_key: object) -> object:
    """The unsigned certificate of a wish."""
    now = datetime.now(UTC).replace(microsecond=0)
    made = (
        x509.CertificateBuilder()
        .subject_name(_name(wish))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(wish.since or now - DAY)
        .not_valid_after(wish.until or now + 365 * DAY)
        .add_extension(
            x509.KeyUsage(
                wish.digital_signature, False, False, False, False, wish.ca, wish.ca, False, False
            ),
            True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), False)
    )
    if wish.basic_constraints:
        made = made.add_extension(x509.BasicConstraints(wish.ca, wish.path_length), True)
    if wish.usages:
        made = made.add_extension(x509.ExtendedKeyUsage(wish.usages), wish.usage_critical)
    if wish.sans:
        made = made.add_extension(x509.SubjectAlternativeName(wish.sans), not wish.name)
    return made


def _name(wish: Wish) -> x509.Name:
    if not wish.name:
        return x509.Name([])
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, wish.name)]
    if wish.organisation:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, wish.organisation))
    return x509.Name(parts)


def pem(*chain: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(form.Encoding.PEM) for one in chain)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(form.Encoding.DER)


def spki(public: object) -> bytes:
    """DER SubjectPublicKeyInfo."""
    return public.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]


def private_pem(key: Key, password: bytes | None = None) -> bytes:
    lock = form.BestAvailableEncryption(password) if password else form.NoEncryption()
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock)
