"""A governed registry in memory: honest small ports, the real policies, the real ledger."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask import Flask

from mlflow_governance.audit.desk import Spool
from mlflow_governance.core import canonical, digest
from mlflow_governance.core import digest as digests
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.decision import Decision
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.manifest import FileEntry, Manifest
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.resources import folder
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Conflict, NotFound
from mlflow_governance.evidence.inspection import CodeVerdict, Inspection
from mlflow_governance.evidence.interface import EvidenceItem, Kind
from mlflow_governance.ledger import checkpoint, merkle
from mlflow_governance.ledger.entry import Commitments, build_entry, resolve, seal
from mlflow_governance.ledger.merkle import Growing, leaf_hash
from mlflow_governance.ledger.note import Ed25519Signer
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.policy import bundle
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import PolicyInForce
from mlflow_governance.web import mount
from mlflow_governance.web.services import WebServices
from mlflow_governance.workflows.chronicle import About
from mlflow_governance.workflows.chronicle import Told as ToldEntries
from mlflow_governance.workflows.evidence_export import Asked
from mlflow_governance.workflows.policy import POLICY
from mlflow_governance.workflows.policy_ports import KeptPolicy, Proposal, Word
from mlflow_governance.workflows.ports import (
    AliasRecord,
    AliasStep,
    ApprovalRecord,
    Attachment,
    Ports,
    Repeat,
    Rules,
    VersionRecord,
    Whereabouts,
)
from tests.unit.policy.builders import configured
from tests.unit.web import past
from tests.unit.workflows.fixed_policies import FixedPolicies

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
TRUST = digest.of_bytes(b"trust policy")
SCANNER = digest.of_bytes(b"scanner")


@cache
def policies() -> bundle.Bundle:
    return bundle.load(folder("policies"))


@cache
def engine() -> EmbeddedEngine:
    return EmbeddedEngine(policies())


@dataclass
class MemoryStore:
    """Store, reading and unit of work at once; a failed unit of work leaves what was."""

    key: Ed25519Signer
    records: dict[str, VersionRecord] = field(default_factory=dict)
    words: dict[str, list[ApprovalRecord]] = field(default_factory=dict)
    items: dict[str, list[EvidenceItem]] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    inspections: dict[str, Inspection] = field(default_factory=dict)
    forced: dict[str, Digest] = field(default_factory=lambda: {POLICY: policies().digest})
    decisions: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    withdrawn: dict[Digest, tuple[Stage, datetime]] = field(default_factory=dict)
    ledger: list[bytes] = field(default_factory=list)
    private: dict[str, str] = field(default_factory=dict)
    tree: Growing = field(default_factory=Growing)

    @contextmanager
    def begin(self) -> Iterator[MemoryStore]:
        yield self

    @contextmanager
    def read(self) -> Iterator[MemoryStore]:
        yield self

    def version(self, ref: VersionRef) -> VersionRecord | None:
        return next((r for r in self.records.values() if r.ref == ref), None)

    def version_by_uid(self, uid: str) -> VersionRecord | None:
        return self.records.get(uid)

    def versions(
        self,
        name: str | None = None,
        stage: Stage | None = None,
        *,
        workspace: str | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> list[VersionRecord]:
        found = [
            r
            for r in self.records.values()
            if name in (None, r.ref.name) and stage in (None, r.stage)
        ]
        return found[::-1][offset:][:limit]

    def count_versions(self, name: str | None = None, stage: Stage | None = None) -> int:
        return len(self.versions(name, stage))

    def versions_at(self, paths: Sequence[str]) -> list[VersionRecord]:
        return [r for r in self.records.values() if r.location in paths]

    def versions_around(
        self, above: Sequence[str], paths: Sequence[str]
    ) -> list[tuple[VersionRecord, bool]]:
        wanted = tuple(f"{path}/" for path in paths)
        found = [
            r for r in self.records.values() if r.location in above or r.location.startswith(wanted)
        ]
        return [(r, r.digest in self.withdrawn) for r in found]

    def blocked_digests(self) -> frozenset[Digest]:
        return frozenset(self.withdrawn)

    def versions_beginning(self, prefix: str) -> list[VersionRecord]:
        raise NotImplementedError

    def released_digests(self) -> frozenset[Digest]:
        return frozenset(r.digest for r in self.records.values() if r.digest)

    def submitters(self, digest: Digest) -> set[str]:
        return {r.submitter for r in self.records.values() if r.digest == digest}

    def is_blocked(self, digest: Digest) -> bool:
        return digest in self.withdrawn

    def blocked(self) -> list[tuple[Digest, str, datetime]]:
        return [(d, stage.value, at) for d, (stage, at) in self.withdrawn.items()]

    def approvals(self, version_uid: str) -> list[ApprovalRecord]:
        return list(self.words.get(version_uid, []))

    def evidence(self, version_uid: str) -> list[EvidenceItem]:
        return list(self.items.get(version_uid, []))

    def verdicts(self, digest: Digest) -> list[EvidenceItem]:
        return []

    def aliases(self, name: str, workspace: str) -> list[AliasRecord]:
        return [AliasRecord("champion", 2, 1, NOW)] if name == "churn" else []

    def whereabouts(
        self, wanted: Iterable[tuple[str, int]], workspace: str
    ) -> dict[tuple[str, int], Whereabouts]:
        return {}

    def move_alias(self, model: VersionRef, step: AliasStep, at: datetime) -> None:
        raise NotImplementedError

    def forget_aliases(self, ref: VersionRef, at: datetime) -> None:
        raise NotImplementedError

    def ledger_size(self) -> int:
        return len(self.ledger)

    def attachments(self, version_uid: str, *, pending_only: bool = False) -> list[Attachment]:
        return [Attachment(p, d) for p, d in sorted(self.files.get(version_uid, {}).items())]

    def manifest(self, digest: Digest) -> Manifest | None:
        return self.manifests.get(digest)

    def inspection(self, digest: Digest) -> Inspection | None:
        return self.inspections.get(digest)

    def in_force(self, what: str) -> Digest | None:
        return self.forced.get(what)

    def kept_policy(self, digest: Digest) -> KeptPolicy | None:
        return None

    def policy_archive(self, digest: Digest) -> bytes | None:
        return policies().archive() if digest == policies().digest else None

    def private_at(self, position: int) -> dict[str, str | None]:
        raise NotImplementedError

    def proposals(self, limit: int = 50) -> list[Proposal]:
        return []

    def open_proposals(self) -> list[Proposal]:
        return []

    def proposed_archive(self, proposal: Proposal) -> bytes:
        raise NotImplementedError

    def words_of(self, proposal_uid: str) -> list[Word]:
        return []

    def keep_policy(self, kept: KeptPolicy, archive: bytes) -> None:
        raise NotImplementedError

    def add_proposal(self, proposal: Proposal, archive: bytes) -> None:
        raise NotImplementedError

    def void_proposal(self, uid: str) -> None:
        raise NotImplementedError

    def add_word(self, word: Word) -> None:
        raise NotImplementedError

    def add_inspection(self, digest: Digest, inspection: Inspection) -> None:
        self.inspections[digest] = inspection

    def put_in_force(self, what: str, digest: Digest, document: bytes) -> None:
        self.forced[what] = digest

    def decision(self, decision_id: str) -> dict[str, Any] | None:
        return next((d for _, d in self.decisions if d["decision_id"] == decision_id), None)

    def last_decision(self, version_uid: str) -> dict[str, Any] | None:
        about = [d for uid, d in self.decisions if uid == version_uid and d["gate"] != "download"]
        return about[-1] if about else None

    def timeline(self, version_uid: str) -> list[dict[str, Any]]:
        entries = [canonical.decode_object(data) for data in self.ledger]
        return [resolve(e, self.private) for e in entries if e["subject"]["uid"] == version_uid]

    def entries_of(
        self,
        acts: Iterable[Act],
        *,
        about: str = "",
        start: int = 0,
        newest: int = 0,
        limit: int = 0,
    ) -> list[tuple[int, bytes]]:
        return past.entries(self.records[about], self.words.get(about, [])) if about else []

    def sealed(self, commitments: Iterable[str]) -> dict[str, tuple[bytes, str]]:
        people = {r.submitter for r in self.records.values()}
        people |= {word.person for words in self.words.values() for word in words}
        known = {one.commitment: (one.salt, one.text) for one in map(past.sealed, people)}
        return {commitment: known[commitment] for commitment in commitments}

    def stand_ins(self, replaced: Iterable[str]) -> tuple[dict[str, str], list[tuple[int, bytes]]]:
        return {}, []

    def repeat(self, key: Digest) -> Repeat | None:
        return None

    def repeats_before(self, at: datetime, limit: int) -> list[Repeat]:
        return []

    def save_repeat(self, repeat: Repeat) -> None:
        """Each denial is told."""

    def forget_repeat(self, key: Digest) -> None:
        """Each denial is told."""

    def document(self, digest: Digest) -> bytes | None:
        documents = map(past.dossier, self.records.values())
        return next(data for data in documents if digests.of_bytes(data) == digest)

    def prove(self, entries: Iterable[tuple[int, bytes]]) -> None:
        """Nobody else writes here."""

    def history(self, about: About, after: int, count: int) -> ToldEntries:
        entries = [resolve(canonical.decode_object(data), self.private) for data in self.ledger]
        wanted = [
            entry
            for entry in entries
            if entry["index"] > after
            and entry["subject"]["name"] == about.name
            and about.version in (None, entry["subject"]["version"])
        ]
        return ToldEntries(
            wanted[:count], wanted[count - 1]["index"] if len(wanted) > count else None
        )

    def of_registry(self, act: Act) -> list[dict[str, Any]]:
        return []

    def add_version(self, record: VersionRecord) -> None:
        self.records[record.uid] = record

    def save_version(self, record: VersionRecord) -> None:
        self._write(replace(record, stage=self.records[record.uid].stage))

    def move_stage(self, record: VersionRecord, target: VersionRecord) -> None:
        now = self.records[record.uid]
        if (now.stage, now.revision) != (record.stage, record.revision):
            raise Conflict(f"{record.ref} was changed meanwhile")
        self._write(target)

    def remove_version(self, record: VersionRecord) -> None:
        del self.records[record.uid]

    def block(self, digest: Digest, stage: Stage, at: datetime) -> None:
        self.withdrawn[digest] = (stage, at)

    def unblock(self, digest: Digest) -> None:
        if self.withdrawn[digest][0] is not Stage.REVOKED:
            del self.withdrawn[digest]

    def add_evidence(self, version_uid: str, items: Iterable[EvidenceItem]) -> None:
        self.items.setdefault(version_uid, []).extend(items)
        self._write(self.records[version_uid])

    def add_attachments(self, version_uid: str, attachments: Iterable[Attachment]) -> None:
        self.files.setdefault(version_uid, {}).update({a.path: a.data for a in attachments})

    def add_manifest(self, manifest: Manifest) -> None:
        self.manifests[manifest.digest] = manifest

    def add_approval(self, approval: ApprovalRecord) -> None:
        self.words.setdefault(approval.version_uid, []).append(approval)
        self._write(self.records[approval.version_uid])

    def withdraw_approval(self, approval: ApprovalRecord) -> None:
        self.words[approval.version_uid].remove(approval)
        self._write(self.records[approval.version_uid])

    def add_decision(self, decision: Decision, dossier: bytes, version_uid: str) -> Digest:
        document = decision.to_document()
        stored = {**document, "dossier": canonical.decode(dossier)}
        self.decisions.append((version_uid, stored))
        return digest.of_bytes(canonical.encode(document))

    def record(self, event: Event) -> int:
        actor = seal(event.person, secrets.token_bytes(32))
        reason = seal(event.reason, secrets.token_bytes(32)) if event.reason else None
        for sealed in (actor, reason):
            if sealed is not None:
                self.private[sealed.commitment] = sealed.text
        index = len(self.ledger)
        data = canonical.encode(build_entry(event, index, Commitments(actor, reason)))
        self.ledger.append(data)
        self.tree.append(leaf_hash(data))
        return index

    def mirrored(self, version_uid: str, attachments: Iterable[Attachment]) -> None:
        pass

    def add_task(self, kind: str, version_uid: str, *, delay_seconds: float = 0) -> None:
        pass

    def entries(self, start: int, count: int) -> list[tuple[int, bytes]]:
        return list(enumerate(self.ledger))[start : start + count]

    def entry(self, index: int) -> bytes:
        return self.ledger[index]

    def head(self) -> str:
        if not self.ledger:
            return ""
        return checkpoint.make(self.tree.size, self.tree.root, self.key)

    def inclusion_proof(self, index: int, note: str | None = None) -> InclusionProof:
        signed = checkpoint.parse(note or self.head()) if self.ledger else None
        if signed is None or index >= signed.size:
            raise NotFound(f"the ledger has no entry {index}")
        leaves = [leaf_hash(data) for data in self.ledger[: signed.size]]
        ranges = merkle.inclusion_ranges(index, signed.size)
        path = [merkle.range_root(leaves[part.start : part.stop]) for part in ranges]
        proof = InclusionProof(index, tuple(path), note or self.head())
        proof.check(leaves[index])
        return proof

    def continuation(self, old: int) -> tuple[list[bytes], str]:
        leaves = [leaf_hash(data) for data in self.ledger]
        ranges = merkle.consistency_ranges(old, len(leaves))
        return [merkle.range_root(leaves[part.start : part.stop]) for part in ranges], self.head()

    def _write(self, record: VersionRecord) -> None:
        revision = self.records[record.uid].revision + 1
        self.records[record.uid] = replace(record, revision=revision)


class Silent:
    """Catalogue and artifacts of a registry whose files are all in ``manifests``."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    def mirror(self, record: VersionRecord, tags: Mapping[str, str]) -> None:
        pass

    def set_status(self, record: VersionRecord, status: str, message: str) -> None:
        pass

    def size(self, location: str) -> int:
        return 8

    def manifest(self, location: str) -> Manifest:
        return manifest_at(location)

    @property
    def scanner(self) -> Digest:
        return SCANNER

    def inspect(self, location: str, manifest: Manifest) -> Inspection:
        return Inspection(SCANNER, CodeVerdict.CLEAN, files=len(manifest.files))

    def evidence(self, location: str) -> list[EvidenceItem]:
        return []

    def attach(self, location: str, folder: str, attachments: Iterable[Attachment]) -> None:
        pass


@dataclass
class Told:
    """An examiner that proves what the test says, and signs what it is given."""

    outcomes: dict[Kind, Outcome]
    trust_digest: Digest = TRUST

    @property
    def trust_document(self) -> Mapping[str, Any]:
        return {"trust": self.trust_digest}

    def examine(
        self,
        manifest: Manifest,
        model_name: str,
        items: Sequence[EvidenceItem],
        now: datetime,
        inspection: Inspection | None = None,
    ) -> dict[Kind, Outcome]:
        return dict(self.outcomes)

    def recognise(
        self,
        manifest: Manifest,
        model_name: str,
        item: EvidenceItem,
        now: datetime,
        beside: Sequence[EvidenceItem] = (),
    ) -> None:
        """Everything is signed by somebody trusted."""

    def sign_statement(self, statement: Mapping[str, Any]) -> bytes:
        return json.dumps({"payload": statement}, default=str).encode()


@dataclass
class Registry:
    """The registry under test; ``actor`` is who asks next."""

    store: MemoryStore
    ports: Ports
    examiner: Told
    actor: Actor
    adoptable: set[VersionRef] = field(default_factory=set)

    def services(self) -> WebServices:
        return WebServices(
            ports=self.ports,
            actor=lambda: self.actor,
            ledger=self.store,
            revocations=lambda: json.dumps(
                {"blocked": [d for d, _, _ in self.store.blocked()]}
            ).encode(),
            trust=lambda: b'{"keys":[]}',
            evidence=self.evidence,
            adopt=self.adopt,
        )

    def evidence(self, asked: Asked) -> Spool:
        return Spool("evidence.zip", io.BytesIO(f"about {asked.of}".encode()), ExitStack())

    def adopt(self, ref: VersionRef) -> None:
        if ref not in self.adoptable:
            raise NotFound(f"MLflow has no version {ref}")
        self.add(ref.name, ref.version)

    def add(
        self, name: str, version: int = 1, stage: Stage = Stage.NONE, **changes: Any
    ) -> VersionRecord:
        """A version with files; beyond None with the facts the examiner proves now."""
        location = f"models/{name}/{version}"
        manifest = manifest_at(location)
        proved = {} if stage is Stage.NONE else self.proved()
        record = VersionRecord(
            uid=secrets.token_hex(8),
            ref=VersionRef(name, version),
            stage=stage,
            location=location,
            digest=manifest.digest,
            created_at=NOW - timedelta(days=2),
            **{"submitter": "sam", **proved, **changes},
        )
        self.store.add_manifest(manifest)
        self.store.add_version(record)
        return record

    def proved(self) -> dict[str, Any]:
        return {
            "policy_digest": self.ports.policy.current().digest,
            "facts": dict(self.examiner.outcomes),
            "decision_id": secrets.token_hex(8),
            "trust_digest": self.examiner.trust_digest,
        }

    def app(self, static_prefix: str = "") -> Flask:
        app = Flask("registry")
        for blueprint in mount.blueprints(self.services(), static_prefix):
            app.register_blueprint(blueprint)
        return app


def manifest_at(location: str) -> Manifest:
    return Manifest.of(
        [FileEntry("model.pkl", 8, digest.hex_of(digest.of_bytes(location.encode())))]
    )


def good_evidence(tier: str = "high") -> dict[Kind, Outcome]:
    card = Outcome.passed(complete=True, risk_tier=tier)
    return {
        Kind.SIGNATURE: Outcome.passed(signer="sam@example.org", files=1),
        Kind.PROVENANCE: Outcome.passed(builder="https://ci.example.org/build"),
        Kind.TEST_RESULT: Outcome.passed(result="PASSED"),
        Kind.SBOM: Outcome.passed(
            components=41, format="CycloneDX", pins_checked=True, unresolved=[]
        ),
        Kind.VULNERABILITIES: Outcome.passed(
            vulnerabilities=[], scanned_at="2026-11-20T00:00:00.000000Z"
        ),
        Kind.MODEL_CARD: card,
        Kind.DATASET: Outcome.passed(datasets=[{"name": "churn-2026", "digest": TRUST}]),
        Kind.MALWARE: Outcome.passed(verdict="clean", findings=[]),
        Kind.LICENCES: Outcome.passed(licences=[]),
        Kind.LAYOUT: Outcome.missing("no layout is attached"),
        Kind.VULNERABILITY_SCAN: Outcome.missing("no scan is attached"),
        Kind.CANARY: Outcome.missing("no canary result is attached"),
        Kind.CHANGE_TICKET: Outcome.missing("no change ticket is attached"),
        Kind.SLO: Outcome.missing("no measurement is attached"),
        Kind.EVALUATION: Outcome.missing("no evaluation is attached"),
        Kind.REPRODUCTION: Outcome.missing("nobody rebuilt it"),
    }


def registry(actor: Actor | None = None, clock: Callable[[], datetime] = lambda: NOW) -> Registry:
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    store = MemoryStore(Ed25519Signer.from_pem("registry.example.org", pem))
    examiner = Told(good_evidence())
    silent = Silent(store)
    ports = Ports(
        store=store,
        artifacts=silent,
        catalogue=silent,
        policy=FixedPolicies(PolicyInForce(engine(), policies())),
        examiner=examiner,
        signer=examiner,
        rules=Rules(dashboards={}),
        clock=clock,
    )
    return Registry(store, ports, examiner, actor or security())


def warned() -> Registry:
    """A registry that asks for a complete model card in warn mode; no card is complete there."""
    made = registry()
    made.examiner.outcomes[Kind.MODEL_CARD] = Outcome.passed(complete=False, risk_tier="high")
    found = configured(modes={"ACC-006": "warn", "PRO-009": "warn"})
    made.store.forced[POLICY] = found.digest
    policy = FixedPolicies(PolicyInForce(EmbeddedEngine(found), found))
    made.ports = replace(made.ports, policy=policy)
    return made


def security(name: str = "ann") -> Actor:
    return Actor(name, ("security",), authenticated=True)


def scientist(name: str = "sam") -> Actor:
    return Actor(name, (), authenticated=True)
