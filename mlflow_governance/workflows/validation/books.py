"""What the validator reads: rows as they stand, unparsed, and the ports they come through.

A row may hold anything: somebody may have written it by hand. So nothing here is checked, and
values have the types the database gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from mlflow_governance.core.digest import Digest
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.ledger.redaction import Redaction
from mlflow_governance.ledger.replay import Replay
from mlflow_governance.ledger.told import AliasKey, Pointing, Ref
from mlflow_governance.workflows.validation.findings import named

DECISION = "decision"


class GovernedRow(NamedTuple):
    """A row of our table of versions, without the proved facts."""

    uid: str
    workspace: str
    name: str
    version: int
    stage: str
    location: str
    submitter: str
    digest: str | None
    policy_digest: str | None
    trust_digest: str | None
    quarantined_from: str | None
    decision_id: str
    created_at: str

    @property
    def ref(self) -> Ref:
        """Workspace, name and number."""
        return Ref(self.workspace, self.name, self.version)


class CatalogueRow(NamedTuple):
    """MLflow's row of a version. ``deleted``: its stage says that MLflow deleted it."""

    workspace: str
    name: str
    version: int
    stage: str
    source: str | None
    storage_location: str | None
    deleted: bool

    @property
    def ref(self) -> Ref:
        """Workspace, name and number."""
        return Ref(self.workspace, self.name, self.version)


class ApprovalRow(NamedTuple):
    """A row of our table of approvals, in the order they were stored."""

    uid: str
    version_uid: str
    person: str
    role: str
    decision: str
    model_digest: str
    policy_digest: str
    at: str
    withdrawn: bool


class ProposalRow(NamedTuple):
    """A row of our table of proposed policies."""

    uid: str
    digest: str
    before: str
    archive_digest: str
    person: str


class PolicyWordRow(NamedTuple):
    """A row of our table of words about proposed policies, in the order they were stored."""

    proposal_uid: str
    role: str
    decision: str
    at: str
    person: str
    withdrawn: bool


class PolicyRows(NamedTuple):
    """What is stored about policies; ``kept``: the digest of each archive by policy digest,
    ``spans``: from when until when each was in force last."""

    in_force: str | None = None
    kept: Mapping[str, str] = MappingProxyType({})
    spans: Mapping[str, tuple[str, str | None]] = MappingProxyType({})
    proposals: Sequence[ProposalRow] = ()
    words: Sequence[PolicyWordRow] = ()


class FileRow(NamedTuple):
    """What hangs on a version: ``role`` is ``evidence`` or ``attachment``."""

    version_uid: str
    role: str
    path: str
    digest: str
    mirrored: bool


class DecisionRow(NamedTuple):
    """A stored decision and its dossier; ``dossier`` is None when it was removed.

    ``digest`` and ``dossier_digest`` are those of what was recorded. Where an erasure that the
    ledger proves put a redacted document in its place, ``document_now`` and ``dossier_now`` are
    the digests of that.
    """

    decision_id: str
    version_uid: str
    gate: str
    allow: bool
    document: bytes
    digest: str
    dossier_digest: str
    dossier: bytes | None
    document_now: str = ""
    dossier_now: str = ""

    @property
    def redacted(self) -> bool:
        """True when somebody it named was erased."""
        return bool(self.document_now or self.dossier_now)


class Use(NamedTuple):
    """Who refers to a stored document: a version by uid and path, or a decision by id."""

    owner: str
    path: str
    digest: str


@dataclass(frozen=True)
class Snapshot:
    """Our tables and MLflow's at one moment: one reading transaction.

    Args:
        ledger_size: entries in the ledger at that moment.
        last_decision: the highest row id among decisions.
        governed: our versions.
        blocked: stage by blocked digest.
        kept_aliases: our aliases with the version before.
        approvals: in the order they were stored.
        files: evidence and attachments.
        tasks: uid of a version and kind of task by state (``pending``, ``dead``).
        catalogue: MLflow's versions.
        aliases: MLflow's aliases.
        tags: our tags as MLflow has them.
        prompts: workspace and name of what MLflow holds for a prompt.
        policy: the policy in force, those that were, and what was proposed.
    """

    ledger_size: int
    last_decision: int
    governed: Sequence[GovernedRow]
    blocked: Mapping[str, str]
    kept_aliases: Mapping[AliasKey, Pointing]
    approvals: Sequence[ApprovalRow]
    files: Sequence[FileRow]
    tasks: Mapping[str, frozenset[tuple[str, str]]]
    catalogue: Sequence[CatalogueRow]
    aliases: Mapping[AliasKey, Any]
    tags: Mapping[Ref, Mapping[str, str]]
    prompts: frozenset[tuple[str, str]]
    policy: PolicyRows


class Books(Protocol):
    """The registry's database, for reading."""

    def verify_ledger(self) -> int:
        """Prove the ledger against its head and every checkpoint; returns its size.

        Raises:
            LedgerError: it does not verify.
        """

    def entries(self, start: int, end: int) -> Iterable[tuple[int, bytes]]:
        """Index and stored bytes of entries."""

    def look(self) -> Snapshot:
        """Everything else, at one moment."""

    def decisions(self, last: int) -> Iterator[DecisionRow]:
        """Decisions up to that row id."""

    def facts(self, uids: Iterable[str]) -> dict[str, bytes | None]:
        """The proved facts of versions, as stored."""

    def manifest(self, digest: str) -> bytes | None:
        """A stored document: the manifest of a model, the archive of a policy."""

    def changed_documents(self) -> Iterator[str]:
        """Digests under which other bytes are stored."""

    def uses(self, digests: Sequence[str]) -> Iterator[Use]:
        """Who refers to these documents."""

    def lost_documents(self) -> Iterator[Use]:
        """References to documents that are not there."""

    def private(self, commitments: Iterable[str]) -> dict[str, tuple[bytes, str]]:
        """Salt and text behind commitments.

        Of a person who was erased it is no salt and the pseudonym, of their words no salt and no
        text, as far as the ledger proves the erasure; what is gone otherwise is not among them.
        """

    def redactions(self) -> Iterator[tuple[int, Redaction]]:
        """What erasures replaced, each with the index of its entry, by that index."""


class Shelves(Protocol):
    """The artifact store, for reading."""

    def manifest(self, location: str) -> Manifest:
        """Hash every file of the model directory except ``governance/``.

        Raises:
            VerificationError: no file, a symlink, or an unsafe name.
            NotFound: there is nothing at that location.
        """

    def beside(self, location: str, folder: str) -> dict[str, Digest]:
        """The digest of each file below a folder of the model directory, by path in it.

        Raises:
            VerificationError: a symlink or an unsafe name.
        """

    def locate(self, uri: str, workspace: str) -> str:
        """The location an MLflow source names, in its one spelling.

        Raises:
            GovernanceError: no place that a model may have.
        """


@dataclass(frozen=True)
class Scene:
    """What is compared: what the ledger tells and what the tables say."""

    told: Replay
    seen: Snapshot
    in_scope: Callable[[str], bool]
    """By name of a model: is it looked at?"""
    left_out: Callable[[str], bool]
    """By name of a model: is it excluded from governance?"""

    def subject(self, uid: str, rest: str = "") -> str:
        """A version as findings name it; its uid where nobody knows it."""
        version = self.told.versions.get(uid)
        if version is not None:
            return subject(version.ref, rest)
        row = next((row for row in self.seen.governed if row.uid == uid), None)
        return f"version {uid}{rest}" if row is None else subject(row.ref, rest)

    def looks_at(self, uid: str) -> bool:
        """True for a living version in scope."""
        version = self.told.versions.get(uid)
        return version is not None and not version.deleted and self.in_scope(version.ref.name)

    def waits(self, uid: str, *kinds: str) -> bool:
        """True while the worker still has something of that kind to do for a version."""
        waiting = self.seen.tasks.get(uid, frozenset())
        return any((kind, "pending") in waiting for kind in kinds)


def subject(ref: Ref, rest: str = "") -> str:
    """``churn/3``, or ``churn/3:path``."""
    return named(ref.workspace, ref.name, f"/{ref.version}") + rest
