"""The registry's word about a version: its newest signed verification summary.

Summaries are SLSA verification summaries v1, one a decision. Those of the gates ``accept``,
``promote`` and ``withdraw`` say where a version is; the others say nothing about that. A refusal
leaves the version where it was, so it is not heard: otherwise whoever asks for a transition they
may not have could stop a model. What takes a model out of use is a withdrawal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from mlflow_governance.core import digest, moment
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import EvidenceMissing, InvalidRequest, VerificationError
from mlflow_governance.evidence import envelope, predicate
from mlflow_governance.evidence.attestation import parse_statement
from mlflow_governance.evidence.interface import Case, EvidenceItem
from mlflow_governance.evidence.predicate import VSA, Purpose
from mlflow_governance.serving.revocations import CLOCK_SKEW

_POLICY = "urn:mlflow-governance:policy:"
_LEVEL = "MLFLOW_GOVERNANCE_"
_STAGES = {stage.value.upper(): stage for stage in Stage}
_HEARD = frozenset({Gate.ACCEPT, Gate.PROMOTE, Gate.WITHDRAW})
_MAX_PROBLEMS = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a version stands since a decision that moved or renewed it."""

    at: datetime
    gate: Gate
    stage: Stage
    policy_digest: Digest
    name: str


def newest_verdict(case: Case, ref: VersionRef) -> Verdict:
    """The newest word of the registry about exactly this version and content.

    The stage is that of the newest summary; the policy is that of the newest judgement.

    Args:
        case: the content, whom to trust, and the summaries as items.
        ref: the version.

    Raises:
        EvidenceMissing: the registry has said nothing about it.
        VerificationError: there are summaries and none counts; says why.
    """
    found: list[Verdict] = []
    problems: list[str] = []
    for item in case.items:
        try:
            verdict = _read(case, ref, item)
        except VerificationError as error:
            problems.append(f"{item.name}: {error.message}")
        else:
            found.extend([verdict] if verdict else [])
    if any(verdict.gate is not Gate.WITHDRAW for verdict in found):
        return _standing(found)
    if problems:
        raise VerificationError("; ".join(problems[:_MAX_PROBLEMS]))
    raise EvidenceMissing(f"the registry has not decided about {ref} with this content")


def _standing(found: Sequence[Verdict]) -> Verdict:
    last = _newest(found)
    judged = _newest([verdict for verdict in found if verdict.gate is not Gate.WITHDRAW])
    if last is judged:
        return judged
    # Coming back from quarantine is no judgement: the policy of the last one still has to count.
    return replace(last, policy_digest=judged.policy_digest)


def _newest(found: Sequence[Verdict]) -> Verdict:
    # Of two at one instant a withdrawal counts.
    return max(found, key=lambda verdict: (verdict.at, verdict.gate is Gate.WITHDRAW))


def _read(case: Case, ref: VersionRef, item: EvidenceItem) -> Verdict | None:
    enclosed = envelope.parse(item.data)
    if enclosed.payload_type != envelope.IN_TOTO:
        raise VerificationError(f"the payload is not {envelope.IN_TOTO}")
    case.trust.verify(enclosed, Purpose.REGISTRY, case.model_name, case.now)
    found = parse_statement(enclosed.payload)
    if found.predicate_type != VSA:
        raise VerificationError(f"it is not of the type {VSA}")
    predicate.check(VSA, found.predicate)
    if not found.is_about(case.manifest.digest):
        raise VerificationError(f"it is about another content than {case.manifest.digest}")
    if found.predicate["resourceUri"] != f"models:/{ref}":
        raise VerificationError(
            f"it is about {found.predicate['resourceUri']!r}, not models:/{ref}"
        )
    try:
        return _verdict(found.predicate, case.now, item.name)
    except (KeyError, ValueError, IndexError, InvalidRequest) as error:
        raise VerificationError("it is no summary of this registry's kind") from error


def _verdict(body: Mapping[str, Any], now: datetime, name: str) -> Verdict | None:
    policy, levels = body["policy"], body["verifiedLevels"]
    gate = Gate(str(policy["uri"]).removeprefix(_POLICY))
    passed = body["verificationResult"] == "PASSED"
    if gate not in _HEARD or not passed:
        return None
    at = moment.parse(body["timeVerified"])
    if at > now + CLOCK_SKEW:
        raise VerificationError(f"it is of the future: {moment.to_text(at)}")
    stage = _STAGES[str(levels[0]).removeprefix(_LEVEL)]
    return Verdict(at, gate, stage, digest.parse(f"sha256:{policy['digest']['sha256']}"), name)
