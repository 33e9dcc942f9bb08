"""in-toto Statements (attestation framework v1) and how the trusted ones are found.

A statement counts when all of these hold, checked in this order:

1. the item is a DSSE envelope, or a Sigstore bundle v0.3 around one;
2. its payload is a well-formed Statement v1 (or v0.1) of the predicate type asked for;
3. a key signed it that the trust policy allows for this type, this model and this moment;
4. one of its subjects is the digest of the model's manifest;
5. the predicate fits its schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow_governance.core import canonical, digest
from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import EvidenceMissing, InvalidRequest, VerificationError
from mlflow_governance.evidence import bundle, envelope, predicate
from mlflow_governance.evidence.authority import When
from mlflow_governance.evidence.envelope import Envelope
from mlflow_governance.evidence.interface import MAX_ITEM_BYTES, Case, EvidenceItem
from mlflow_governance.evidence.predicate import (
    CANARY,
    CYCLONEDX,
    DATASET,
    RELEASE,
    SLSA_PROVENANCE,
    TEST_RESULT,
    VSA,
    Purpose,
)

__all__ = [
    "CANARY",
    "CYCLONEDX",
    "DATASET",
    "RELEASE",
    "SLSA_PROVENANCE",
    "TEST_RESULT",
    "VSA",
    "Purpose",
    "ResourceDescriptor",
    "Statement",
    "VerifiedStatement",
    "claimed",
    "find_statements",
    "parse_statement",
    "statement",
]

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_STATEMENT_TYPES = (STATEMENT_TYPE, "https://in-toto.io/Statement/v0.1")
"""What is read. cosign still writes v0.1, whose fields are the same."""
SUFFIX = ".intoto.json"

_VERDICTS = frozenset(
    {Purpose.TEST_RESULT, Purpose.CANARY, Purpose.VULNERABILITY_SCAN, Purpose.VEX}
    | {Purpose.CHANGE_TICKET, Purpose.SLO, Purpose.EVALUATION, Purpose.REPRODUCTION}
)
_MAX_SUBJECTS = 1024
_MAX_TEXT = 1024
_HEX = re.compile(r"[0-9a-f]{8,128}")


@dataclass(frozen=True, slots=True)
class ResourceDescriptor:
    """A subject: its name, which is informative, and its digests by algorithm."""

    name: str
    digest: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Statement:
    """A Statement v1."""

    subjects: tuple[ResourceDescriptor, ...]
    predicate_type: str
    predicate: Mapping[str, Any]

    def is_about(self, subject: Digest) -> bool:
        """True when one of the subjects has this SHA-256."""
        wanted = digest.hex_of(subject)
        return any(entry.digest.get("sha256") == wanted for entry in self.subjects)


@dataclass(frozen=True, slots=True)
class VerifiedStatement:
    """A statement that counts, with the names of those who signed it."""

    statement: Statement
    signers: tuple[str, ...]
    item_name: str
    proof: When | None = None
    """When it was signed, where somebody trusted proves that."""


def statement(
    subject_name: str, subject: Digest, predicate_type: str, body: Mapping[str, Any]
) -> dict[str, Any]:
    """A Statement v1 about one subject, as the JSON value to encode and sign."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": subject_name, "digest": {"sha256": digest.hex_of(subject)}}],
        "predicateType": predicate_type,
        "predicate": dict(body),
    }


def parse_statement(payload: bytes) -> Statement:
    """Read a Statement from outside.

    Raises:
        VerificationError: not a Statement v1, or beyond the bounds.
    """
    try:
        document = canonical.decode_object(payload, max_bytes=MAX_ITEM_BYTES)
    except InvalidRequest as error:
        raise VerificationError(f"not an in-toto Statement: {error.message}") from error
    subjects, body = document.get("subject"), document.get("predicate")
    kind = document.get("predicateType")
    if document.get("_type") not in _STATEMENT_TYPES:
        raise VerificationError(f"not an in-toto Statement: _type is not {STATEMENT_TYPE}")
    if not isinstance(subjects, list) or not 1 <= len(subjects) <= _MAX_SUBJECTS:
        raise VerificationError(f"not an in-toto Statement: 1 to {_MAX_SUBJECTS} subjects are read")
    if not isinstance(kind, str) or not 0 < len(kind) <= _MAX_TEXT:
        raise VerificationError("not an in-toto Statement: predicateType is not a short text")
    if not isinstance(body, dict):
        raise VerificationError("not an in-toto Statement: the predicate is not an object")
    return Statement(tuple(_descriptor(entry) for entry in subjects), kind, body)


def find_statements(
    case: Case, predicate_type: str | Sequence[str], purpose: Purpose | None = None
) -> list[VerifiedStatement]:
    """Every statement of a predicate type that counts for this model, ordered by item name.

    Args:
        case: the evidence, and whom to trust.
        predicate_type: the URI looked for, or several that say the same kind of thing.
        purpose: what the signer must be trusted for, when it is not the usual one of that type.

    Raises:
        EvidenceMissing: no item is of that type.
        VerificationError: some are and none counts, or fewer signed than a threshold asks for;
            the message names each and says why.
    """
    found = _counting(case, predicate_type, purpose)
    wanted = purpose or predicate.PURPOSES[_kinds(predicate_type)[0]]
    names = {name for entry in found for name in entry.signers}
    case.trust.require(wanted, case.model_name, names)
    return found


def _kinds(predicate_type: str | Sequence[str]) -> tuple[str, ...]:
    return (predicate_type,) if isinstance(predicate_type, str) else tuple(predicate_type)


def _counting(
    case: Case, predicate_type: str | Sequence[str], purpose: Purpose | None = None
) -> list[VerifiedStatement]:
    kinds = _kinds(predicate_type)
    wanted = purpose or predicate.PURPOSES.get(kinds[0])
    if wanted is None:
        raise VerificationError(f"nobody may attest {kinds[0]}")
    found: list[VerifiedStatement] = []
    problems: list[str] = []
    refused: list[VerificationError] = []
    for item in sorted(case.items, key=lambda entry: entry.name):
        if not item.name.endswith(SUFFIX):
            continue
        try:
            verified = _verify_item(case, item, kinds, wanted)
        except VerificationError as error:
            problems.append(f"{item.name}: {error.message}")
            refused.append(error)
        else:
            found.extend(verified)
    if found:
        return found
    if problems:
        advice = next(filter(None, (error.advice for error in refused)), "")
        raise VerificationError("; ".join(problems), advice=advice)
    raise EvidenceMissing(
        f"no attestation of the type {' or '.join(kinds)} is attached",
        advice=f"Attach a signed statement as governance/evidence/NAME{SUFFIX}.",
    )


def recognise(case: Case) -> set[str]:
    """Who trusted signed the one item of a case, a statement about this model.

    Raises:
        VerificationError: nobody, or it is none; says why.
    """
    (item,) = case.items
    found = claimed(item)
    purpose = predicate.purpose_of(found.predicate_type, found.predicate)
    if purpose is Purpose.REGISTRY:
        raise VerificationError(f"{item.name} is the word of a registry, which is no evidence here")
    # Of several signers that must agree one comes first: thresholds are for what stands together.
    counting = _counting(case, found.predicate_type, purpose)
    return {name for entry in counting for name in entry.signers}


def payload(item: EvidenceItem) -> bytes:
    """What the signatures of an item are over; nothing where it does not enclose that."""
    try:
        return _open(item.data).payload
    except VerificationError:
        return b""


def claimed(item: EvidenceItem) -> Statement:
    """What an item says, whoever signed it: to see what it is, never to believe it.

    Raises:
        VerificationError: it is no statement.
    """
    return parse_statement(_open(item.data).payload)


def is_verdict(item: EvidenceItem) -> bool:
    """True for what somebody else says about the content, under whatever version (_VERDICTS)."""
    if not item.name.endswith(SUFFIX):
        return False
    try:
        found = claimed(item)
    except VerificationError:
        return False
    return predicate.purpose_of(found.predicate_type, found.predicate) in _VERDICTS


def _verify_item(
    case: Case, item: EvidenceItem, kinds: Sequence[str], purpose: Purpose
) -> list[VerifiedStatement]:
    """Nothing when the item is of another type. An unreadable item may be of any: it raises."""
    enclosed, found = case.once(("statement", item), lambda: _read(item))
    said = predicate.purpose_of(found.predicate_type, found.predicate)
    if found.predicate_type not in kinds or (said is Purpose.VEX) is not (purpose is Purpose.VEX):
        return []  # a VEX in CycloneDX is no second SBOM, whoever signed it
    counting = case.trust.counting(enclosed, purpose, case.model_name, case.now)
    if not found.is_about(case.manifest.digest):
        raise VerificationError(f"it is about another subject than {case.manifest.digest}")
    predicate.check(found.predicate_type, found.predicate)
    names = tuple(sorted({signer.name for signer, _ in counting}))
    proof = next((when for _, when in counting if when.proved), None)
    return [VerifiedStatement(found, names, item.name, proof)]


def _read(item: EvidenceItem) -> tuple[Envelope, Statement]:
    enclosed = _open(item.data)
    return enclosed, parse_statement(enclosed.payload)


def _open(data: bytes) -> Envelope:
    enclosed = bundle.parse(data) if bundle.is_bundle(data) else envelope.parse(data)
    if enclosed.payload_type != envelope.IN_TOTO:
        raise VerificationError(f"the payload is not {envelope.IN_TOTO}")
    return enclosed


def _descriptor(entry: object) -> ResourceDescriptor:
    digests = entry.get("digest") if isinstance(entry, dict) else None
    name = entry.get("name", "") if isinstance(entry, dict) else None
    sound = (
        isinstance(name, str)
        and len(name) <= _MAX_TEXT
        and isinstance(digests, dict)
        and 0 < len(digests) <= 16
        and all(isinstance(v, str) and _HEX.fullmatch(v) for v in digests.values())
    )
    if not sound or not isinstance(name, str) or not isinstance(digests, dict):
        raise VerificationError("not an in-toto Statement: a subject has no sound digest")
    return ResourceDescriptor(name, digests)
