"""Reads the sets and verifies what is in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from mlflow_governance.core import moment
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.evidence import attestation
from mlflow_governance.evidence.examiner import default_verifiers
from mlflow_governance.evidence.interface import Case, EvidenceItem
from mlflow_governance.evidence.trust import TrustPolicy
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.note import NoteKey
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.serving import revocations

SETS = Path(__file__).parent
ADVISORIES = "advisories"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class GoldenSet:
    """One release's files."""

    folder: Path

    @property
    def release(self) -> str:
        return self.folder.name

    @cached_property
    def expected(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "expected.json").read_bytes())
        return found

    @property
    def at(self) -> datetime:
        """The instant at which everything is verified."""
        return moment.parse(self.expected["at"])

    @cached_property
    def trust(self) -> TrustPolicy:
        return TrustPolicy.load(self.folder / "trust.yaml")

    @cached_property
    def manifest(self) -> Manifest:
        return Manifest.from_document(json.loads((self.folder / MANIFEST).read_bytes()))

    @property
    def cases(self) -> list[Golden]:
        return [
            Golden(self, entry["name"], entry["verified_by"], entry["model"], entry["items"],
                   entry.get("facts", {}))
            for entry in self.expected["cases"]
        ]  # fmt: skip


@dataclass(frozen=True)
class Golden:
    """One case: items by the name under which they are attached, each a file of the set."""

    of: GoldenSet = field(repr=False)
    name: str
    verified_by: str
    model: str
    files: Mapping[str, str] = field(repr=False)
    facts: Mapping[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.of.release}-{self.name}"

    @cached_property
    def items(self) -> dict[str, bytes]:
        return {name: (self.of.folder / file).read_bytes() for name, file in self.files.items()}

    def case(self, items: Mapping[str, bytes] | None = None) -> Case:
        """The case with these items instead of its own."""
        attached = self.items if items is None else items
        found = tuple(EvidenceItem(name, data) for name, data in attached.items())
        return Case(self.of.manifest, self.model, found, self.of.trust, self.of.at)

    def verify(self, items: Mapping[str, bytes] | None = None) -> dict[str, Any]:
        """The facts proved, as JSON values.

        Raises:
            VerificationError: nothing is.
        """
        case = self.case(items)
        if self.verified_by in OTHERS:
            facts = OTHERS[self.verified_by](case, self.of.folder)
        else:
            facts = _verifiers(self.of.folder)[self.verified_by].verify(case)
        plain: dict[str, Any] = json.loads(json.dumps(facts))
        return plain


def golden_sets() -> list[GoldenSet]:
    """Every set there is, the oldest release first."""
    folders = sorted(path.parent for path in SETS.glob("*/expected.json"))
    return [GoldenSet(folder) for folder in folders]


def golden_cases() -> list[Golden]:
    """Every case of every set."""
    return [case for found in golden_sets() for case in found.cases]


@cache
def _verifiers(folder: Path) -> dict[str, Any]:
    return {str(one.kind): one for one in default_verifiers(folder / ADVISORIES)}


# --- what no verifier of the examiner reads ---------------------------------------------------


def _statement(case: Case, folder: Path) -> dict[str, Any]:
    """A statement of any type that somebody may attest."""
    (item,) = case.items
    kind = attestation.parse_statement(attestation._open(item.data).payload).predicate_type
    (found,) = attestation.find_statements(case, kind)
    said = found.statement
    return {"type": kind, "signers": found.signers, "predicate": said.predicate}


def _revocations(case: Case, folder: Path) -> dict[str, Any]:
    (item,) = case.items
    found = revocations.verify_list(item.data, case.trust, case.now)
    return {
        "epoch": found.epoch,
        "entries": [[e.digest, e.stage, moment.to_text(e.at)] for e in found.entries.values()],
        "expires_at": moment.to_text(found.expires_at),
    }


def _ledger(case: Case, folder: Path) -> dict[str, Any]:
    """An entry, its proof, and the head of the ledger."""
    items = {item.name: item.data for item in case.items}
    key = NoteKey.parse((folder / "ledger.pub").read_text("utf-8"))
    proof = InclusionProof.parse(items["entry.tlog-proof"].decode("utf-8", "replace"))
    head = checkpoint.verify(items["checkpoint"], key)
    proof.verify(items["entry.json"], key)
    return {"index": proof.index, "size": head.size, "root": head.root.hex()}


OTHERS: Mapping[str, Callable[[Case, Path], Mapping[str, Any]]] = {
    "statement": _statement,
    "revocations": _revocations,
    "ledger": _ledger,
}
