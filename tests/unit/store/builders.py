"""Builders for store tests: migrated databases, stores on them, and the values they keep."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mlflow_governance.core import canonical
from mlflow_governance.core import digest as digests
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.decision import Decision, Reason
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Gate, Outcome
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.person import Person
from mlflow_governance.core.stage import Stage
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.ledger.note import Ed25519Signer, NoteKey
from mlflow_governance.store.events import event_body
from mlflow_governance.store.ledger import SqlLedger
from mlflow_governance.store.mlflow_tables import model_versions
from mlflow_governance.store.packing import pack, unpack
from mlflow_governance.store.sessions import Sessions, session_factory_for
from mlflow_governance.store.unit_of_work import SqlStore
from mlflow_governance.workflows.ports import ApprovalRecord, VersionRecord
from mlflow_governance.workflows.privacy import Erasure, Office, erase
from tests.unit.store.prepared import with_all_tables

AT = datetime(2026, 11, 21, 3, 4, 5, 6, tzinfo=UTC)
MODEL, OTHER_MODEL = digests.of_bytes(b"model"), digests.of_bytes(b"other model")
POLICY = digests.of_bytes(b"policy")


class Unsigned:
    """Signs nothing."""

    def sign_statement(self, statement: Mapping[str, Any]) -> bytes:
        return canonical.encode({"payload": statement})


@dataclass
class Database:
    """A migrated database, with what MLflow keeps of versions beside our tables."""

    sessions: Sessions
    signer: Ed25519Signer
    store: SqlStore
    ledger: SqlLedger

    @property
    def key(self) -> NoteKey:
        return self.signer.key

    def run(self, statement: str, **values: Any) -> list[Any]:
        """What somebody with write access to the database does behind our back."""
        with self.sessions.engine.begin() as connection:
            result = connection.execute(sa.text(statement), values)
            return list(result) if result.returns_rows else []

    def entry(self, position: int) -> bytes:
        """An entry as it is kept, unpacked."""
        (row,) = self.run("SELECT entry FROM governance_ledger_entries WHERE position = :p",
                          p=position)  # fmt: skip
        return unpack(bytes(row[0]))

    def write_entry(self, position: int, data: bytes) -> None:
        """Put other bytes in its place."""
        self.run("UPDATE governance_ledger_entries SET entry = :data WHERE position = :p",
                 data=pack(data), p=position)  # fmt: skip

    def told(self, position: int) -> dict[str, Any]:
        """What receivers of events are told of an entry."""
        with self.sessions.engine.connect() as connection:
            return canonical.decode_object(event_body(connection, position))

    def count(self, table: str) -> int:
        return int(self.run(f"SELECT count(*) FROM {table}")[0][0])

    def register(self, **changes: Any) -> VersionRecord:
        """A version in MLflow's table and in ours."""
        record = version(**changes)
        row = {
            "workspace": record.ref.workspace,
            "name": record.ref.name,
            "version": record.ref.version,
            "current_stage": record.stage.value,
        }
        with self.sessions.engine.begin() as connection:
            connection.execute(sa.insert(model_versions), row)
        with self.store.begin() as uow:
            uow.add_version(record)
        return record

    def erase(self, name: str) -> str:
        """Erase a person; the pseudonym that stands for them."""
        erasure = Erasure(Person.known_as(name), Actor("os:ops"), "request 17")
        return erase(Office(self.store, Unsigned()), erasure).pseudonym

    def fill(self, entries: int) -> None:
        """Record some events."""
        for number in range(entries):
            with self.store.begin() as uow:
                uow.record(event(reason=f"reason {number}"))

    def fill_at_once(self, entries: int) -> None:
        """Record many events in one transaction."""
        with self.store.begin() as uow:
            for number in range(entries):
                uow.record(event(reason=f"reason {number}"))


def open_database(url: str) -> Database:
    with_all_tables(url)
    sessions = session_factory_for(url)
    signer = Ed25519Signer("registry.example.org/ledger", Ed25519PrivateKey.generate())
    store = SqlStore(sessions, ledger_signer=signer)
    return Database(sessions, signer, store, SqlLedger(sessions))


def home_of(database: Database, home: Path) -> Path:
    """A home folder that verifies this database: the ledger's public key and checkpoints."""
    for folder in ("keys", "checkpoints"):
        (home / folder).mkdir(parents=True)
    (home / "config.yaml").write_text("registry_name: registry.example.org\n", "utf-8")
    pem = database.signer.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (home / "keys" / "ledger.pub").write_bytes(pem)
    return home


def version(**changes: Any) -> VersionRecord:
    values: dict[str, Any] = {
        "uid": uuid.uuid4().hex,
        "ref": VersionRef("churn", 1),
        "stage": Stage.CANDIDATE,
        "location": "1/models/m-1/artifacts",
        "submitter": "bob",
        "digest": MODEL,
        "created_at": AT,
    }
    return VersionRecord(**(values | changes))


def proved(record: VersionRecord) -> VersionRecord:
    """The record with everything in it that can be set."""
    return record.with_(
        policy_digest=POLICY,
        quarantined_from=Stage.STAGING,
        decision_id="d1",
        facts={Kind.SIGNATURE: Outcome.passed(signer="ann"), Kind.SBOM: Outcome.missing("none")},
        trust_digest=digests.of_bytes(b"trust"),
    )


def event(**changes: Any) -> Event:
    values: dict[str, Any] = {
        "act": Act.VERSION_TRANSITIONED,
        "person": "ann",
        "at": AT,
        "subject": {
            "name": "churn", "version": 1, "workspace": "default", "uid": "u1", "digest": MODEL,
        },
        "before": {"stage": "Candidate"},
        "after": {"stage": "Staging"},
        "reason": "tests passed",
    }  # fmt: skip
    return Event(**(values | changes))


def approval(record: VersionRecord, **changes: Any) -> ApprovalRecord:
    values: dict[str, Any] = {
        "uid": uuid.uuid4().hex,
        "version_uid": record.uid,
        "person": "ann",
        "role": "security",
        "decision": "approve",
        "model_digest": MODEL,
        "policy_digest": POLICY,
        "reason": "looked at it",
        "at": AT,
    }
    return ApprovalRecord(**(values | changes))


def decision(gate: Gate = Gate.PROMOTE, **changes: Any) -> tuple[Decision, bytes]:
    """A decision and the bytes of its dossier."""
    dossier = canonical.encode({"gate": gate.value, "nonce": uuid.uuid4().hex})
    values: dict[str, Any] = {
        "gate": gate,
        "allow": False,
        "checks": {"PRO-001": False},
        "reasons": (Reason("PRO-001", "evidence.signature", "no signature", "sign it"),),
        "policy_digest": POLICY,
        "dossier_digest": digests.of_bytes(dossier),
        "engine": "test",
    }
    return Decision(**(values | changes)), dossier


def other(digest: Digest, number: int) -> Digest:
    return digests.of_bytes(f"{digest}{number}".encode())
