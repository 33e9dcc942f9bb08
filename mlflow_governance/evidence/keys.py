"""Key pairs: made, read and used. Private keys never leave their object, not even in a repr.

A private key is a file of its owner's, or stays where it is (a PKCS#11 token, a cloud's or
Vault's key service) and is named by a reference: :func:`open_key` takes either.

Curves and hashes follow Sigstore: P-256/SHA-256, P-384/SHA-384, P-521/SHA-512, and pure
Ed25519 (RFC 8032). A key is named by the SHA-256 of its DER SubjectPublicKeyInfo.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mlflow_governance.core import digest
from mlflow_governance.errors import ConfigurationError, VerificationError
from mlflow_governance.evidence import cosign_key

Algorithm = Literal["ecdsa-p256", "ed25519"]

MAX_KEY_BYTES = 64 * 1024

_BINARY = getattr(os, "O_BINARY", 0)  # Windows would change line ends otherwise

_CURVES: dict[str, tuple[str, type[hashes.HashAlgorithm]]] = {
    "secp256r1": ("ecdsa-p256", hashes.SHA256),
    "secp384r1": ("ecdsa-p384", hashes.SHA384),
    "secp521r1": ("ecdsa-p521", hashes.SHA512),
}

_RSA_BITS = range(2048, 8193)

_Public = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
_Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies.

    ``pem`` is normalised SubjectPublicKeyInfo, ``key_id`` is ``sha256:<hex>`` over its DER form,
    ``algorithm`` one of ``ecdsa-p256``, ``ecdsa-p384``, ``ecdsa-p521``, ``ed25519``; and ``rsa``,
    which is trusted to sign policy bundles and nothing else.
    """

    pem: str
    key_id: str
    algorithm: str
    _key: _Public = field(repr=False, compare=False)

    @classmethod
    def from_pem(cls, text: str | bytes, *, with_rsa: bool = False) -> PublicKey:
        """Read a PEM SubjectPublicKeyInfo.

        Args:
            text: the PEM.
            with_rsa: read RSA keys as well, which OPA signs bundles with by default.

        Raises:
            ConfigurationError: not a public key, or of a kind that is not supported.
        """
        data = text.encode("utf-8", "replace") if isinstance(text, str) else text
        if len(data) > MAX_KEY_BYTES:
            raise ConfigurationError(f"a public key of {len(data)} bytes is not read")
        try:
            key: object = form.load_pem_public_key(data)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigurationError(
                "not a PEM public key",
                advice="Give the .pub file, which begins with -----BEGIN PUBLIC KEY-----.",
            ) from error
        if isinstance(key, rsa.RSAPublicKey) and not with_rsa:
            key = None
        return cls._of(key)

    @classmethod
    def _of(cls, key: object) -> PublicKey:
        if not isinstance(key, _Public) or not (algorithm := _algorithm(key)):
            raise ConfigurationError(
                "the key is of a kind that is not supported",
                advice="Use EC P-256, P-384, P-521 or Ed25519.",
            )
        pem = key.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
        der = key.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
        return cls(pem.decode("ascii"), digest.of_bytes(der), algorithm, key)

    def verify(self, signature: bytes, data: bytes) -> None:
        """Check a signature over ``data``: DER ECDSA, or the 64 bytes of Ed25519.

        Raises:
            VerificationError: this key did not make that signature.
        """
        if isinstance(self._key, rsa.RSAPublicKey):
            raise VerificationError("an RSA key signs policy bundles and nothing else")
        try:
            if isinstance(self._key, ed25519.Ed25519PublicKey):
                self._key.verify(signature, data)
            else:
                self._key.verify(signature, data, _ecdsa(self._key.curve))
        except (InvalidSignature, ValueError) as error:
            raise VerificationError(
                f"the signature was not made by the key {self.key_id}"
            ) from error


class PrivateKey(Protocol):
    """A key that signs, wherever its private half is kept."""

    @property
    def public(self) -> PublicKey:
        """Its public half."""

    def sign(self, data: bytes) -> bytes:
        """The signature over ``data``: DER ECDSA, or the 64 bytes of Ed25519."""


@dataclass(frozen=True, slots=True)
class FileKey:
    """A private key read from a file."""

    public: PublicKey
    _key: _Private = field(repr=False, compare=False)

    def sign(self, data: bytes) -> bytes:
        """The signature over ``data``: DER ECDSA, or the 64 bytes of Ed25519."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(data)
        return self._key.sign(data, _ecdsa(self._key.curve))


def generate_key_pair(
    private_path: Path, *, algorithm: Algorithm = "ecdsa-p256", password: bytes | None = None
) -> None:
    """Write a new private key (PKCS#8 PEM, mode 0600) and ``<stem>.pub`` beside it.

    Raises:
        ConfigurationError: either file exists already, or cannot be written.
    """
    public_path = private_path.with_suffix(".pub")
    if public_path == private_path:
        raise ConfigurationError(f"{private_path} is the name of a public key")
    key: _Private = (
        ed25519.Ed25519PrivateKey.generate()
        if algorithm == "ed25519"
        else ec.generate_private_key(ec.SECP256R1())
    )
    protection = form.BestAvailableEncryption(password) if password else form.NoEncryption()
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, protection)
    # The public half goes first: what a crash leaves behind then is harmless.
    _write_new(public_path, PublicKey._of(key.public_key()).pem.encode("ascii"), 0o644)
    try:
        _write_new(private_path, secret, 0o600)
    except ConfigurationError:
        public_path.unlink(missing_ok=True)
        raise


def open_key(reference: str | Path, password: bytes | None = None) -> PrivateKey:
    """The private key that a text names: a file's path, or a reference such as ``hsm:2``.

    Args:
        reference: a :class:`~pathlib.Path` is always a file; of texts see
            :func:`~mlflow_governance.evidence.key_reference.is_reference`.
        password: of an encrypted file, or the PIN of a token.

    Raises:
        ConfigurationError: absent, out of reach, or not a usable key.
        Unavailable: the service that keeps the key does not answer.
    """
    from mlflow_governance.evidence import key_reference

    if isinstance(reference, str) and key_reference.is_reference(reference):
        return key_reference.load_reference(reference, pin=password)
    return load_private_key(Path(reference), password)


def load_private_key(path: Path, password: bytes | None = None) -> FileKey:
    """Read a private key that only its owner can read: PEM, or a key file made by cosign.

    Raises:
        ConfigurationError: absent, readable by others, wrong password, or not a usable key.
    """
    if _is_public(path):  # before its mode is looked at, which a public key may have
        raise ConfigurationError(
            f"{path} is a public key, and signing takes the private one",
            advice=f"Give the private key it belongs to, such as {path.with_suffix('.pem')}",
        )
    data = read_secret(path, "private key", f"Make one: mlflow-governance keys new {path}")
    try:
        if cosign_key.is_cosign(data):
            key: object = form.load_der_private_key(cosign_key.decrypt(data, password or b""), None)
        else:
            key = form.load_pem_private_key(data, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(
            f"the private key {path} cannot be read: {error}",
            advice="Give the right password, or make a key: mlflow-governance keys new PATH",
        ) from error
    if not isinstance(key, _Private):
        raise ConfigurationError(
            f"the private key {path} is neither an EC nor an Ed25519 key",
            advice="Make one: mlflow-governance keys new PATH",
        )
    return FileKey(PublicKey._of(key.public_key()), key)


def _is_public(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return b"-----BEGIN PUBLIC KEY-----" in file.read(64)
    except OSError:
        return False


def _algorithm(key: _Public) -> str:
    """The name of the algorithm, empty for a curve or a length that is not supported."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPublicKey):
        return "rsa" if key.key_size in _RSA_BITS else ""
    return _CURVES[key.curve.name][0] if key.curve.name in _CURVES else ""


def _ecdsa(curve: ec.EllipticCurve) -> ec.ECDSA:
    return ec.ECDSA(_CURVES[curve.name][1]())


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode)
    except FileExistsError as error:
        raise ConfigurationError(
            f"{path} exists already and is not overwritten", advice="Choose another name."
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_secret(path: Path, what: str, advice: str) -> bytes:
    """A small file that only its owner can read.

    Args:
        path: the file.
        what: what it holds, for messages.
        advice: what to do where there is none.

    Raises:
        ConfigurationError: absent, not a file, readable by others, or too large.
    """
    try:
        # O_NONBLOCK so that a pipe in the file's place cannot hold us up.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    except OSError as error:
        raise ConfigurationError(
            f"the {what} {path} cannot be opened: {error.strerror}", advice=advice
        ) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ConfigurationError(f"{path} is not a file")
    with os.fdopen(descriptor, "rb") as file:
        if os.name == "posix" and status.st_mode & 0o077:
            raise ConfigurationError(
                f"the {what} {path} is open to other users", advice=f"chmod 600 {path}"
            )
        data = file.read(MAX_KEY_BYTES + 1)
    if len(data) > MAX_KEY_BYTES:
        raise ConfigurationError(f"{path} is too large to hold a {what}")
    return data
