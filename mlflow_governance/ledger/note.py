"""C2SP signed notes (c2sp.org/signed-note) with Ed25519 keys.

A note is text, an empty line, and signature lines ``— name base64(key id || signature)``.
Signatures of unknown keys (witnesses) are passed over; one of the known key must verify.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mlflow_governance.errors import ConfigurationError, LedgerError

MAX_BYTES = 1024 * 1024
"""No note is read beyond this: room for 16 signatures of 5 kB, and for many more."""

_ED25519 = b"\x01"
_DASH = "\N{EM DASH} "


@dataclass(frozen=True)
class NoteKey:
    """A public key that signs notes under a name. ``public`` is 32 bytes (RFC 8032).

    Raises:
        ConfigurationError: the name has a space or plus, or the key is not an Ed25519 key.
    """

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not self.name or "+" in self.name or any(c.isspace() or ord(c) < 32 for c in self.name):
            raise ConfigurationError(
                f"{self.name[:80]!r} cannot name a ledger key",
                advice="Name it like registry.example.org/ledger: no spaces and no plus.",
            )
        if len(self.public) != 32:
            raise ConfigurationError("an Ed25519 public key has 32 bytes")

    @cached_property
    def key_id(self) -> bytes:
        """The four bytes that stand before each signature."""
        material = self.name.encode() + b"\n" + _ED25519 + self.public
        return hashlib.sha256(material).digest()[:4]

    def verify(self, text: bytes, signature: bytes) -> bool:
        """True when this key signed these bytes."""
        try:
            self._key.verify(signature, text)
        except InvalidSignature:
            return False
        return True

    def encode(self) -> str:
        """``name+key id+base64``, the form keys of notes are published in."""
        key = base64.b64encode(_ED25519 + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    @classmethod
    def parse(cls, text: str) -> NoteKey:
        """Read the published form.

        Raises:
            ConfigurationError: it is not one, or its key id belongs to another key.
        """
        try:
            name, key_id, encoded = text.strip().split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
        except ValueError as error:
            raise ConfigurationError("not a ledger key of the form NAME+ID+KEY") from error
        if raw[:1] != _ED25519:
            raise ConfigurationError("the ledger key is not an Ed25519 key")
        key = cls(name, raw[1:])
        if key.key_id.hex() != key_id:
            raise ConfigurationError("the ledger key does not have the key id it is given with")
        return key

    @cached_property
    def _key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.public)


class NoteSigner(Protocol):
    """Whoever holds the ledger key: a file, or a device."""

    @property
    def key(self) -> NoteKey:
        """The public half: name, key id and bytes."""

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of an Ed25519 signature."""


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
            private = load_pem_private_key(pem, password=None)
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


def sign(text: str, signer: NoteSigner) -> str:
    """The note with one signature line. ``text`` ends in a newline."""
    raw = text.encode()
    signature = base64.b64encode(signer.key.key_id + signer.sign(raw)).decode()
    return f"{text}\n{_DASH}{signer.key.name} {signature}\n"


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
