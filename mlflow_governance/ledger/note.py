"""C2SP signed notes (c2sp.org/signed-note) with Ed25519 and ECDSA P-256 keys.

A note is text, an empty line, and signature lines ``— name base64(key id || signature)``.
Signatures of unknown keys (witnesses) are passed over; one of the known key must verify.

Ed25519 is type 0x01. ECDSA, which is what most devices hold, is type 0x02 as Rekor and
transparency-dev use it: DER over the SHA-256 of the text, and a key id that is of the key alone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from mlflow_governance.errors import ConfigurationError, LedgerError

MAX_BYTES = 1024 * 1024
"""No note is read beyond this: room for 16 signatures of 5 kB, and for many more."""

_ED25519 = b"\x01"
_ECDSA = b"\x02"
_RAW_BYTES = 32
_P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
"""How the DER of each uncompressed P-256 key begins (RFC 5480); 64 bytes follow."""
_ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")
"""The same of each Ed25519 key (RFC 8410); 32 bytes follow."""
_P256_BYTES = len(_P256) + 64
_DASH = "\N{EM DASH} "


class LedgerKey(Protocol):
    """What opens the notes of a ledger: one key, or the keys it had one after the other."""

    @property
    def name(self) -> str:
        """The name the ledger signs under, which is its origin."""

    def open(self, note: str | bytes) -> str:
        """The text of a note that is signed as it must be.

        Raises:
            LedgerError: it is not.
        """

    def following(self, notes: Iterable[str]) -> LedgerKey:
        """What opens the notes of the ledger once these have told which keys followed.

        Raises:
            LedgerError: they contradict what is known, or each other.
        """


@dataclass(frozen=True)
class NoteKey:
    """A public key that signs notes under a name.

    ``public`` is 32 bytes (Ed25519, RFC 8032), or the 91 bytes of DER SubjectPublicKeyInfo with an
    uncompressed point (ECDSA P-256). There is one spelling of each key.

    Raises:
        ConfigurationError: the name has a space or plus, or the key is of neither kind.
    """

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not self.name or "+" in self.name or any(c.isspace() or ord(c) < 32 for c in self.name):
            raise ConfigurationError(
                f"{self.name[:80]!r} cannot name a ledger key",
                advice="Name it like registry.example.org/ledger: no spaces and no plus.",
            )
        if len(self.public) == _RAW_BYTES:
            return
        if len(self.public) != _P256_BYTES or not self.public.startswith(_P256):
            raise ConfigurationError("an Ed25519 key has 32 bytes, an ECDSA P-256 key 91 of DER")
        _ = self._key  # a point that is not on the curve is no key

    @cached_property
    def key_id(self) -> bytes:
        """The four bytes that stand before each signature."""
        if self._is_ecdsa:
            return hashlib.sha256(self.public).digest()[:4]
        material = self.name.encode() + b"\n" + _ED25519 + self.public
        return hashlib.sha256(material).digest()[:4]

    @property
    def algorithm(self) -> str:
        """``ed25519`` or ``ecdsa-p256``."""
        return "ecdsa-p256" if self._is_ecdsa else "ed25519"

    def verify(self, text: bytes, signature: bytes) -> bool:
        """True when this key signed these bytes."""
        try:
            if isinstance(self._key, Ed25519PublicKey):
                self._key.verify(signature, text)
            else:
                self._key.verify(signature, text, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True

    def open(self, note: str | bytes) -> str:
        """See :func:`open_note`."""
        return open_note(note, self)

    def following(self, notes: Iterable[str]) -> NoteKey:
        """Itself: whoever knows this key alone follows no other."""
        return self

    def encode(self) -> str:
        """``name+key id+base64``, the form keys of notes are published in."""
        kind = _ECDSA if self._is_ecdsa else _ED25519
        key = base64.b64encode(kind + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    @classmethod
    def parse(cls, text: str) -> NoteKey:
        """Read the published form.

        Raises:
            ConfigurationError: it is not one, or its key id belongs to another key.
        """
        given = text.strip()
        try:
            name, key_id, encoded = given.split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
        except ValueError as error:
            raise ConfigurationError(
                "not a ledger key of the form NAME+ID+KEY",
                advice="On the registry's host it is printed by: mlflow-governance ledger key",
            ) from error
        key = cls(name, raw[1:])
        if raw[:1] != (_ECDSA if key._is_ecdsa else _ED25519):
            raise ConfigurationError("the ledger key is neither an Ed25519 nor an ECDSA P-256 key")
        if key.key_id.hex() != key_id:
            raise ConfigurationError("the ledger key does not have the key id it is given with")
        if key.encode() != given:
            raise ConfigurationError("the ledger key is not in canonical base64")
        return key

    @classmethod
    def from_pem(cls, name: str, pem: bytes) -> NoteKey:
        """Read a PEM SubjectPublicKeyInfo.

        Raises:
            ConfigurationError: it holds no public key, or one of another kind.
        """
        try:
            key: object = form.load_pem_public_key(pem)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigurationError(f"the ledger's public key cannot be read: {error}") from error
        if isinstance(key, Ed25519PublicKey):
            return cls(name, key.public_bytes_raw())
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            info = form.PublicFormat.SubjectPublicKeyInfo
            return cls(name, key.public_bytes(form.Encoding.DER, info))
        raise ConfigurationError(
            "a ledger key is Ed25519 or ECDSA P-256, and this one is neither",
            advice="Make one: mlflow-governance keys new PATH --algorithm ed25519",
        )

    @property
    def spki(self) -> bytes:
        """DER SubjectPublicKeyInfo, by whose SHA-256 keys are told apart everywhere else."""
        return self.public if self._is_ecdsa else _ED25519_SPKI + self.public

    @property
    def pem(self) -> bytes:
        """PEM of :attr:`spki`."""
        info = (form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
        return self._key.public_bytes(*info)

    @property
    def _is_ecdsa(self) -> bool:
        return len(self.public) == _P256_BYTES

    @cached_property
    def _key(self) -> Ed25519PublicKey | ec.EllipticCurvePublicKey:
        if not self._is_ecdsa:
            return Ed25519PublicKey.from_public_bytes(self.public)
        try:
            point = self.public[len(_P256) - 1 :]
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        except ValueError as error:
            raise ConfigurationError("the ledger key is no point of P-256") from error


class NoteSigner(Protocol):
    """Whoever holds the ledger key: a file, or a device."""

    @property
    def key(self) -> NoteKey:
        """The public half: name, key id and bytes."""

    def sign(self, data: bytes) -> bytes:
        """The signature: the 64 bytes of Ed25519, or DER ECDSA over the SHA-256.

        Raises:
            ConfigurationError: the key is not the one it was, or does not sign.
            Unavailable: the device does not answer in time.
        """


@dataclass(frozen=True)
class Ed25519Signer:
    """A ledger key in memory."""

    name: str
    private: Ed25519PrivateKey

    @classmethod
    def from_pem(cls, name: str, pem: bytes) -> Ed25519Signer:
        """Read an unencrypted PKCS#8 PEM.

        Raises:
            ConfigurationError: it holds no Ed25519 private key.
        """
        try:
            private = form.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigurationError(f"the ledger key cannot be read: {error}") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise ConfigurationError("the ledger key is not an Ed25519 key")
        return cls(name, private)

    @cached_property
    def key(self) -> NoteKey:
        """The public half."""
        return NoteKey(self.name, self.private.public_key().public_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of an Ed25519 signature."""
        return self.private.sign(data)


def sign(text: str, *signers: NoteSigner) -> str:
    """The note with a signature line of each signer. ``text`` ends in a newline."""
    raw = text.encode()
    lines = (
        f"{_DASH}{signer.key.name} "
        f"{base64.b64encode(signer.key.key_id + signer.sign(raw)).decode()}\n"
        for signer in signers
    )
    return f"{text}\n{''.join(lines)}"


def split(note: str | bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """The text, and ``(name, key id || signature)`` of each signature line; nothing is verified.

    Raises:
        LedgerError: it is not a signed note.
    """
    try:
        text = note.decode() if isinstance(note, bytes) else note
        too_long = len(text.encode()) > MAX_BYTES
    except UnicodeError as error:
        raise LedgerError("the note is not UTF-8") from error
    if too_long or any(ord(c) < 32 and c != "\n" for c in text):
        raise LedgerError("the note is too long or holds control characters")
    body, separator, tail = text.rpartition("\n\n")
    if not separator or not body or not tail.endswith("\n"):
        raise LedgerError("the note carries no signature")
    return body + "\n", [_signature(line) for line in tail[:-1].split("\n")]


def open_note(note: str | bytes, key: NoteKey) -> str:
    """The text of a note that this key signed.

    Raises:
        LedgerError: it is not a signed note, or no signature of the key verifies, or one fails.
    """
    text, signatures = split(note)
    mine = [s[4:] for name, s in signatures if name == key.name and s[:4] == key.key_id]
    if not mine:
        raise LedgerError(f"the note is not signed by {key.name}")
    raw = text.encode()
    if not all(key.verify(raw, signature) for signature in mine):
        raise LedgerError(f"the signature of {key.name} under the note does not verify")
    return text


def decode_base64(text: str) -> bytes:
    """Base64 with exactly one spelling per value.

    Raises:
        LedgerError: it is not base64, or not the canonical spelling.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise LedgerError(f"not base64: {text[:60]!r}") from error
    if base64.b64encode(data).decode() != text:
        raise LedgerError(f"not canonical base64: {text[:60]!r}")
    return data


def _signature(line: str) -> tuple[str, bytes]:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not name or "+" in name:
        raise LedgerError("the note has a malformed signature line")
    signature = decode_base64(encoded)
    if len(signature) < 5:
        raise LedgerError("the note has a signature line without a signature")
    return name, signature
