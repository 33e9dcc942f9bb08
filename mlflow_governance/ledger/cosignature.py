"""C2SP cosignatures (c2sp.org/tlog-cosignature): the word of witnesses under a checkpoint.

A witness says: at this second, this is the largest tree I have seen of this ledger, and it
continues everything I saw of it before. Whoever rewrites a ledger and even holds its key still
needs the witnesses. Of the two types there are, this is Ed25519 (``cosignature/v1``, 0x04).

A cosignature is one more signature line of the note. Its signature is the second since 1970 as
eight bytes, big-endian, and 64 bytes of Ed25519 over ``cosignature/v1``, a line with that second,
and the text of the note.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from mlflow_governance.errors import ConfigurationError, LedgerError
from mlflow_governance.ledger import note as notes
from mlflow_governance.ledger.note import NoteKey, NoteSigner

_COSIGNATURE_V1 = b"\x04"
_SIGNATURE_BYTES = 8 + 64
_LAST_SECOND = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())
_DASH = "\N{EM DASH} "


@dataclass(frozen=True)
class WitnessKey:
    """The public key of a witness under its name. ``public`` is 32 bytes (RFC 8032).

    Raises:
        ConfigurationError: the name has a space or plus, or the key is not an Ed25519 key.
    """

    name: str
    public: bytes

    def __post_init__(self) -> None:
        NoteKey(self.name, self.public)  # the same rules for names and bytes

    @cached_property
    def key_id(self) -> bytes:
        """The four bytes that stand before each cosignature."""
        material = self.name.encode() + b"\n" + _COSIGNATURE_V1 + self.public
        return hashlib.sha256(material).digest()[:4]

    def encode(self) -> str:
        """``name+key id+base64``, the verifier key (vkey) a witness is known by."""
        key = base64.b64encode(_COSIGNATURE_V1 + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    @classmethod
    def parse(cls, text: str) -> WitnessKey:
        """Read a vkey.

        Raises:
            ConfigurationError: it is none of a witness, or its key id belongs to another key.
        """
        try:
            name, key_id, encoded = text.strip().split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
        except ValueError as error:
            raise ConfigurationError("not a witness key of the form NAME+ID+KEY") from error
        if raw[:1] != _COSIGNATURE_V1:
            raise ConfigurationError(
                f"the key of {name[:80]!r} does not make cosignatures by Ed25519 (type 0x04)",
                advice="Ask the witness for its vkey of that type (c2sp.org/tlog-cosignature).",
            )
        key = cls(name, raw[1:])
        if key.key_id.hex() != key_id:
            raise ConfigurationError("the witness key does not have the key id it is given with")
        return key

    def signed_at(self, text: str, signature: bytes) -> int:
        """The second in a cosignature of this key under a note text, key id taken off.

        Raises:
            LedgerError: this key did not make it, or it is without a time.
        """
        if len(signature) != _SIGNATURE_BYTES:
            raise LedgerError(f"the cosignature of {self.name} has {len(signature)} bytes")
        second = int.from_bytes(signature[:8])
        key = NoteKey(self.name, self.public)
        if not 0 < second < _LAST_SECOND or not key.verify(_message(text, second), signature[8:]):
            raise LedgerError(f"the cosignature of {self.name} does not verify")
        return second


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many of which witnesses must have cosigned.

    Raises:
        ConfigurationError: that many cannot be had, or one key counts as two witnesses.
    """

    count: int
    witnesses: tuple[WitnessKey, ...]

    def __post_init__(self) -> None:
        if len({witness.public for witness in self.witnesses}) != len(self.witnesses):
            raise ConfigurationError("one key is named as two witnesses")
        if not 1 <= self.count <= len(self.witnesses):
            raise ConfigurationError(
                f"a quorum of {self.count} of {len(self.witnesses)} witnesses cannot be had"
            )

    def reached_at(self, note: str | bytes) -> datetime | None:
        """Since when that many have vouched for a checkpoint; None: they have not.

        Raises:
            LedgerError: it is not a signed note, or a cosignature of one of them is forged.
        """
        seconds = sorted(cosigned(note, self.witnesses).values())
        if len(seconds) < self.count:
            return None
        return datetime.fromtimestamp(seconds[self.count - 1], UTC)


def witness_key(signer: NoteSigner) -> WitnessKey:
    """The key of a witness that signs with this signer."""
    return WitnessKey(signer.key.name, signer.key.public)


def cosign(text: str, signer: NoteSigner, second: int) -> str:
    """The signature line of a witness under a note text; ends in a newline.

    Args:
        text: the text of the note, with its last newline.
        signer: the key of the witness.
        second: now, in seconds since 1970.
    """
    key = witness_key(signer)
    signature = second.to_bytes(8) + signer.sign(_message(text, second))
    return f"{_DASH}{key.name} {base64.b64encode(key.key_id + signature).decode()}\n"


def cosigned(note: str | bytes, witnesses: Iterable[WitnessKey]) -> Mapping[WitnessKey, int]:
    """Which of these witnesses vouch for a note, and since which second.

    Raises:
        LedgerError: it is not a signed note, or a line of one of them does not verify.
    """
    text, lines = notes.split(note)
    found: dict[WitnessKey, int] = {}
    for witness in witnesses:
        mine = [s[4:] for name, s in lines if name == witness.name and s[:4] == witness.key_id]
        seconds = [witness.signed_at(text, signature) for signature in mine]
        if seconds:
            found[witness] = min(seconds)
    return found


def with_lines(note: str, lines: Sequence[str]) -> str:
    """The note with these signature lines added, each once, behind those it has."""
    present = note.rpartition("\n\n")[2].splitlines(keepends=True)
    return note + "".join(line for line in dict.fromkeys(lines) if line not in present)


def _message(text: str, second: int) -> bytes:
    return f"cosignature/v1\ntime {second}\n{text}".encode()
