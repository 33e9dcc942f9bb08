"""Ledgers told by hand: whatever dates, workspaces and acts a test wants, signed and in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from mlflow_governance.core import canonical, moment
from mlflow_governance.core.event import Act, Event
from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger import checkpoint, merkle
from mlflow_governance.ledger.entry import Commitments, build_entry, seal
from mlflow_governance.ledger.merkle import leaf_hash
from mlflow_governance.ledger.note import Ed25519Signer, LedgerKey
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.ledger.verify import LedgerReport
from mlflow_governance.workflows.chronicle import Witnessed
from tests.unit.ledger.builders import signer

DIGEST = "sha256:" + "d" * 64
POLICY = "sha256:" + "a" * 64
TRUST = "sha256:" + "b" * 64


def state(stage: str) -> dict[str, Any]:
    return {"stage": stage, "policy_digest": POLICY, "trust_digest": TRUST}


class TellTale:
    """A ledger in memory (:class:`workflows.chronicle.Chronicle`)."""

    def __init__(self) -> None:
        self.signer: Ed25519Signer = signer()
        self.stored: list[bytes] = []
        self.names: dict[str, str] = {}
        self._signed = 0

    # What a test tells -------------------------------------------------------------------------

    def tell(self, act: Act, at: str, person: str = "ann", reason: str = "", **more: Any) -> int:
        """Append an entry; returns its index."""
        index = len(self.stored)
        event = Event(act, person, moment.parse(at), reason=reason, **more)
        salt = hashlib.sha256(str(index).encode()).digest()
        actor, why = seal(person, salt), seal(reason, salt) if reason else None
        for one in filter(None, (actor, why)):
            self.names[one.commitment] = one.text
        self.stored.append(canonical.encode(build_entry(event, index, Commitments(actor, why))))
        self._signed = len(self.stored)
        return index

    def registered(self, at: str, name: str = "churn", version: int = 1, **more: Any) -> int:
        return self.tell(
            Act.VERSION_REGISTERED, at, subject=subject(name, version, **more),
            after=state("None"),
        )  # fmt: skip

    def moved(self, at: str, before: str, after: str, name: str = "churn", version: int = 1,
              reason: str = "", **more: Any) -> int:  # fmt: skip
        return self.tell(
            Act.VERSION_TRANSITIONED, at, reason=reason, subject=subject(name, version, **more),
            before=state(before), after=state(after), decision_id=f"d{len(self.stored)}",
            decision_digest=DIGEST, facts={"gate": "promote"},
        )  # fmt: skip

    def pointed(self, at: str, before: int | None, after: int, alias: str = "champion",
                **more: Any) -> int:  # fmt: skip
        action = {"alias": alias, "as_written": alias, "from_version": before, "to_version": after}
        return self.tell(
            Act.ALIAS_MOVED, at, subject=subject(more.pop("name", "churn"), after, **more),
            before=state("Approved"), after=state("Approved"),
            decision_id=f"d{len(self.stored)}", decision_digest=DIGEST,
            facts={"gate": "alias", "action": action},
        )  # fmt: skip

    def witnessed(self, exported: Iterable[str] = ()) -> Witnessed:
        return Witnessed(self, self.signer.key, lambda: exported)

    def note(self, size: int) -> str:
        root = merkle.range_root(leaf_hash(data) for data in self.stored[:size])
        return checkpoint.make(size, root, self.signer)

    # What reads it -----------------------------------------------------------------------------

    def head(self) -> str:
        if not hasattr(self, "_head") or self._head[0] != self._signed:
            self._head = (self._signed, self.note(self._signed))
        return self._head[1] if self._signed else ""

    def entries(self, start: int, count: int) -> list[tuple[int, bytes]]:
        return list(enumerate(self.stored))[start : start + count]

    def inclusion_proof(self, index: int) -> InclusionProof:
        leaves = [leaf_hash(data) for data in self.stored]
        path = [
            merkle.range_root(leaves[part.start : part.stop])
            for part in merkle.inclusion_ranges(index, len(leaves))
        ]
        return InclusionProof(index, tuple(path), self.head())

    def private(self, commitments: Iterable[str]) -> dict[str, str]:
        return {c: self.names[c] for c in commitments if c in self.names}

    def verify(self, key: LedgerKey, checkpoints: Iterable[str]) -> LedgerReport:
        head = checkpoint.verify(self.head(), key)
        notes = [checkpoint.verify(note, key) for note in checkpoints]
        if any(note.size > head.size for note in notes):
            raise LedgerError("the ledger was rolled back")
        root = merkle.range_root(leaf_hash(data) for _, data in self.entries(0, head.size))
        if root != head.root:
            raise LedgerError("an entry was edited")
        return LedgerReport(head.origin, head.size, root.hex(), len(notes))


def subject(name: str, version: int, workspace: str = "default", uid: str = "") -> dict[str, Any]:
    return {
        "name": name, "version": version, "workspace": workspace, "digest": DIGEST,
        "uid": uid or f"{workspace}-{name}-{version}",
    }  # fmt: skip


def day(number: int, time: str = "12:00:00") -> str:
    """An instant of November."""
    return f"2026-11-{number:02}T{time}Z"


def at(text: str) -> datetime:
    return moment.parse(text)
