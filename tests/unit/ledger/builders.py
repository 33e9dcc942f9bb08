"""Builders for ledger tests: keys, events, and ledgers made of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mlflow_governance.core import canonical
from mlflow_governance.core.event import Act, Event
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.entry import Commitments, build_entry, seal
from mlflow_governance.ledger.merkle import Growing, leaf_hash
from mlflow_governance.ledger.note import Ed25519Signer, NoteKey

AT = datetime(2026, 11, 21, 3, 4, 5, 6, tzinfo=UTC)
NAME = "registry.example.org/ledger"


def signer(name: str = NAME) -> Ed25519Signer:
    return Ed25519Signer(name, Ed25519PrivateKey.generate())


@dataclass(frozen=True)
class EcdsaSigner:
    """A ledger key as most devices hold it."""

    name: str
    private: ec.EllipticCurvePrivateKey

    @property
    def key(self) -> NoteKey:
        info = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return NoteKey.from_pem(self.name, self.private.public_key().public_bytes(*info))

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data, ec.ECDSA(SHA256()))


def ecdsa_signer(name: str = NAME) -> EcdsaSigner:
    return EcdsaSigner(name, ec.generate_private_key(ec.SECP256R1()))


def event(number: int = 0, **changes: object) -> Event:
    values: dict[str, object] = {
        "act": Act.VERSION_TRANSITIONED,
        "person": "ann",
        "at": AT,
        "subject": {"name": "churn", "version": 3, "workspace": "default", "uid": "u1"},
        "before": {"stage": "Candidate"},
        "after": {"stage": "Staging"},
        "reason": f"because of {number}",
        "event_id": f"{number:032x}",
    }
    return Event(**(values | changes))  # type: ignore[arg-type]


def encoded(index: int, **changes: object) -> bytes:
    happened = event(index, **changes)
    salt = hashlib.sha256(str(index).encode()).digest()
    sealed = Commitments(seal(happened.person, salt), seal(happened.reason, salt))
    return canonical.encode(build_entry(happened, index, sealed))


@dataclass
class SmallLedger:
    """A ledger in memory, with the checkpoint signed after each entry."""

    signer: Ed25519Signer
    entries: list[tuple[int, bytes]]
    notes: list[str]
    """``notes[n]`` is the head at n entries."""

    @property
    def key(self) -> NoteKey:
        return self.signer.key

    @property
    def leaves(self) -> list[bytes]:
        return [leaf_hash(data) for _, data in self.entries]


def small_ledger(size: int) -> SmallLedger:
    key = signer()
    tree = Growing()
    notes = [checkpoint.make(0, tree.root, key)]
    entries = []
    for index in range(size):
        data = encoded(index)
        entries.append((index, data))
        tree.append(leaf_hash(data))
        notes.append(checkpoint.make(index + 1, tree.root, key))
    return SmallLedger(key, entries, notes)
