"""C2SP proofs (c2sp.org/tlog-proof): one entry, shown to be in the ledger without the ledger.

::

    c2sp.org/tlog-proof@v1
    index 17
    <base64 of each hash of the RFC 6962 inclusion proof, from the leaf up>

    <the signed checkpoint, verbatim>
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger import checkpoint as checkpoints
from mlflow_governance.ledger import merkle, note
from mlflow_governance.ledger.checkpoint import Checkpoint
from mlflow_governance.ledger.note import LedgerKey

HEADER = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")
_EXTRA = "extra "
_MAX_PATH = 64


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Where an entry stands, the hashes from it to the root, and the signed root."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: str

    def encode(self) -> str:
        """The text of a ``.tlog-proof`` file."""
        hashes = [base64.b64encode(node).decode() for node in self.path]
        return "\n".join([HEADER, f"index {self.index}", *hashes, "", self.checkpoint])

    @classmethod
    def parse(cls, text: str) -> InclusionProof:
        """Read a ``.tlog-proof`` file; extra data, which nothing authenticates, is dropped.

        Raises:
            LedgerError: it is not one.
        """
        head, separator, signed = text.partition("\n\n")
        lines = head.split("\n")
        if lines[1:] and lines[1].startswith(_EXTRA):
            del lines[1]
        place = _INDEX.fullmatch(lines[1]) if len(lines) > 1 else None
        if not separator or lines[0] != HEADER or place is None or len(lines) > _MAX_PATH + 2:
            raise LedgerError("not a tlog-proof, version 1")
        path = tuple(note.decode_base64(line) for line in lines[2:])
        if any(len(node) != merkle.HASH_BYTES for node in path):
            raise LedgerError("the proof holds something else than SHA-256 hashes")
        return cls(int(place[1]), path, signed)

    def verify(self, entry: bytes, key: LedgerKey) -> Checkpoint:
        """The checkpoint that commits to these entry bytes at this index.

        Raises:
            LedgerError: it does not, or the ledger key did not sign it.
        """
        signed = checkpoints.verify(self.checkpoint, key)
        self.check(merkle.leaf_hash(entry))
        return signed

    def check(self, leaf: bytes) -> None:
        """Check that this leaf hash stands at this index below the root; not who signed it.

        Raises:
            LedgerError: it does not.
        """
        signed = checkpoints.parse(self.checkpoint)
        if merkle.root_from_inclusion(self.index, signed.size, leaf, self.path) != signed.root:
            raise LedgerError(f"the entry is not number {self.index} of the signed ledger")
