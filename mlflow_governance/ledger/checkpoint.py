"""C2SP checkpoints (c2sp.org/tlog-checkpoint): the signed size and root of the ledger.

The text is three lines: origin, size in decimal, root in base64. The origin of our ledger is
the name of the key that signs it.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger import note as notes
from mlflow_governance.ledger.merkle import HASH_BYTES
from mlflow_governance.ledger.note import LedgerKey, NoteSigner

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The ledger at one moment: ``root`` is the 32 bytes of the Merkle tree hash."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The note text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def make(size: int, root: bytes, signer: NoteSigner) -> str:
    """A signed checkpoint."""
    return notes.sign(Checkpoint(signer.key.name, size, root).text(), signer)


def parse(note: str | bytes) -> Checkpoint:
    """What a checkpoint says, with no signature verified.

    Raises:
        LedgerError: it is not a checkpoint.
    """
    text, _ = notes.split(note)
    return _read(text)


def verify(note: str | bytes, key: LedgerKey) -> Checkpoint:
    """What a checkpoint says, signed by the key of the ledger about that ledger.

    Raises:
        LedgerError: it is not a checkpoint, of another ledger, or its signature does not verify.
    """
    checkpoint = _read(key.open(note))
    if checkpoint.origin != key.name:
        raise LedgerError(
            f"the checkpoint is of the ledger {checkpoint.origin[:80]!r}, not of {key.name!r}"
        )
    return checkpoint


def _read(text: str) -> Checkpoint:
    lines = text[:-1].split("\n")
    # Extension lines may follow the three; they say nothing a monitor could check.
    if len(lines) < 3 or not all(lines) or not _SIZE.fullmatch(lines[1]):
        raise LedgerError("the note is not a checkpoint: origin, size and root are expected")
    root = notes.decode_base64(lines[2])
    if len(root) != HASH_BYTES:
        raise LedgerError("the root of the checkpoint is not a SHA-256 hash")
    return Checkpoint(lines[0], int(lines[1]), root)
