"""The seam between what is kept of checkpoints and who takes them off the host.

Several workers run: whoever holds the lease of a place speaks with it, and everything is done at
least once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mlflow_governance.core import digest
from mlflow_governance.ledger.note import LedgerKey
from mlflow_governance.ledger.recovery import Recovery


@dataclass(frozen=True, slots=True)
class Kept:
    """A signed note as it is kept, and the time stamp over its bytes, if there is one."""

    note: str
    stamp: bytes | None = None

    @property
    def content(self) -> str:
        """The digest of both."""
        return digest.of_bytes(self.note.encode() + b"\0" + (self.stamp or b""))


@dataclass(frozen=True, slots=True)
class Place:
    """How far a place outside has got: since ``at`` it has what ``content`` is the digest of.

    ``alarm`` says what it holds that contradicts the ledger.
    """

    name: str
    size: int = 0
    content: str = ""
    at: datetime | None = None
    failures: int = 0
    last_error: str = ""
    alarm: str = ""
    lease: str = ""


class Ledger(Protocol):
    """The ledger as those who compare it with checkpoints need it."""

    def head(self) -> str:
        """The signed note of the head; empty when nothing was ever recorded."""

    def consistency_proof(self, old: int, new: int) -> Sequence[bytes]:
        """The proof that the ledger of ``new`` entries continues that of ``old``."""

    def recoveries(self, key: LedgerKey) -> Sequence[Recovery]:
        """The lost checkpoints it acknowledges, each entry proved."""


class CheckpointBook(Protocol):
    """Checkpoints with their time stamps, and how far each place has got."""

    def keep(self, note: str) -> None:
        """Keep a signed note; twice is once."""

    def stamp(self, note: str, token: bytes) -> None:
        """Keep the time stamp over a note that is kept; the first one stays."""

    def newest(self, size: int | None = None) -> Sequence[Kept]:
        """Notes kept last: of the largest ledgers, or of the ledger of one size."""

    def hold(self, name: str, lease_seconds: float) -> Place | None:
        """Lease a place; None: another has it, or it is to be left alone for now."""

    def took(self, place: Place, size: int, content: str) -> None:
        """The place has it; nothing is wrong with it."""

    def failed(self, place: Place, error: str, retry_seconds: float, *, alarm: str = "") -> None:
        """The place did not take it; ``alarm``: what it holds contradicts the ledger."""

    def release(self, place: Place) -> None:
        """Nothing was to be done."""
