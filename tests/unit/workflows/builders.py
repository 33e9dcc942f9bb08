"""A registry in one process: real store, ledger and policy; folders for artifacts; set outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mlflow_governance.bootstrap import StatementSigner
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.event import Act
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import NotFound, VerificationError
from mlflow_governance.evidence.hashing import directory_size, hash_directory
from mlflow_governance.evidence.inspection import CodeVerdict, Inspection
from mlflow_governance.evidence.interface import EvidenceItem, Kind
from mlflow_governance.evidence.keys import generate_key_pair, load_private_key
from mlflow_governance.ledger.note import Ed25519Signer
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import PolicyEngine, PolicyInForce
from mlflow_governance.store.ledger import SqlLedger
from mlflow_governance.store.mlflow_tables import model_versions
from mlflow_governance.store.sessions import Sessions, session_factory_for
from mlflow_governance.store.tables import ledger_entries
from mlflow_governance.store.unit_of_work import SqlStore
from mlflow_governance.workflows.accept import register, settle
from mlflow_governance.workflows.judge import Judgement
from mlflow_governance.workflows.ports import Attachment, Ports, Request, Rules, VersionRecord
from tests.unit.policy.builders import EVIDENCE, shipped
from tests.unit.store.prepared import with_version_tables
from tests.unit.workflows.fixed_policies import FixedPolicies

ALICE = Actor("alice", ("security",), authenticated=True)
SAM = Actor("sam", ("security",), authenticated=True)
PIA = Actor("pia", ("product",), authenticated=True)
EVE = Actor("eve", ("evaluator",), authenticated=True)
ROOT = Actor("root", (), admin=True, authenticated=True)
NOBODY = Actor.anonymous()

GOOD = {Kind(kind): outcome for kind, outcome in EVIDENCE.items()}


SCANNER = of_bytes(b"scanner")


@dataclass
class FolderArtifacts:
    """Models in folders; a location is a folder's name."""

    root: Path
    away: bool = False

    def size(self, location: str) -> int:
        return directory_size(self._folder(location))

    def manifest(self, location: str) -> Manifest:
        return hash_directory(self._folder(location))

    @property
    def scanner(self) -> Digest:
        return SCANNER

    def inspect(self, location: str, manifest: Manifest) -> Inspection:
        return Inspection(SCANNER, CodeVerdict.CLEAN, files=len(manifest.files))

    def evidence(self, location: str) -> list[EvidenceItem]:
        return []

    def attach(self, location: str, folder: str, attachments: Iterable[Attachment]) -> None:
        for attachment in attachments:
            path = self._folder(location) / folder / attachment.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(attachment.data)

    def _folder(self, location: str) -> Path:
        if self.away or not (self.root / location).is_dir():
            raise NotFound(f"there is no model directory at {location}")
        return self.root / location


@dataclass
class TagBook:
    """MLflow's side, as a dictionary."""

    tags: dict[str, Mapping[str, str]] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)

    def mirror(self, record: VersionRecord, tags: Mapping[str, str]) -> None:
        self.tags[str(record.ref)] = dict(tags)

    def set_status(self, record: VersionRecord, status: str, message: str) -> None:
        self.statuses[str(record.ref)] = status


@dataclass
class SetOutcomes:
    """An examiner that finds what the test says; everything is good unless said otherwise."""

    spoiled: dict[Kind, Outcome] = field(default_factory=dict)

    @property
    def trust_digest(self) -> Digest:
        return of_bytes(repr(sorted(self.spoiled)).encode())

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
        return GOOD | self.spoiled

    def recognise(
        self,
        manifest: Manifest,
        model_name: str,
        item: EvidenceItem,
        now: datetime,
        beside: Sequence[EvidenceItem] = (),
    ) -> None:
        if not item.data.startswith(b"{"):
            raise VerificationError(f"{item.name} is not a statement of anybody trusted")


@dataclass
class Clock:
    """Moves one second at each look."""

    now: datetime = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@cache
def policy() -> PolicyInForce:
    """The shipped policy, compiled once in a process."""
    return PolicyInForce(EmbeddedEngine(shipped()), shipped())


class InProcessRegistry:
    """Everything a workflow needs, in a folder."""

    def __init__(self, folder: Path, *, url: str = "", rules: Rules | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        url = url or f"sqlite:///{folder / 'registry.db'}"
        with_version_tables(url)
        self.sessions: Sessions = session_factory_for(url)
        for name in ("ledger.pem", "registry.pem"):
            if not (folder / name).exists():  # a folder opened again is the same registry
                generate_key_pair(folder / name, algorithm="ed25519")
        key = Ed25519Signer.from_pem("test/ledger", (folder / "ledger.pem").read_bytes())
        self.signer, self.ledger_key = key, key.key
        self.ledger = SqlLedger(self.sessions)
        self.artifacts = FolderArtifacts(folder / "models")
        self.book = TagBook()
        self.outcomes = SetOutcomes()
        self.ports = Ports(
            store=SqlStore(self.sessions, ledger_signer=key),
            artifacts=self.artifacts,
            catalogue=self.book,
            policy=FixedPolicies(policy()),
            examiner=self.outcomes,
            signer=StatementSigner(load_private_key(folder / "registry.pem")),
            rules=rules or Rules(dashboards={}),
            clock=Clock(),
        )

    @property
    def engine(self) -> PolicyEngine:
        """What evaluates the policy in force."""
        return self.ports.policy.current().engine

    def ask(self, engine: PolicyEngine) -> None:
        """Have this engine asked from now on."""
        policy = replace(self.ports.policy.current(), engine=engine)
        self.ports = replace(self.ports, policy=FixedPolicies(policy))

    def model(self, location: str, content: str = "weights") -> None:
        """Write a model directory."""
        folder = self.artifacts.root / location
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "MLmodel").write_text("flavors: {}\n")
        (folder / "model.bin").write_text(content)

    def register(
        self, name: str, version: int = 1, *, location: str = "", actor: Actor = ALICE
    ) -> VersionRef:
        """A version at None, its bytes written if there are none yet."""
        place = location or f"{name}-{version}"
        if not (self.artifacts.root / place).is_dir():
            self.model(place, f"weights of {name} {version}")
        ref = VersionRef(name, version)

        def row() -> tuple[VersionRef, str]:
            return ref, place

        with self.sessions.engine.begin() as connection:
            connection.execute(
                sa.insert(model_versions).values(
                    workspace=ref.workspace, name=name, version=version, current_stage="None"
                )
            )
        register(self.ports, lambda r: Request(actor, r), row, later=False)
        return ref

    def settle(self, ref: VersionRef, actor: Actor = ALICE) -> Judgement:
        """Hash and judge."""
        return settle(self.ports, Request(actor, ref))

    def accepted(self, name: str, version: int = 1, *, location: str = "") -> VersionRef:
        """A version at Candidate."""
        ref = self.register(name, version, location=location)
        self.settle(ref)
        return ref

    def record(self, ref: VersionRef) -> VersionRecord:
        """The version as the store has it."""
        with self.ports.store.read() as reading:
            found = reading.version(ref)
        assert found is not None
        return found

    def with_rules(self, **changes: object) -> None:
        """Change the rules."""
        self.ports = replace(self.ports, rules=replace(self.ports.rules, **changes))

    def mlflow_stage(self, ref: VersionRef) -> str:
        """The stage in MLflow's own table."""
        with self.sessions.engine.connect() as connection:
            statement = sa.select(model_versions.c.current_stage).where(
                model_versions.c.name == ref.name, model_versions.c.version == ref.version
            )
            return str(connection.execute(statement).scalar_one())

    def trust_changes(self) -> int:
        """Entries that say nothing but what the trust policy is: they ride with the others."""
        query = sa.select(sa.func.count()).where(ledger_entries.c.act == Act.TRUST_CHANGED.value)
        with self.sessions.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def entries(self) -> int:
        """Ledger entries; the whole ledger verifies."""
        return self.ledger.verify(self.ledger_key).size
