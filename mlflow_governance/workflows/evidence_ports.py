"""What an evidence bundle is collected from: rows and bytes as they stand, in one moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import NamedTuple, Protocol

from mlflow_governance.core.digest import Digest
from mlflow_governance.core.event import Act
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.ledger.redaction import Redaction
from mlflow_governance.workflows.ports import ApprovalRecord, Reading, UnitOfWork
from mlflow_governance.workflows.validation.books import DecisionRow


class LinkedFile(NamedTuple):
    """A file that hangs on a version; ``attached``: by the registry, and not by the producer."""

    attached: bool
    path: str
    digest: Digest


class Opening(NamedTuple):
    """What a commitment of the ledger was made of, and whom the text is about."""

    salt: bytes
    text: str
    person: str


class GivenWord(NamedTuple):
    """An approval or objection, and whether a later word took its place."""

    approval: ApprovalRecord
    withdrawn: bool


class EvidenceReading(Reading, Protocol):
    """A consistent view of everything an auditor may ask for."""

    def uids_of(self, ref: VersionRef) -> list[str]:
        """Every version that has or had this name and number, the deleted ones first."""

    def uids_of_model(self, name: str, workspace: str) -> list[str]:
        """Every version that has or had this name."""

    def indices_about(self, uids: Iterable[str], acts: Sequence[Act] = ()) -> list[int]:
        """Entries about these versions, by these acts only if any is named; ascending."""

    def indices_of(self, acts: Sequence[Act]) -> list[int]:
        """Entries of these acts, ascending."""

    def indices_between(self, since: datetime, until: datetime) -> list[int]:
        """Entries from ``since`` on and before ``until``, ascending."""

    def entries_at(self, indices: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """The stored bytes of these entries, ascending; what is not there is left out."""

    def head(self) -> str:
        """The signed note of the whole ledger."""

    def handovers(self) -> list[str]:
        """The notes that may tell of another key of the ledger, unchecked."""

    def inclusion_paths(self, indices: Iterable[int], size: int) -> Mapping[int, tuple[bytes, ...]]:
        """The RFC 6962 inclusion proof of each entry in the ledger of ``size`` entries."""

    def openings(self, commitments: Iterable[str]) -> dict[str, Opening]:
        """What these commitments stand for; an erased one is not among them, nothing is checked."""

    def erasures_of(self, digests: Iterable[str]) -> set[int]:
        """Indices of the erasures of people that replaced these documents and texts, or what had
        replaced them before."""

    def erasure(self, index: int) -> list[Redaction]:
        """Everything an erasure is said to have replaced, unchecked."""

    def decision_row(self, decision_id: str) -> DecisionRow | None:
        """A stored decision and its dossier, unchecked."""

    def decisions_about(self, uids: Iterable[str]) -> list[str]:
        """The ids of every stored decision about these versions, oldest first."""

    def words_about(self, version_uid: str) -> list[GivenWord]:
        """What everybody said of a version, oldest first, withdrawn or not."""

    def linked_files(self, version_uid: str) -> list[LinkedFile]:
        """What hangs on a version, by path."""

    def stored_document(self, digest: Digest) -> bytes | None:
        """The bytes stored under this digest, unchecked; None where they were removed."""


class EvidenceWriting(EvidenceReading, UnitOfWork, Protocol):
    """The same inside a unit of work, where the export itself is recorded."""


class EvidenceStore(Protocol):
    """Opens both."""

    def begin(self) -> AbstractContextManager[EvidenceWriting]:
        """A writing transaction, serialised with every other one."""

    def read(self) -> AbstractContextManager[EvidenceReading]:
        """A reading transaction."""
