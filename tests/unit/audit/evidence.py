"""A builder of small evidence bundles, from the layout alone: it shares nothing with the product's.

``Story`` tells what happens to one version and writes the ledger as it goes. Each step can be told
otherwise, and ``files`` can be changed before they are signed: that is how a bundle is forged by
whoever has everything but the ledger's key, or even that.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mlflow_governance.core import canonical
from mlflow_governance.core.resources import folder
from mlflow_governance.ledger import merkle
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.policy import bundle as policies
from tests.unit.audit.builders import MemoryLedger
from tests.unit.ledger.builders import encoded

PAYLOAD_TYPE = "application/vnd.mlflow-governance.evidence+json"
MODEL = canonical.encode([{"name": "model.pkl", "sha256": "ab" * 32, "size": 7}])
STATEMENT = b'{"payload":"a statement"}'

Files = dict[str, bytes]


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@cache
def policy() -> policies.Bundle:
    return policies.load(folder("policies"))


@dataclass
class Story:
    """One version on its way, and the ledger that tells of it."""

    name: str = "churn"
    workspace: str = "default"
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    registry: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    files: Files = field(default_factory=dict)
    openings: dict[str, dict[str, str]] = field(default_factory=dict)
    approvals: list[dict[str, Any]] = field(default_factory=list)
    mine: list[int] = field(default_factory=list)
    words: list[dict[str, Any]] = field(default_factory=list)
    stage: str = "None"
    uid: str = "u1"
    exported: dict[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> dict[str, Any]:
        return {
            "name": self.name, "version": 3, "workspace": self.workspace, "uid": self.uid,
            "digest": digest(MODEL),
        }  # fmt: skip

    def entry(self, act: str, person: str = "bob", **changes: Any) -> int:
        """Append an entry about the version; returns its index."""
        index = len(self.ledger.rows)
        document = {
            "schema": 1, "index": index, "event_id": f"{index:032x}", "act": act,
            "at": self.at(index), "actor": self.seal(person), "reason": None, "allowed": True,
            "subject": self.subject, "before": {"stage": self.stage},
            "after": {"stage": self.stage}, "decision_id": "", "decision_digest": "", "facts": {},
        } | changes  # fmt: skip
        self.ledger.append(canonical.encode(document))
        self.mine.append(index)
        return index

    def at(self, index: int) -> str:
        return f"2026-11-21T{index // 60 % 24:02d}:{index % 60:02d}:00.000000Z"

    def seal(self, text: str) -> str:
        salt = hashlib.sha256(f"{len(self.openings)}{text}".encode()).digest()
        commitment = digest(salt + text.encode())
        self.openings[commitment] = {"salt": salt.hex(), "text": text}
        return commitment

    def others(self, count: int) -> None:
        """Entries about other versions."""
        for index in range(len(self.ledger.rows), len(self.ledger.rows) + count):
            about = {**self.subject, "name": "demand", "uid": "u9"}
            self.ledger.append(encoded(index, subject=about))

    def register(self, person: str = "bob") -> None:
        self.entry("version.registered", person, before={}, after={"stage": "None"})

    def attach(self, data: bytes = STATEMENT) -> None:
        name = "attestations/canary.intoto.json"
        self.entry("evidence.attached", facts={"name": name, "digest": digest(data)})
        self.files[f"{self.folder}evidence/{name}"] = data

    def approve(self, person: str = "ann", role: str = "risk", **changes: Any) -> dict[str, Any]:
        uid = f"a{len(self.words)}"
        facts = {"role": role, "decision": "approve", "approval": uid, "supersedes": None}
        index = self.entry("approval.given", person, facts=facts | changes)
        word = {
            "person": person, "role": role, "decision": "approve", "at": self.at(index),
            "model_digest": digest(MODEL), "policy_digest": policy().digest,
        }  # fmt: skip
        self.words.append(word)
        told = {"index": index, "version": f"{self.name}/3", "workspace": self.workspace}
        self.approvals.append({**word, **told, "reason": "", "withdrawn": False})
        return word

    def move(self, to: str, act: str = "version.transitioned", **changes: Any) -> int:
        """Decide and carry out a transition; changes: ``dossier``, ``decision``, ``entry``."""
        number = len(self.ledger.rows)
        dossier = {
            "schema": 1, "gate": "promote", "actor": {"id": "bob"}, "now": self.at(number),
            "action": {"from": self.stage, "to": to}, "approvals": list(self.words),
            "subject": {**self.subject, "stage": self.stage, "submitter": "bob"},
            "evidence": {}, "attached": [], "runtime": {},
        } | changes.get("dossier", {})  # fmt: skip
        input_ = canonical.encode(dossier)
        decision = {
            "decision_id": f"d{number}", "gate": "promote", "allow": True,
            "policy_digest": policy().digest, "dossier_digest": digest(input_),
        } | changes.get("decision", {})  # fmt: skip
        answer = canonical.encode(decision)
        self.files[f"decisions/{decision['decision_id']}.json"] = answer
        self.files[f"dossiers/{decision['dossier_digest'][7:]}.json"] = input_
        facts = {key: decision[key] for key in ("gate", "policy_digest", "dossier_digest")}
        entry = {
            "after": {"stage": to}, "decision_id": decision["decision_id"],
            "decision_digest": digest(answer), "facts": facts,
        } | changes.get("entry", {})  # fmt: skip
        index = self.entry(act, **entry)
        if entry.get("allowed", True):
            self.stage = to
        return index

    def export(self, **changes: Any) -> None:
        """Append the registry's word for what the bundle holds."""
        self.exported = {"of": {"name": self.name, "version": 3, "workspace": self.workspace},
                         "pseudonymous": False, "entries": list(self.mine)} | changes  # fmt: skip
        self.entry("evidence.exported", "audrey", facts=self.exported)

    @property
    def folder(self) -> str:
        space = "" if self.workspace == "default" else f"{self.workspace}%3A"
        return f"versions/{space}{self.name}/3/"

    @property
    def vkey(self) -> str:
        return self.ledger.vkey

    def registry_pem(self) -> bytes:
        public = self.registry.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def collect(self) -> Files:
        """Every file but the manifest."""
        found = dict(self.files)
        rows = self.ledger.rows
        for index in self.mine:
            found[f"ledger/entries/{index}.json"] = rows[index][1]
            path = tuple(
                merkle.range_root(rows[at][2] for at in part)
                for part in merkle.inclusion_ranges(index, len(rows))
            )
            proof = InclusionProof(index, path, self.ledger.note).encode()
            found[f"ledger/proofs/{index}.tlog-proof"] = proof.encode()
        found |= {
            "ledger/checkpoint": self.ledger.note.encode(),
            "openings.json": canonical.encode(self.openings),
            "approvals.json": canonical.encode(self.approvals),
            "keys/ledger.vkeys": f"{self.vkey}\n".encode(),
            "keys/registry.pub": self.registry_pem(),
            "trust.yaml": b"version: 1\nsigners: []\n",
            "report.html": b"<h1>released</h1>",
            "README.txt": b"what it is\n",
            "verify.py": b"# the verifier\n",
            f"policies/{policy().digest[7:]}.tar.gz": policy().archive(),
            f"{self.folder}manifest.json": MODEL,
            f"{self.folder}attached/decision.json": b"{}",
        }
        return found

    def manifest(self, files: Mapping[str, bytes], **changes: Any) -> bytes:
        """Of these files, unsigned."""
        return canonical.encode(
            {
                "schema": 1,
                "of": self.exported.get("of"),
                "made_at": "2026-11-21T03:04:05.000000Z",
                "registry": "registry.example.org",
                "ledger": {"origin": self.ledger.signer.name, "size": len(self.ledger.rows)},
                "files": {name: digest(data) for name, data in sorted(files.items())},
            }
            | changes
        )

    def sign(self, manifest: bytes) -> bytes:
        kind = PAYLOAD_TYPE.encode()
        message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(manifest), manifest)
        made = base64.b64encode(self.registry.sign(message)).decode()
        return canonical.encode(
            {
                "payload": base64.b64encode(manifest).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"keyid": "", "sig": made}],
            }
        )

    def bundle(self, change: Callable[[Files], object] | None = None, **manifest: Any) -> Files:
        """Every file, signed; ``change`` them before that, as the registry itself could."""
        files = self.collect()
        if change is not None:
            change(files)
        made = self.manifest(files, **manifest)
        return {**files, "manifest.json": made, "manifest.dsse": self.sign(made)}


def told(**changes: Any) -> Story:
    """A version that was registered by bob, approved by ann, and released."""
    story = Story(**changes)
    story.others(3)
    story.register()
    story.move("Candidate")
    story.attach()
    story.move("Staging")
    story.approve()
    story.move("Approved")
    story.others(2)
    story.export()
    return story


def zipped(files: Mapping[str, bytes]) -> bytes:
    """The archive, as the layout has it."""
    to = io.BytesIO()
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return to.getvalue()


def unpacked(files: Mapping[str, bytes], to: Path) -> Path:
    """The same in a folder."""
    for name, data in files.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_bytes(data)
    return to
