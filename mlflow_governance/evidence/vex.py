"""Vulnerabilities that do not matter here, on the word of somebody trusted for it.

A VEX document counts when it is a signed in-toto statement about the model's digest whose signer
the trust policy allows ``vex``: OpenVEX (``openvex``) or CycloneDX VEX (``cyclonedx_vex``). Of
what is said about one vulnerability in one place, the newest word counts, and of words of the same
moment the graver. Only ``not_affected`` and ``fixed`` clear. Whatever cannot be verified or read
clears nothing and is told as a problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from types import ModuleType
from typing import Any

from mlflow_governance.core import digest
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import attestation, cyclonedx_vex, openvex, predicate
from mlflow_governance.evidence.attestation import SUFFIX, VerifiedStatement
from mlflow_governance.evidence.interface import Case, EvidenceItem
from mlflow_governance.evidence.predicate import CYCLONEDX_TYPES, Purpose
from mlflow_governance.evidence.vex_claims import Claim, Scope, folded

MAX_CLAIMS = 5_000
"""Statements read for one model, all documents together."""
MAX_TARGETS = 20_000
"""Products named in them."""
_MAX_PROBLEMS = 20
_MAX_WORDS = 300


@dataclass(frozen=True)
class Verdict:
    """The word that counts about a vulnerability in a component, and whose it is."""

    claim: Claim
    signer: str

    def to_document(self) -> dict[str, Any]:
        """The verdict as policy sees it."""
        return {
            "status": self.claim.status.value,
            "justification": self.claim.justification,
            "signer": self.signer,
        }


@dataclass(frozen=True)
class Statements:
    """What all documents say, by each name of a vulnerability; and what does not count."""

    by_name: Mapping[str, tuple[Verdict, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def about(self, names: Iterable[str], component: str) -> Verdict | None:
        """The word that counts about a vulnerability of these names in this component."""
        said = (verdict for name in folded(names) for verdict in self.by_name.get(name, ()))
        return max(
            (verdict for verdict in said if verdict.claim.covers(component)),
            key=lambda verdict: (verdict.claim.at, not verdict.claim.status.clears),
            default=None,
        )


def split(case: Case) -> tuple[Case, Case]:
    """The case without what says it is a VEX document, and the case with that alone.

    What cannot be read could be one, and is told as a problem there.
    """
    found = [(item, _claims_vex(item)) for item in case.items]
    return (
        replace(case, items=tuple(item for item, is_vex in found if not is_vex)),
        replace(case, items=tuple(item for item, is_vex in found if is_vex)),
    )


def collect(case: Case, bom: Mapping[str, Any], refs: Mapping[str, str]) -> Statements:
    """Every statement that counts for this model.

    Args:
        case: the documents, and whom to trust.
        bom: the signed SBOM the findings are about.
        refs: its components by ``bom-ref``, as findings name them.
    """
    problems: list[str] = []
    verified: list[VerifiedStatement] = []
    for item in sorted(case.items, key=lambda entry: entry.name):
        try:
            verified += _verified(case, item)
        except VerificationError as error:
            problems.append(f"{item.name}: {error.message}")
    by_name: dict[str, list[Verdict]] = {}
    claims = targets = 0
    for document in _newest(verified):
        try:
            # All or nothing: half a document may lack the word that takes another back.
            said = list(_read(document, _scope(case, bom, refs, document)))
        except VerificationError as error:
            problems.append(f"{document.item_name}: {error.message}")
            continue
        signer = ", ".join(document.signers)
        for word in said:
            if isinstance(word, str):
                problems.append(f"{document.item_name}: {word}")
                continue
            claims, targets = claims + 1, targets + len(word.targets)
            for name in word.names:
                by_name.setdefault(name, []).append(Verdict(word, signer))
    if claims > MAX_CLAIMS or targets > MAX_TARGETS:
        problems.append(f"more than {MAX_CLAIMS} statements or {MAX_TARGETS} products: none counts")
        by_name = {}
    found = {name: tuple(verdicts) for name, verdicts in by_name.items()}
    return Statements(found, tuple(_told(problems)))


def _claims_vex(item: EvidenceItem) -> bool:
    if not item.name.endswith(SUFFIX):
        return False
    try:
        found = attestation.claimed(item)
    except VerificationError:
        return True
    return predicate.purpose_of(found.predicate_type, found.predicate) is Purpose.VEX


def _verified(case: Case, item: EvidenceItem) -> list[VerifiedStatement]:
    kind = attestation.claimed(item).predicate_type
    alone = replace(case, items=(item,))
    found = attestation.find_statements(alone, kind, Purpose.VEX)
    for document in found:
        if kind in CYCLONEDX_TYPES:
            cyclonedx_vex.check(document.statement.predicate)
    return found


def _format(document: VerifiedStatement) -> ModuleType:
    cyclonedx = document.statement.predicate_type in CYCLONEDX_TYPES
    return cyclonedx_vex if cyclonedx else openvex


def _newest(documents: list[VerifiedStatement]) -> list[VerifiedStatement]:
    """Without those of which the same signers wrote a higher version."""
    highest: dict[tuple[str, tuple[str, ...]], int] = {}
    for document in documents:
        name, version = _format(document).identity(document.statement.predicate)
        key = (name, document.signers)
        highest[key] = max(version, highest.get(key, 0))

    def counts(document: VerifiedStatement) -> bool:
        name, version = _format(document).identity(document.statement.predicate)
        return not name or version == highest[name, document.signers]

    return [document for document in documents if counts(document)]


def _read(document: VerifiedStatement, scope: Scope) -> Iterator[Claim | str]:
    body = document.statement.predicate
    found: Iterator[Claim | str] = _format(document).claims(body, scope)
    return found


def _scope(
    case: Case, bom: Mapping[str, Any], refs: Mapping[str, str], document: VerifiedStatement
) -> Scope:
    wanted = digest.hex_of(case.manifest.digest)
    serial = str(bom.get("serialNumber", "")).removeprefix("urn:uuid:")
    return Scope(
        model=case.model_name,
        digest=wanted,
        subjects=frozenset(
            subject.name
            for subject in document.statement.subjects
            if subject.name and subject.digest.get("sha256") == wanted
        ),
        serial=f"urn:cdx:{serial}/{bom.get('version', 1)}" if serial else "",
        described=str(bom.get("metadata", {}).get("component", {}).get("bom-ref", "")),
        refs=refs,
        now=case.now,
    )


def _told(problems: list[str]) -> Iterator[str]:
    for problem in islice(problems, _MAX_PROBLEMS):
        yield problem[:_MAX_WORDS].encode("utf-8", "replace").decode("utf-8")
    if len(problems) > _MAX_PROBLEMS:
        yield f"and {len(problems) - _MAX_PROBLEMS} more"
