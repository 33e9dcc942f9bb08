"""What the workflows need of policy bundles: which one decides, which were kept, where one comes
from, and what people said about another one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from mlflow_governance.core.digest import Digest
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.interface import PolicyInForce


@dataclass(frozen=True)
class Quorum:
    """How many people of which roles must approve a bundle before it comes into force.

    Args:
        count: people; whoever proposed the bundle is never one of them.
        roles: each must hold one of these.
    """

    count: int
    roles: tuple[str, ...]


@dataclass(frozen=True)
class KeptPolicy:
    """A bundle that is or was in force.

    Args:
        digest: of the policy.
        archive_digest: of ``Bundle.archive()``, which is kept.
        at: when it came into force last.
        position: the index of the ledger entry that says so.
    """

    digest: Digest
    archive_digest: Digest
    at: datetime
    position: int


class ProposalState(StrEnum):
    """Where a proposal is."""

    OPEN = "open"
    DONE = "in force"
    VOID = "void"
    """Another bundle came into force meanwhile, or its proposer took it back."""


@dataclass(frozen=True)
class Proposal:
    """The proposal to put a bundle into force instead of the one that is."""

    uid: str
    digest: Digest
    before: Digest
    archive_digest: Digest
    person: str
    reason: str
    at: datetime
    state: ProposalState = ProposalState.OPEN


@dataclass(frozen=True)
class Word:
    """What one person said of a proposal: ``decision`` is ``approve`` or ``reject``."""

    proposal_uid: str
    person: str
    role: str
    decision: str
    reason: str
    at: datetime


class PolicyReading(Protocol):
    """What is kept of policy bundles."""

    def policy_archive(self, digest: Digest) -> bytes | None:
        """``Bundle.archive()`` of a bundle that is or ever was in force, by policy digest."""

    def kept_policy(self, digest: Digest) -> KeptPolicy | None:
        """The record of a bundle that is or ever was in force."""

    def former_policies(self) -> list[tuple[Digest, datetime]]:
        """Bundles that were in force and no longer are, each with when it was replaced."""

    def proposals(self, limit: int = 50) -> list[Proposal]:
        """Proposals, newest first."""

    def open_proposals(self) -> list[Proposal]:
        """Those that may still come into force, newest first."""

    def proposed_archive(self, proposal: Proposal) -> bytes:
        """The archive that was proposed.

        Raises:
            VerificationError: it is gone, or other bytes.
        """

    def words_of(self, proposal_uid: str) -> list[Word]:
        """What was said of a proposal and counts, oldest first."""

    def private_at(self, position: int) -> dict[str, str | None]:
        """``{"actor", "reason"}`` of a ledger entry in clear text; None where erased."""


class PolicyWriting(Protocol):
    """Keeping them."""

    def keep_policy(self, kept: KeptPolicy, archive: bytes) -> None:
        """Put a bundle into force and keep its archive; what else was proposed is void."""

    def add_proposal(self, proposal: Proposal, archive: bytes) -> None:
        """Keep a proposal with its archive."""

    def void_proposal(self, uid: str) -> None:
        """Take a proposal back."""

    def add_word(self, word: Word) -> None:
        """Keep a word; it withdraws the same person's earlier one."""


class PolicySource(Protocol):
    """Where bundles come from: a folder, a file, an address."""

    @property
    def name(self) -> str:
        """The place, for people."""

    @property
    def signed(self) -> bool:
        """True when bundles of this installation must be signed by somebody trusted for it."""

    def fetch(self) -> Bundle:
        """The bundle that is there now.

        Raises:
            Unavailable: the place does not answer; what is in force goes on.
            VerificationError: it is not signed by anybody trusted for it.
            ConfigurationError: it is not a bundle.
        """

    def open(self, archive: bytes) -> Bundle:
        """A bundle somebody brought as ``.tar.gz``, held to the same signatures.

        Raises:
            VerificationError: it is not signed by anybody trusted for it.
            ConfigurationError: it is not a bundle.
        """


@dataclass(frozen=True)
class SourceReport:
    """What the last look at the source found.

    Args:
        name: the place, for people.
        digest: of the bundle that is there; None where there is none that can be used.
        note: why that is not in force; empty where it is.
    """

    name: str
    digest: Digest | None = None
    note: str = ""


class Policies(Protocol):
    """The policy that decides, which may be another at the next question."""

    def current(self) -> PolicyInForce:
        """What this process knows to be in force."""

    def at(self, digest: Digest | None) -> PolicyInForce:
        """What is in force where the database was just seen to say ``digest``.

        Raises:
            GovernanceError: the bundle in force cannot be loaded here, so nothing is decided.
        """

    def refresh(self) -> PolicyInForce:
        """Look at the database and the source now; what is new there comes into force."""

    def look(self) -> None:
        """The same, if it is time; what is wrong is logged and reported, never raised."""

    def prepare(self, bundle: Bundle) -> PolicyInForce:
        """Compile a bundle.

        Raises:
            ConfigurationError: it does not compile, lacks a gate, or says yes to nothing.
        """

    def serves(self, policy: PolicyInForce) -> bool:
        """False while a policy server of its own still serves another bundle."""

    @property
    def source(self) -> PolicySource | None:
        """Where bundles come from; None where one stays for good."""

    def report(self) -> SourceReport:
        """What the last look at the source found."""
