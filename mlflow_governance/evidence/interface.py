"""The seam between evidence bytes and the dossier.

Cryptography raises, policy returns: a verifier returns the facts it proved or raises
:class:`~mlflow_governance.errors.VerificationError`; ``examiner.examine`` turns that into an
:class:`~mlflow_governance.core.dossier.Outcome`, so that policy sees every reason at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from mlflow_governance.core.manifest import Manifest

if TYPE_CHECKING:
    from mlflow_governance.evidence.inspection import Inspection
    from mlflow_governance.evidence.trust import TrustPolicy

T = TypeVar("T")

MAX_ITEM_BYTES = 32 * 1024 * 1024
"""No single piece of evidence is read beyond this; a larger one is a failed check."""

MAX_ITEMS = 64
"""Pieces of evidence beside one model."""
MAX_TOTAL_BYTES = 2 * MAX_ITEM_BYTES
"""All their bytes together: they are kept in the database and read at every examination."""


class Kind(StrEnum):
    """The kinds of evidence, which are the keys of ``dossier.evidence``."""

    SIGNATURE = "signature"
    PROVENANCE = "provenance"
    TEST_RESULT = "test_result"
    SBOM = "sbom"
    VULNERABILITIES = "vulnerabilities"
    MODEL_CARD = "model_card"
    DATASET = "dataset"
    CANARY = "canary"
    MALWARE = "malware"
    LICENCES = "licences"
    LAYOUT = "layout"
    VULNERABILITY_SCAN = "vulnerability_scan"
    CHANGE_TICKET = "change_ticket"
    SLO = "slo"
    EVALUATION = "evaluation"
    REPRODUCTION = "reproduction"


@dataclass(frozen=True, slots=True)
class EvidenceItem:
    """One attached file: its name below the evidence folder, and its bytes."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Case:
    """What a verifier may look at. Nothing here is writable by the requester unsigned."""

    manifest: Manifest
    model_name: str
    items: tuple[EvidenceItem, ...]
    trust: TrustPolicy
    now: datetime
    inspection: Inspection | None = None
    """What reading the model's own files found; None where nobody has read them yet."""
    known: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)
    """What was worked out for this case already: several verifiers look at one document."""

    def once(self, key: Hashable, work: Callable[[], T]) -> T:
        """The result of ``work``, done once in this case; what raises is tried again."""
        if key not in self.known:
            self.known[key] = work()
        found: T = self.known[key]
        return found


@runtime_checkable
class Watching(Protocol):
    """A verifier whose answer depends on more than the case."""

    def state(self) -> object:
        """Something hashable that changes when the answer may."""


class Verifier(Protocol):
    """Proves one kind of fact."""

    kind: Kind

    def verify(self, case: Case) -> Mapping[str, Any]:
        """The facts proved, as JSON values.

        Raises:
            EvidenceMissing: there is nothing to verify.
            VerificationError: there is something and it does not verify.
        """
