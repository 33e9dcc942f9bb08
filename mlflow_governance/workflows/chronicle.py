"""The ledger as those read it who reconstruct the past: what it needs, and people in clear text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import LedgerError, NotFound
from mlflow_governance.ledger.merkle import Growing
from mlflow_governance.ledger.note import LedgerKey
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.ledger.verify import LedgerReport


class About(NamedTuple):
    """A version, or with no number its whole model."""

    workspace: str
    name: str
    version: int | None = None


class Told(NamedTuple):
    """Entries in clear text, ascending; ``after`` is where the next page goes on, if any."""

    entries: list[dict[str, Any]]
    after: int | None


class Chronicle(Protocol):
    """The ledger of a database."""

    def head(self) -> str:
        """The signed note of the head; empty when nothing was ever recorded."""

    def entries(self, start: int, count: int) -> Iterable[tuple[int, bytes]]:
        """Index and stored bytes from ``start`` on, ascending, of the next ``count`` entries.

        Those that were deleted after their retention are left out.
        """

    def entry(self, index: int) -> bytes:
        """The stored bytes of an entry.

        Raises:
            NotFound: there is no such entry, or it was deleted after its retention.
        """

    def leaves(self, start: int, end: int) -> Iterable[bytes]:
        """The leaf hash of each entry in a range, also of those that were deleted."""

    def inclusion_proof(self, index: int) -> InclusionProof:
        """The path from an entry to the signed head."""

    def private(self, commitments: Iterable[str]) -> dict[str, str]:
        """The text behind each commitment; an erased one is not among them."""

    def verify(self, key: LedgerKey, checkpoints: Iterable[str]) -> LedgerReport:
        """Verify everything, by the checkpoints of the database as well; names the entry that is
        not as it was signed."""


@dataclass(frozen=True)
class Witnessed:
    """A ledger with what it is held against.

    Args:
        ledger: the entries.
        key: the ledger's public key.
        exported: checkpoints kept outside the database.
    """

    ledger: Chronicle
    key: LedgerKey
    exported: Callable[[], Iterable[str]] = tuple

    def read(
        self,
        take: Callable[[int, bytes], None],
        pass_over: Callable[[int, bytes], None],
        tree: Growing,
    ) -> LedgerReport:
        """Prove the whole ledger, and have somebody take in the very entries that were proved.

        Args:
            take: is given index and bytes of each, ascending.
            pass_over: is given index and leaf hash of each that was deleted, in its place.
            tree: of the entries taken in.

        Raises:
            NotFound: nothing was ever recorded.
            LedgerError: the ledger does not verify; what was taken in is worth nothing.
        """
        if not self.ledger.head():
            raise NotFound("the ledger is empty: nothing was ever recorded")
        exported = list(self.exported())
        report = self.ledger.verify(self.key, exported)
        for index, data in self.ledger.entries(0, report.size):
            self._pass(index, pass_over, tree)
            take(index, data)
        self._pass(report.size, pass_over, tree)
        if (tree.size, tree.root.hex()) != (report.size, report.root):
            self.ledger.verify(self.key, exported)  # names the entry
            raise LedgerError("the ledger was changed while it was read", advice="Ask again.")
        return report

    def entry(self, index: int) -> tuple[bytes, InclusionProof]:
        """An entry with the proof that it is in the ledger, verified.

        Raises:
            NotFound: there is no such entry, or it was deleted after its retention.
            LedgerError: it is not the one that was signed.
        """
        proof = self.ledger.inclusion_proof(index)
        data = self.ledger.entry(index)
        proof.verify(data, self.key)
        return data, proof

    def _pass(self, end: int, pass_over: Callable[[int, bytes], None], tree: Growing) -> None:
        if tree.size < end:
            for index, leaf in enumerate(self.ledger.leaves(tree.size, end), tree.size):
                pass_over(index, leaf)


@dataclass(frozen=True)
class Names:
    """People and reasons behind commitments."""

    clear: dict[str, str]

    @classmethod
    def of(cls, ledger: Chronicle, commitments: Iterable[str | None]) -> Names:
        """Look them up.

        Raises:
            LedgerError: a stored text is not the one that was committed to.
        """
        return cls(ledger.private({c for c in commitments if c}))

    def __call__(self, commitment: str | Digest | None) -> str | None:
        """The text; None where there is none, or where it was erased."""
        return self.clear.get(commitment or "")
