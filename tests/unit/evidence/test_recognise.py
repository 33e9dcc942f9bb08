"""Evidence that is brought later: by whoever may, which must not be able to do harm with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import attestation, signature
from mlflow_governance.evidence.examiner import EvidenceExaminer, default_verifiers
from mlflow_governance.evidence.interface import EvidenceItem
from tests.unit.evidence.bom_builders import bom, library
from tests.unit.evidence.builders import (
    HOUR,
    MANIFEST,
    MODEL,
    NOW,
    PROVENANCE_BODY,
    attest,
    canary_body,
    key,
    results_body,
    signer,
    trust,
)

_OTHER_BUILD = {
    **PROVENANCE_BODY,
    "runDetails": {
        "builder": {"id": "https://example.com/builder"},
        "metadata": {"invocationId": "run-0"},
    },
}


def item(name: str, kind: str, body: Any, by: str = "pipeline") -> EvidenceItem:
    return EvidenceItem(f"attestations/{name}.intoto.json", attest(kind, body, by=[key(by)]))


PROVENANCE = item("provenance", attestation.SLSA_PROVENANCE, PROVENANCE_BODY)
SBOM = item("sbom", attestation.CYCLONEDX, bom(library("numpy")))
TESTS = item("tests", attestation.TEST_RESULT, results_body())


def bring(late: EvidenceItem, *beside: EvidenceItem) -> None:
    policy = trust(signer("pipeline"), signer("lab"))
    EvidenceExaminer(policy, default_verifiers(None)).recognise(MANIFEST, MODEL, late, NOW, beside)


@pytest.mark.parametrize(
    ("late", "there"),
    [
        (item("old", attestation.SLSA_PROVENANCE, _OTHER_BUILD), PROVENANCE),
        (item("old", attestation.CYCLONEDX, bom(library("scipy"))), SBOM),
        (
            item("late", attestation.CANARY, canary_body(at=NOW + HOUR)),
            item("canary", attestation.CANARY, canary_body()),
        ),
    ],
)
def test_what_would_break_a_good_version_is_not_taken_in(
    late: EvidenceItem, there: EvidenceItem
) -> None:
    with pytest.raises(VerificationError, match="contradicts what is attached"):
        bring(late, there, TESTS)


@pytest.mark.parametrize("result", ["FAILED", "PASSED"])
def test_a_verdict_is_taken_in_whatever_it_says(result: str) -> None:
    bring(item("more", attestation.TEST_RESULT, results_body(result), "lab"), PROVENANCE, TESTS)
    bring(item("more", attestation.CANARY, canary_body("ROLLBACK")), PROVENANCE, TESTS)


def test_the_same_statement_under_another_name_is_not_taken_in_again() -> None:
    padded = json.dumps(json.loads(TESTS.data), indent=4).encode()
    again = EvidenceItem("attestations/again.intoto.json", padded)

    with pytest.raises(VerificationError, match=r"tests\.intoto\.json says the same already"):
        bring(again, PROVENANCE, TESTS)


def test_another_signer_may_say_the_same() -> None:
    bring(item("lab", attestation.TEST_RESULT, results_body(), "lab"), TESTS)


def test_the_same_statement_of_nobody_trusted_keeps_nobody_out() -> None:
    forged = item("forged", attestation.TEST_RESULT, results_body(), "stranger")

    bring(TESTS, forged)


def test_a_second_signature_of_the_same_signer_is_not_taken_in() -> None:
    def signed(name: str) -> EvidenceItem:
        return EvidenceItem(name, signature.sign_model(MANIFEST, MODEL, key()))

    with pytest.raises(VerificationError, match="says the same already"):
        bring(signed("signatures/again"), signed("model.sig"))


def test_a_statement_wrapped_in_much_that_nobody_signed_is_not_taken_in() -> None:
    padded = EvidenceItem("attestations/big.intoto.json", TESTS.data + b" " * 300_000)

    with pytest.raises(VerificationError, match="nothing that was signed"):
        bring(padded)


def test_the_word_of_a_registry_is_no_evidence() -> None:
    release = item("release", attestation.RELEASE, {})

    with pytest.raises(VerificationError, match="word of a registry"):
        bring(release)
