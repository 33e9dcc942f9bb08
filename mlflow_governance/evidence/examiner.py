"""Runs every verifier over a version's evidence and never raises for what is in it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Outcome, Status
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.errors import (
    EvidenceMissing,
    GovernanceError,
    InvalidRequest,
    VerificationError,
)
from mlflow_governance.evidence import attestation, signature
from mlflow_governance.evidence.evaluation import CanaryVerifier, TestResultVerifier
from mlflow_governance.evidence.inspection import Inspection
from mlflow_governance.evidence.interface import MAX_ITEM_BYTES, Case, EvidenceItem, Kind, Verifier
from mlflow_governance.evidence.panics import contained
from mlflow_governance.evidence.provenance import ProvenanceVerifier
from mlflow_governance.evidence.signature import SignatureVerifier
from mlflow_governance.evidence.trust import TrustPolicy

_log = logging.getLogger(__name__)

_MAX_PROBLEM = 4000
_MAX_UNSIGNED = 256 * 1024
"""Bytes of an item beside what is signed, twice its length for base64: certificates, stamps."""


class EvidenceExaminer:
    """Fulfils :class:`~mlflow_governance.workflows.ports.Examiner`. Safe to share between threads.

    Args:
        trust: whom to believe.
        verifiers: one for each kind of evidence.
    """

    def __init__(self, trust: TrustPolicy, verifiers: Sequence[Verifier]) -> None:
        if len({verifier.kind for verifier in verifiers}) != len(verifiers):
            raise ValueError("two verifiers of one kind")
        self._trust = trust
        self._verifiers = tuple(verifiers)

    @property
    def trust_digest(self) -> Digest:
        """Digest of the trust policy in force."""
        return self._trust.digest

    @property
    def trust_document(self) -> Mapping[str, Any]:
        """The trust policy in force, all material in it."""
        return self._trust.to_document()

    def examine(
        self,
        manifest: Manifest,
        model_name: str,
        items: Sequence[EvidenceItem],
        now: datetime,
        inspection: Inspection | None = None,
    ) -> dict[Kind, Outcome]:
        """One outcome a kind; never raises for what the evidence contains."""
        case = Case(manifest, model_name, tuple(items), self._trust, now, inspection)
        return {verifier.kind: _outcome(verifier, case) for verifier in self._verifiers}

    def recognise(
        self,
        manifest: Manifest,
        model_name: str,
        item: EvidenceItem,
        now: datetime,
        beside: Sequence[EvidenceItem] = (),
    ) -> None:
        """Check that a statement or signature is about this content, by somebody trusted, and new.

        Whoever may bring evidence may bring anybody's, again or from long ago. It must not fill
        the room there is with what is known, nor turn what is proved into a contradiction.

        Raises:
            VerificationError: it is not, or does.
        """
        alone = Case(manifest, model_name, (item,), self._trust, now)
        _refuse_oversized(alone)
        signers = _recognised(alone)
        said = attestation.payload(item)
        if len(item.data) > 2 * len(said) + _MAX_UNSIGNED:
            raise VerificationError(f"most of {item.name} is nothing that was signed")
        for other in beside:
            if attestation.payload(other) == said and signers <= self._signers(alone, other):
                raise VerificationError(f"{other.name} says the same already")
        if beside:
            self._refuse_spoiling(replace(alone, items=tuple(beside)), item)

    def _signers(self, case: Case, other: EvidenceItem) -> set[str]:
        try:
            return _recognised(replace(case, items=(other,)))
        except VerificationError:
            return set()

    def _refuse_spoiling(self, case: Case, item: EvidenceItem) -> None:
        more = replace(case, items=(*case.items, item))
        for verifier in self._verifiers:
            if _outcome(verifier, case).status is not Status.PASSED:
                continue
            outcome = _outcome(verifier, more)
            if outcome.status is not Status.PASSED:
                raise VerificationError(
                    f"{item.name} contradicts what is attached: {outcome.problem}",
                    advice="If the version is not what it should be: mlflow-governance quarantine "
                    "NAME/VERSION --reason WHY",
                )


def default_verifiers(advisories: Path | None) -> tuple[Verifier, ...]:
    """A verifier for every kind; ``advisories`` is the folder of OSV records, if there is one."""
    from mlflow_governance.evidence.change_ticket import ChangeTicketVerifier
    from mlflow_governance.evidence.dataset import DatasetVerifier
    from mlflow_governance.evidence.layout import LayoutVerifier
    from mlflow_governance.evidence.licence import LicenceVerifier
    from mlflow_governance.evidence.malware import MalwareVerifier
    from mlflow_governance.evidence.model_card import ModelCardVerifier
    from mlflow_governance.evidence.reproduction import ReproductionVerifier
    from mlflow_governance.evidence.sbom import SbomVerifier
    from mlflow_governance.evidence.scan_result import VulnerabilityScanVerifier
    from mlflow_governance.evidence.scores import EvaluationVerifier
    from mlflow_governance.evidence.slo import SloVerifier
    from mlflow_governance.evidence.vulnerability import VulnerabilityVerifier

    return (
        SignatureVerifier(),
        ProvenanceVerifier(),
        TestResultVerifier(),
        SbomVerifier(),
        VulnerabilityVerifier(advisories),
        ModelCardVerifier(),
        DatasetVerifier(),
        CanaryVerifier(),
        VulnerabilityScanVerifier(),
        LayoutVerifier(),
        LicenceVerifier(),
        MalwareVerifier(),
        ChangeTicketVerifier(),
        SloVerifier(),
        EvaluationVerifier(),
        ReproductionVerifier(),
    )


def _recognised(case: Case) -> set[str]:
    (item,) = case.items
    if signature.is_signature(item.name):
        return signature.recognise(case)
    return attestation.recognise(case)


def _outcome(verifier: Verifier, case: Case) -> Outcome:
    try:
        _refuse_oversized(case)
        with contained():
            facts = dict(verifier.verify(case))
        _refuse_unencodable(facts)
        return Outcome.passed(**facts)
    except EvidenceMissing as error:
        return Outcome.missing(_sentence(error))
    except VerificationError as error:
        return Outcome.failed(_sentence(error))
    except Exception:
        # Nothing is known now, and policy takes that for a no.
        _log.exception("the %s verifier broke", verifier.kind)
        return Outcome.error(f"the {verifier.kind} verifier broke; the server's log says how")


def _refuse_oversized(case: Case) -> None:
    for item in case.items:
        if len(item.data) > MAX_ITEM_BYTES:
            raise VerificationError(
                f"{item.name} has {len(item.data)} bytes; at most {MAX_ITEM_BYTES} are read"
            )


def _refuse_unencodable(facts: dict[str, Any]) -> None:
    try:
        canonical.encode(facts)
    except InvalidRequest as error:
        raise VerificationError(f"no dossier can hold what was proved: {error.message}") from error


def _sentence(error: GovernanceError) -> str:
    """What is wrong and what mends it. Foreign bytes may be quoted in it: make it fit for
    canonical JSON, and short.
    """
    text = f"{error.message}. {error.advice}" if error.advice else error.message
    return text[:_MAX_PROBLEM].encode("utf-8", "replace").decode("utf-8")
