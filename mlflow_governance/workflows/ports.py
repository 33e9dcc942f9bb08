"""The ports the workflows stand on. Adapters live in ``store``, ``plugin`` and ``evidence``.

A write happens inside one :class:`UnitOfWork`: stage, decision, ledger entry and tasks
commit together or not at all. No unit of work is held open while evidence is verified,
a policy engine is asked or artifact bytes are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Protocol

from mlflow_governance.core import moment
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.decision import Decision
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Dossier, Outcome, Subject
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.evidence.inspection import Inspection
from mlflow_governance.evidence.interface import EvidenceItem, Kind
from mlflow_governance.ledger.note import NoteSigner
from mlflow_governance.workflows.chronicle import About, Told
from mlflow_governance.workflows.policy_ports import (
    Policies,
    PolicyReading,
    PolicyWriting,
    Quorum,
)


@dataclass(frozen=True)
class VersionRecord:
    """One governed version as our own table has it.

    ``uid`` is ours: MLflow has no immutable id (a deleted and re-created name starts at 1).
    ``location`` is the normalised artifact path the guard matches against.
    """

    uid: str
    ref: VersionRef
    stage: Stage
    location: str
    submitter: str
    digest: Digest | None = None
    policy_digest: Digest | None = None
    quarantined_from: Stage | None = None
    decision_id: str = ""
    """The decision that brought the version into its stage."""
    facts: Mapping[Kind, Outcome] | None = None
    """Outcomes proved at the last full examination: cryptographic facts, never a verdict."""
    trust_digest: Digest | None = None
    """The trust policy those outcomes were proved against."""
    created_at: datetime | None = None
    revision: int = 0
    """Grows with every change to the version, its evidence or its approvals. A decision is
    written only if the revision it was made from still stands."""

    def subject(self, *, blocked: bool) -> Subject:
        """The record as a decision sees it."""
        return Subject(
            self.ref, self.uid, self.stage, self.digest, self.submitter, blocked,
            self.policy_digest, self.quarantined_from,
        )  # fmt: skip

    def with_(self, **changes: Any) -> VersionRecord:
        """A changed copy."""
        return replace(self, **changes)


def subject_of(record: VersionRecord) -> dict[str, Any]:
    """The version as events name it."""
    return {
        "name": record.ref.name,
        "version": record.ref.version,
        "workspace": record.ref.workspace,
        "uid": record.uid,
        "digest": record.digest,
    }


@dataclass(frozen=True)
class ApprovalRecord:
    """One person's word, bound to what they saw."""

    uid: str
    version_uid: str
    person: str
    role: str
    decision: str
    model_digest: Digest
    policy_digest: Digest
    reason: str
    at: datetime

    def to_document(self) -> dict[str, Any]:
        """The approval as policy sees it; the reason is personal and stays out."""
        return {
            "person": self.person,
            "role": self.role,
            "decision": self.decision,
            "model_digest": self.model_digest,
            "policy_digest": self.policy_digest,
            "at": moment.to_text(self.at),
        }


@dataclass(frozen=True)
class Whereabouts:
    """What decides who may be told where a version's bytes are."""

    stage: Stage
    submitter: str
    blocked: bool


@dataclass(frozen=True)
class AliasRecord:
    """Where an alias points, where it pointed before, and since when; None is nowhere."""

    alias: str
    version: int | None
    before: int | None
    at: datetime


@dataclass(frozen=True)
class AliasStep:
    """An alias on its way from one version to another; None is nowhere."""

    alias: str
    before: int | None
    after: int | None


@dataclass(frozen=True)
class Attachment:
    """A file the registry attaches to a version, path relative to the version's folder."""

    path: str
    data: bytes


@dataclass(frozen=True)
class Repeat:
    """The very same denial in one period: ``count`` times, ``told`` of them by own entries.

    ``event`` is the denial without the ``person``, ``decision_id`` the last decision kept of it.
    """

    key: Digest
    event: bytes
    person: str
    decision_id: str
    told: int
    count: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True)
class Task:
    """Work for the worker: ``register`` (hash and judge) or ``mirror`` (tags, attachments)."""

    id: str
    kind: str
    version_uid: str
    attempts: int = 0


class Reading(PolicyReading, Protocol):
    """A consistent view of our tables."""

    def version(self, ref: VersionRef) -> VersionRecord | None:
        """The governed version, or None."""

    def version_by_uid(self, uid: str) -> VersionRecord | None:
        """The governed version, or None."""

    def versions(
        self,
        name: str | None = None,
        stage: Stage | None = None,
        *,
        workspace: str | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> list[VersionRecord]:
        """Governed versions, newest first."""

    def count_versions(self, name: str | None = None, stage: Stage | None = None) -> int:
        """How many governed versions there are."""

    def whereabouts(
        self, wanted: Iterable[tuple[str, int]], workspace: str
    ) -> dict[tuple[str, int], Whereabouts]:
        """Of those versions that are governed, by name and number."""

    def versions_at(self, paths: Sequence[str]) -> list[VersionRecord]:
        """Versions whose ``location`` is one of these paths."""

    def versions_around(
        self, above: Sequence[str], paths: Sequence[str]
    ) -> list[tuple[VersionRecord, bool]]:
        """Versions at one of the locations ``above`` or below one of the ``paths``, each with
        whether its content is blocked under whatever name."""

    def submitters(self, digest: Digest) -> set[str]:
        """Everybody who registered this content, under whatever name."""

    def is_blocked(self, digest: Digest) -> bool:
        """True when a version with this digest is revoked or quarantined, under any name."""

    def blocked(self) -> list[tuple[Digest, str, datetime]]:
        """Every blocked digest with its stage and the moment it was blocked."""

    def versions_beginning(self, prefix: str) -> list[VersionRecord]:
        """Versions whose ``location`` begins with these characters."""

    def blocked_digests(self) -> frozenset[Digest]:
        """Every blocked digest."""

    def released_digests(self) -> frozenset[Digest]:
        """The content of every version past None that is neither withdrawn nor blocked."""

    def aliases(self, name: str, workspace: str) -> list[AliasRecord]:
        """Every alias a governed model has or had."""

    def ledger_size(self) -> int:
        """Entries in the ledger."""

    def approvals(self, version_uid: str) -> list[ApprovalRecord]:
        """Approvals of a version, oldest first; those withdrawn are not among them."""

    def evidence(self, version_uid: str) -> list[EvidenceItem]:
        """Every piece of evidence attached to a version."""

    def verdicts(self, digest: Digest) -> list[EvidenceItem]:
        """What others said of this content, attached to whichever version; each statement once."""

    def attachments(self, version_uid: str, *, pending_only: bool = False) -> list[Attachment]:
        """What the registry attached to a version; only what is not yet beside the model."""

    def manifest(self, digest: Digest) -> Manifest | None:
        """The manifest with this digest."""

    def inspection(self, digest: Digest) -> Inspection | None:
        """What reading the files of this content found; None where nobody has read them."""

    def in_force(self, what: str) -> Digest | None:
        """The digest of what was last recorded as in force: ``trust`` or ``policy``."""

    def decision(self, decision_id: str) -> dict[str, Any] | None:
        """A stored decision document, with its dossier under ``dossier``."""

    def last_decision(self, version_uid: str) -> dict[str, Any] | None:
        """The newest judgement of a version: by the gates accept and promote only."""

    def timeline(self, version_uid: str) -> list[dict[str, Any]]:
        """Ledger entries about a version, oldest first, with people and reasons resolved."""

    def entries_of(
        self,
        acts: Iterable[Act],
        *,
        about: str = "",
        start: int = 0,
        newest: int = 0,
        limit: int = 0,
    ) -> list[tuple[int, bytes]]:
        """Index and bytes of ledger entries, oldest first, as they stand: nothing is proved.

        Args:
            acts: of which acts, as an unsigned column has them; none: of all.
            about: the uid of a version; empty: of all.
            start: from this index on.
            newest: only so many of the newest; 0: all.
            limit: only so many of the oldest; 0: all.
        """

    def sealed(self, commitments: Iterable[str]) -> dict[str, tuple[bytes, str]]:
        """Salt and text behind commitments; an erased one is not among them."""

    def stand_ins(self, replaced: Iterable[str]) -> tuple[dict[str, str], list[tuple[int, bytes]]]:
        """What erasures put in the place of commitments and documents by digest, and the entries
        that have to be proved for it to count."""

    def repeat(self, key: Digest) -> Repeat | None:
        """What was counted of a denial."""

    def repeats_before(self, at: datetime, limit: int) -> list[Repeat]:
        """Denials whose period began at that moment or before, oldest first."""

    def document(self, digest: Digest) -> bytes | None:
        """A stored document: a dossier, a manifest, an archive.

        Raises:
            VerificationError: the stored bytes are not those it was stored with.
        """

    def history(self, about: About, after: int, count: int) -> Told:
        """At most ``count`` entries behind the index ``after`` (-1: from the first): about every
        version that has or had this name (and number), its aliases, and the model itself."""

    def of_registry(self, act: Act) -> list[dict[str, Any]]:
        """Every entry of an act about the registry itself, oldest first, resolved."""


class UnitOfWork(Reading, PolicyWriting, Protocol):
    """One transaction. Leaving it normally commits; an exception rolls everything back."""

    def add_version(self, record: VersionRecord) -> None:
        """Insert a governed version."""

    def save_version(self, record: VersionRecord) -> None:
        """Write digest, facts and policy digest of a version; never its stage."""

    def move_stage(self, record: VersionRecord, target: VersionRecord) -> None:
        """Compare-and-swap the stage, in our table and in MLflow's.

        Raises:
            Conflict: the version is no longer in ``record.stage`` at ``record.revision``.
        """

    def remove_version(self, record: VersionRecord) -> None:
        """Forget a governed version; its ledger entries stay."""

    def move_alias(self, model: VersionRef, step: AliasStep, at: datetime) -> None:
        """Compare-and-swap an alias, before MLflow's own row is written.

        Raises:
            Conflict: it does not point where ``step`` says it did.
        """

    def forget_aliases(self, ref: VersionRef, at: datetime) -> None:
        """No alias points at a deleted version, and none returns to it."""

    def block(self, digest: Digest, stage: Stage, at: datetime) -> None:
        """Put a digest on the revocation list."""

    def unblock(self, digest: Digest) -> None:
        """Take a quarantined digest off the list; a revoked one stays for ever."""

    def add_evidence(self, version_uid: str, items: Iterable[EvidenceItem]) -> None:
        """Store evidence bytes by digest and link them to the version."""

    def add_attachments(self, version_uid: str, attachments: Iterable[Attachment]) -> None:
        """Store what the registry attaches."""

    def add_manifest(self, manifest: Manifest) -> None:
        """Store a manifest by its digest."""

    def add_inspection(self, digest: Digest, inspection: Inspection) -> None:
        """Keep what reading the files of a content found, instead of what was known before."""

    def put_in_force(self, what: str, digest: Digest, document: bytes) -> None:
        """Note what is in force now, and keep the document by its own digest."""

    def add_approval(self, approval: ApprovalRecord) -> None:
        """Store an approval; it takes the place of the same person's earlier one in that role."""

    def withdraw_approval(self, approval: ApprovalRecord) -> None:
        """An approval or rejection counts no longer."""

    def add_decision(self, decision: Decision, dossier: bytes, version_uid: str) -> Digest:
        """Store decision and dossier; returns the digest of the stored decision document."""

    def record(self, event: Event) -> int:
        """Append the ledger entry, of which receivers are told; returns the ledger index."""

    def hand_over(self, event: Event, heir: NoteSigner) -> str:
        """Record ``ledger.rekeyed``, have both keys sign the head, and go on with ``heir``.

        Returns:
            The signed note, which is kept among the checkpoints, too.
        """

    def save_repeat(self, repeat: Repeat) -> None:
        """Keep what was counted of a denial."""

    def forget_repeat(self, key: Digest) -> None:
        """What was counted of a denial is told."""

    def mirrored(self, version_uid: str, attachments: Iterable[Attachment]) -> None:
        """Note that these attachments stand beside the model and the mirror task is done."""

    def add_task(self, kind: str, version_uid: str, *, delay_seconds: float = 0) -> None:
        """Queue work for the worker."""


class Store(Protocol):
    """Opens units of work."""

    def begin(self) -> AbstractContextManager[UnitOfWork]:
        """A writing transaction, serialised with every other one."""

    def read(self) -> AbstractContextManager[Reading]:
        """A reading transaction."""

    def prove(
        self, entries: Iterable[tuple[int, bytes]], *, about: str = "", below: int = 0
    ) -> None:
        """Prove that these are entries of the ledger, at these places.

        Args:
            entries: index and bytes.
            about: the uid of the version that these are all the entries of; empty: they are not
                all of anything.
            below: entries in the ledger at the moment of the reading.

        Raises:
            LedgerError: one is not in the ledger that our key signed, or one is missing that
                this process wrote or proved before.
        """


class Artifacts(Protocol):
    """The bytes of models, wherever MLflow keeps them. The registry itself is not guarded."""

    def size(self, location: str) -> int:
        """Bytes in the model directory without reading them (evidence left out)."""

    def manifest(self, location: str) -> Manifest:
        """Hash every file of the model directory except ``governance/``.

        Raises:
            VerificationError: no file, a symlink, or an unsafe name.
            NotFound: there is nothing at that location.
        """

    @property
    def scanner(self) -> Digest:
        """The rules :meth:`inspect` reads files by."""

    def inspect(self, location: str, manifest: Manifest) -> Inspection:
        """Read the model's own files for what loading them would run.

        Raises:
            VerificationError: the files are not those of the manifest.
            NotFound: there is nothing at that location.
        """

    def evidence(self, location: str) -> list[EvidenceItem]:
        """What the producer left in ``governance/evidence/``, bounded in number and size."""

    def attach(self, location: str, folder: str, attachments: Iterable[Attachment]) -> None:
        """Write files below ``folder`` of the model directory; repeatable."""


class Catalogue(Protocol):
    """MLflow's side of a version that may be repeated after the commit."""

    def mirror(self, record: VersionRecord, tags: Mapping[str, str]) -> None:
        """Set the ``governance.*`` tags of a version; repeatable."""

    def set_status(self, record: VersionRecord, status: str, message: str) -> None:
        """Set MLflow's registration status (READY, PENDING_REGISTRATION, FAILED_REGISTRATION)."""


class Examiner(Protocol):
    """Runs every verifier over a version's evidence."""

    @property
    def trust_digest(self) -> Digest:
        """Digest of the trust policy in force."""

    @property
    def trust_document(self) -> Mapping[str, Any]:
        """What that policy says, a JSON value."""

    def examine(
        self,
        manifest: Manifest,
        model_name: str,
        items: Sequence[EvidenceItem],
        now: datetime,
        inspection: Inspection | None = None,
    ) -> dict[Kind, Outcome]:
        """One outcome a kind; never raises for what the evidence contains."""

    def recognise(
        self,
        manifest: Manifest,
        model_name: str,
        item: EvidenceItem,
        now: datetime,
        beside: Sequence[EvidenceItem] = (),
    ) -> None:
        """Check that a statement is about this content and by somebody trusted for its type.

        Raises:
            VerificationError: it is not; or it says nothing that is not ``beside`` it already,
                or turns something proved there into a contradiction.
        """


class Signer(Protocol):
    """Signs what the registry says, with the registry's own key."""

    def sign_statement(self, statement: Mapping[str, Any]) -> bytes:
        """A DSSE envelope (JSON) around an in-toto Statement."""


@dataclass(frozen=True)
class Rules:
    """Settings of the workflows."""

    strict_registration: bool = False
    """True: a version that does not pass the accept gate is refused at registration."""
    sync_limit_bytes: int = 256 * 1024 * 1024
    """Models larger than this are hashed by the worker."""
    accepted_policy_digests: tuple[Digest, ...] = ()
    """Earlier bundles under which approved versions may still be served."""
    registry_name: str = "mlflow-governance"
    """The verifier id in verification summaries."""
    dashboards: Mapping[str, str] = field(default_factory=dict)
    """Name to URL template (``{name}``, ``{version}``) for dashboards_links.json."""
    policy_approvals: Quorum | None = None
    """Who must approve another policy bundle; None: whoever may write its source decides."""
    ungoverned_models: tuple[str, ...] = ()
    """Patterns of model names that are left to MLflow; their registrations are recorded."""

    def exclusion(self, name: str) -> str | None:
        """The pattern that excludes a model of this name from governance."""
        return next((p for p in self.ungoverned_models if fnmatchcase(name, p)), None)


def _unobserved(decision: Decision, dossier: Dossier) -> None:
    """Nobody keeps a log of permitted downloads."""


@dataclass(frozen=True)
class Ports:
    """Everything a workflow needs, put together in ``bootstrap``."""

    store: Store
    artifacts: Artifacts
    catalogue: Catalogue
    policy: Policies
    examiner: Examiner
    signer: Signer
    rules: Rules
    clock: Callable[[], datetime]
    permitted: Callable[[Decision, Dossier], None] = _unobserved
    """Told of each download that is permitted, which nothing records. Never waits nor raises."""
    watch: Callable[[Dossier, Decision], None] | None = None
    """Is told every judgement, also those nobody records; it neither waits nor raises."""


@dataclass(frozen=True)
class Request:
    """Who asks for what, about which version."""

    actor: Actor
    ref: VersionRef
    reason: str = ""
