"""What the HTTP interface stands on; put together by the plugin, and by tests from fakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from mlflow_governance.audit.desk import Spool
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.web.lookback import Lookback
from mlflow_governance.workflows.evidence_export import Asked
from mlflow_governance.workflows.ports import Ports


class LedgerView(Protocol):
    """The ledger as an outsider may read it: bytes, signed notes and proofs."""

    def entries(self, start: int, count: int) -> Iterable[tuple[int, bytes]]:
        """Index and stored RFC 8785 bytes of the next ``count`` entries, ascending.

        Those that were deleted after their retention are left out.
        """

    def entry(self, index: int) -> bytes:
        """The stored bytes of an entry.

        Raises:
            NotFound: there is no such entry, or it was deleted after its retention.
        """

    def head(self) -> str:
        """The signed checkpoint of the whole ledger; empty when nothing was ever recorded."""

    def inclusion_proof(self, index: int, note: str | None = None) -> InclusionProof:
        """The path from an entry to a signed checkpoint, by default the head.

        Raises:
            NotFound: the ledger has no such entry.
            LedgerError: the checkpoint is not of this ledger.
        """

    def continuation(self, old: int) -> tuple[list[bytes], str]:
        """The RFC 6962 proof that the signed head continues the first entries, and that head.

        Raises:
            LedgerError: the ledger never had that size.
        """


@dataclass(frozen=True)
class WebServices:
    """Everything a view needs.

    Args:
        ports: what the workflows stand on.
        actor: who makes the request being served; roles read afresh.
        ledger: the public side of the ledger.
        revocations: the signed revocation list, JSON.
        trust: a ``trust.yaml`` for consumers, with the registry's own public key.
        evidence: records that somebody takes an evidence bundle, and makes it.
        adopt: takes responsibility for a version MLflow knows and the registry does not yet;
            raises NotFound when MLflow does not know it either.
        past: what looks back; None where nobody does.
    """

    ports: Ports
    actor: Callable[[], Actor]
    ledger: LedgerView
    revocations: Callable[[], bytes]
    trust: Callable[[], bytes]
    evidence: Callable[[Asked], Spool]
    adopt: Callable[[VersionRef], None]
    past: Lookback | None = None
