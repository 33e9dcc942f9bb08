"""Consistency proofs that travel alone: a ledger, shown to continue an earlier state of itself.

In the spirit of c2sp.org/tlog-proof, and checked without the ledger::

    mlflow-governance/tlog-consistency@v1
    <base64 of each hash of the RFC 6962 consistency proof, in its order>

    <the earlier signed checkpoint, verbatim>

    <the later signed checkpoint, verbatim>

A checkpoint has one empty line in it, before its signatures. Every ledger continues the empty one;
that needs no hash.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger import checkpoint as checkpoints
from mlflow_governance.ledger import merkle, note
from mlflow_governance.ledger.checkpoint import Checkpoint
from mlflow_governance.ledger.note import LedgerKey

HEADER = "mlflow-governance/tlog-consistency@v1"
_MAX_PATH = 64
_MAX_CHARACTERS = 2 * note.MAX_BYTES + 8192
_PARTS = 5


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """Two signed checkpoints and the hashes that lead from one to the other."""

    path: tuple[bytes, ...]
    old: str
    new: str

    def encode(self) -> str:
        """The text of a ``.tlog-consistency`` file."""
        hashes = [base64.b64encode(node).decode() for node in self.path]
        return "\n".join([HEADER, *hashes, "", self.old, self.new])

    @classmethod
    def parse(cls, text: str) -> ConsistencyProof:
        """Read a ``.tlog-consistency`` file.

        Raises:
            LedgerError: it is not one.
        """
        parts = text.split("\n\n", _PARTS) if len(text) <= _MAX_CHARACTERS else []
        lines = parts[0].split("\n") if len(parts) == _PARTS else []
        if not lines or lines[0] != HEADER or len(lines) > _MAX_PATH + 1:
            raise LedgerError("not a consistency proof, version 1")
        path = tuple(note.decode_base64(line) for line in lines[1:])
        if any(len(node) != merkle.HASH_BYTES for node in path):
            raise LedgerError("the proof holds something else than SHA-256 hashes")
        return cls(path, f"{parts[1]}\n\n{parts[2]}\n", f"{parts[3]}\n\n{parts[4]}")

    def verify(self, key: LedgerKey) -> tuple[Checkpoint, Checkpoint]:
        """Both checkpoints, the later shown to continue the earlier.

        Raises:
            LedgerError: it does not, or the ledger key did not sign both.
        """
        old, new = checkpoints.verify(self.old, key), checkpoints.verify(self.new, key)
        check(old, new, self.path)
        return old, new


def check(old: Checkpoint, new: Checkpoint, path: Sequence[bytes]) -> None:
    """Check that one checkpoint continues another.

    Raises:
        LedgerError: the hashes do not show it.
    """
    if old.size == 0:
        if path or old.root != merkle.EMPTY_ROOT:
            raise LedgerError("a ledger without entries has no such root and needs no proof")
        return
    merkle.verify_consistency((old.size, old.root), (new.size, new.root), path)
