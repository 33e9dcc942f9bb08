"""Builders for ledger tests: keys, events, and ledgers made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
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
from mlflow_governance.ledger.merkle import CompactRange, Growing, leaf_hash
from mlflow_governance.ledger.nodes import Node, completed
from mlflow_governance.ledger.note import Ed25519Signer, NoteKey
from mlflow_governance.ledger.part import check_part
from mlflow_governance.ledger.verify import Claims, LedgerReport, Outline, Verification

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


def verify_ledger(
    entries: Iterable[tuple[int, bytes]],
    head: str,
    checkpoints: Iterable[str],
    key: NoteKey,
    leaves: Sequence[bytes] | None = None,
) -> LedgerReport:
    """Verify entries as if they were the rows of a database; by default with their own leaves."""
    rows = [
        [index, data, leaf, Act.VERSION_TRANSITIONED.value, "u1", "2026-11-21T03:04:05.000006Z"]
        for (index, data), leaf in zip(
            entries, leaves or [leaf_hash(data) for _, data in entries], strict=False
        )
    ]
    return verify_rows(rows, head, checkpoints, key)


def verify_rows(
    rows: Sequence[Sequence[object]],
    head: str,
    checkpoints: Iterable[str],
    key: NoteKey,
) -> LedgerReport:
    claims = Claims.read(head, checkpoints, key)
    tree, kept = CompactRange(), list[Node]()
    for row in rows[: claims.head.size]:
        leaf = bytes(row[2])  # type: ignore[call-overload]
        kept += completed(tree, leaf)
        tree = tree.append(leaf)
    positions = [row[0] for row in rows]
    outline = Outline(
        head,
        claims.head.size,
        tree.to_bytes(),
        min(positions, default=None),  # type: ignore[type-var]
        max(positions, default=None),  # type: ignore[type-var]
        levels={1: (len(kept), 0, len(kept) - 1)} if kept else {},
    )
    run = Verification(claims, outline)
    for task in run.tasks():
        part = [row for row in rows if row[0] in task.leaves]
        run.take(check_part(task, part, {node.position: node.hash for node in kept}))
    return run.report()
