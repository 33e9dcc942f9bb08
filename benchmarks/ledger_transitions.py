"""Durable transitions through the workflow's own transaction, beside the bare database.

What is timed is what happens while every other writer waits: the stage here and at MLflow, the
decision with its dossier, the signed summary, the entry, the event and the task, in one commit.
Evidence is verified and policy asked before, and by as many at once as there are processors.
"""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.databases import ABSENT, KINDS, database
from benchmarks.history import questions
from benchmarks.measure import Scale, alternate
from benchmarks.report import Row, Spread
from mlflow_governance.bootstrap import StatementSigner
from mlflow_governance.core import moment
from mlflow_governance.core.decision import Decision
from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.dossier import Dossier, Gate
from mlflow_governance.core.event import Act
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.resources import folder as resource_folder
from mlflow_governance.core.stage import Stage
from mlflow_governance.evidence.keys import generate_key_pair, load_private_key
from mlflow_governance.ledger.note import Ed25519Signer
from mlflow_governance.policy.bundle import load
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import PolicyInForce
from mlflow_governance.store.migrate import upgrade
from mlflow_governance.store.mlflow_tables import model_versions
from mlflow_governance.store.sessions import Sessions, session_factory_for
from mlflow_governance.store.tables import versions
from mlflow_governance.store.unit_of_work import SqlStore
from mlflow_governance.workflows.judge import Judgement
from mlflow_governance.workflows.ports import Ports, Request, Rules, VersionRecord
from mlflow_governance.workflows.record import write_allowed

_AIM = 1_000
_BLOCK = 50
_COMPONENTS = 20
"""Vulnerabilities a dossier lists, which then has some ten kilobytes."""


def run(folder: Path, scale: Scale) -> Iterator[Row]:
    """On SQLite in a file and, where one is named, on PostgreSQL; every commit synced."""
    for kind in KINDS:
        with database(kind, folder) as url:
            if url is None:
                yield Row.absent(f"ledger: durable transitions on {kind}", ABSENT)
                continue
            yield _transitions(kind, url, folder, scale.pick(30, 6))


def _transitions(kind: str, url: str, folder: Path, blocks: int) -> Row:
    registry = Registry.open(url, folder)
    try:
        judgements = registry.judged(_BLOCK * (blocks + 1))

        def promote() -> None:
            for judgement in itertools.islice(judgements, _BLOCK):
                registry.promote(judgement)

        promote()
        limit = Bare.open(registry.sessions, registry.bytes_each())
        found = alternate(blocks, ours=promote, limit=limit.commits)
        limit.close()
    finally:
        registry.sessions.dispose()
    ours = Spread.rate(found["ours"], _BLOCK)
    return Row(
        f"ledger: durable transitions on {kind} (limit: bare commits of {limit.size:,} bytes)",
        "1/s",
        ours,
        Spread.rate(found["limit"], _BLOCK),
        f"{found['ours'].speed_beside(found['limit']):.2f}x",
        f"≥ {_AIM:,}/s",
        ours.p50 >= _AIM,
    )


@dataclass
class Bare:
    """The database alone: a row of so many bytes a commit, through its own driver."""

    connection: Any
    statement: str
    size: int

    @classmethod
    def open(cls, sessions: Sessions, size: int) -> Bare:
        """With a table of its own."""
        connection = sessions.engine.raw_connection()
        mark = "%s" if sessions.engine.dialect.name == "postgresql" else "?"
        kind = "BYTEA" if mark == "%s" else "BLOB"
        connection.cursor().execute(f"CREATE TABLE bare (data {kind})")
        connection.commit()
        return cls(connection, f"INSERT INTO bare VALUES ({mark})", size)

    def commits(self) -> None:
        """As many as a block has."""
        cursor = self.connection.cursor()
        for _ in range(_BLOCK):
            cursor.execute(self.statement, (os.urandom(self.size),))
            self.connection.commit()

    def close(self) -> None:
        """Give the connection back."""
        self.connection.close()


@dataclass
class Registry:
    """A store with versions in it, and the judgement that promotes each of them."""

    sessions: Sessions
    ports: Ports
    policy: PolicyInForce
    asked: Dossier
    decision: Decision

    @classmethod
    def open(cls, url: str, folder: Path) -> Registry:
        """With the shipped policies, over an empty database."""
        upgrade(url)
        sessions = session_factory_for(url)
        model_versions.metadata.create_all(sessions.engine)
        key = folder / f"{uuid.uuid4().hex}.pem"
        generate_key_pair(key)
        ledger = Ed25519Signer("bench/ledger", Ed25519PrivateKey.generate())
        bundle = load(resource_folder("policies"))
        policy = PolicyInForce(EmbeddedEngine(bundle), bundle)
        asked = next(
            made for made in questions(bundle.digest, _COMPONENTS)
            if made.gate is Gate.PROMOTE and made.subject.stage is Stage.CANDIDATE
        )  # fmt: skip
        decision = decide(policy.engine, asked)
        if not decision.allow:
            raise RuntimeError(decision.explain("the benchmark would measure refusals"))
        nothing: Any = None
        ports = Ports(
            store=SqlStore(sessions, ledger_signer=ledger),
            artifacts=nothing,
            catalogue=nothing,
            policy=cast(Any, _One(policy)),
            examiner=cast(Any, _Trust()),
            signer=StatementSigner(load_private_key(key)),
            rules=Rules(),
            clock=moment.now,
        )
        return cls(sessions, ports, policy, asked, decision)

    def judged(self, count: int) -> Iterator[Judgement]:
        """Versions at Candidate, each with the judgement that lets it go to Staging."""
        made = [self._judgement(number) for number in range(count)]
        rows, theirs = [], []
        for judgement in made:
            record = judgement.record
            ref = record.ref
            rows.append({
                "uid": record.uid, "workspace": ref.workspace, "name": ref.name,
                "version": ref.version, "stage": record.stage.value, "location": record.location,
                "submitter": record.submitter, "digest": record.digest, "decision_id": "",
                "created_at": datetime.now(UTC), "revision": 0,
            })  # fmt: skip
            theirs.append({
                "workspace": ref.workspace, "name": ref.name, "version": ref.version,
                "current_stage": record.stage.value,
            })  # fmt: skip
        with self.sessions.engine.begin() as connection:
            connection.execute(sa.insert(versions), rows)
            connection.execute(sa.insert(model_versions), theirs)
        return iter(made)

    def promote(self, judgement: Judgement) -> None:
        """What a transition writes."""
        target = judgement.record.with_(
            stage=Stage.STAGING,
            policy_digest=judgement.decision.policy_digest,
            decision_id=judgement.decision.decision_id,
            facts=judgement.evidence,
            trust_digest=judgement.trust_digest,
        )
        with self.ports.store.begin() as work:
            write_allowed(self.ports, work, judgement, Act.VERSION_TRANSITIONED, target)

    def bytes_each(self) -> int:
        """What one transition leaves in the columns that hold documents, on the average."""
        columns = (
            "entry) FROM governance_ledger_entries", "document) FROM governance_decisions",
            "data) FROM governance_blobs", "facts) FROM governance_versions",
        )  # fmt: skip
        with self.sessions.engine.connect() as connection:
            sums = [connection.exec_driver_sql(f"SELECT length({c}").scalars() for c in columns]
            total = sum(length for found in sums for length in found if length)
            count = "SELECT count(*) FROM governance_decisions"
            return int(total / connection.exec_driver_sql(count).scalar_one())

    def _judgement(self, number: int) -> Judgement:
        # Every dossier is another, as every version is.
        uid = uuid.uuid4().hex
        ref = VersionRef("bench", number + 1)
        made = replace(
            self.asked,
            subject=replace(self.asked.subject, ref=ref, uid=uid, policy_digest=None),
            now=datetime.now(UTC),
        )
        decision = replace(self.decision, dossier_digest=made.digest, decision_id=uuid.uuid4().hex)
        record = VersionRecord(
            uid, ref, Stage.CANDIDATE, f"1/models/{uid}/artifacts", "dora", made.subject.digest
        )
        request = Request(made.actor, ref, "the canary is green")
        return Judgement(request, record, made, decision, self.policy, _Trust.trust_digest)


@dataclass(frozen=True)
class _One:
    """Policies of which there is one."""

    policy: PolicyInForce

    def current(self) -> PolicyInForce:
        """The one."""
        return self.policy


class _Trust:
    """An examiner that is asked for its trust policy only."""

    trust_document: dict[str, Any] = {}  # noqa: RUF012  (read, never written)
    trust_digest: Digest = of_bytes(b"{}")
