import logging

import pytest

from mlflow_governance.core.dossier import Status
from mlflow_governance.errors import ConfigurationError, EvidenceMissing, VerificationError
from mlflow_governance.evidence import attestation, evaluation, interface, signature
from mlflow_governance.evidence.examiner import EvidenceExaminer, default_verifiers
from mlflow_governance.evidence.interface import EvidenceItem, Kind
from mlflow_governance.evidence.provenance import ProvenanceVerifier
from tests.unit.evidence import builders

CRYPTOGRAPHIC = (
    signature.SignatureVerifier(),
    ProvenanceVerifier(),
    evaluation.TestResultVerifier(),
    evaluation.CanaryVerifier(),
)


class _Saying:
    """A verifier that does one thing."""

    def __init__(self, answer, kind=Kind.SIGNATURE):
        self.kind = kind
        self._answer = answer

    def verify(self, case):
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


def _examine(*verifiers, items=()):
    examiner = EvidenceExaminer(builders.trust(), verifiers)
    attached = [EvidenceItem(name, data) for name, data in items]
    return examiner.examine(builders.MANIFEST, builders.MODEL, attached, builders.NOW)


def test_a_model_with_good_evidence_passes_and_what_is_absent_is_missing():
    outcomes = _examine(
        *CRYPTOGRAPHIC,
        items=[
            ("model.sig", signature.sign_model(builders.MANIFEST, "churn", builders.key())),
            (
                "p.intoto.json",
                builders.attest(attestation.SLSA_PROVENANCE, builders.PROVENANCE_BODY),
            ),
            ("t.intoto.json", builders.attest(attestation.TEST_RESULT, builders.results_body())),
        ],
    )

    assert {kind: outcome.status for kind, outcome in outcomes.items()} == {
        Kind.SIGNATURE: Status.PASSED,
        Kind.PROVENANCE: Status.PASSED,
        Kind.TEST_RESULT: Status.PASSED,
        Kind.CANARY: Status.MISSING,
    }
    assert outcomes[Kind.SIGNATURE].facts["signer"] == "pipeline"


def test_nothing_attached_is_missing_everywhere():
    assert {o.status for o in _examine(*CRYPTOGRAPHIC).values()} == {Status.MISSING}


def test_junk_fails_and_never_raises():
    outcomes = _examine(
        *CRYPTOGRAPHIC, items=[("model.sig", b"\xff"), ("x.intoto.json", b'{"a":' * 5000)]
    )

    assert {o.status for o in outcomes.values()} == {Status.FAILED}
    assert all(o.problem and not o.facts for o in outcomes.values())


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"a": 1}, Status.PASSED),
        (EvidenceMissing("none"), Status.MISSING),
        (VerificationError("bad"), Status.FAILED),
        (ConfigurationError("advisories absent"), Status.ERROR),
        (RuntimeError("boom"), Status.ERROR),
        (RecursionError(), Status.ERROR),
        (None, Status.ERROR),
    ],
)
def test_each_end_of_a_verifier_is_told_apart(answer, status):
    [outcome] = _examine(_Saying(answer)).values()

    assert outcome.status is status


def test_a_verifier_that_breaks_is_logged_and_the_others_go_on(caplog):
    with caplog.at_level(logging.ERROR):
        outcomes = _examine(_Saying(RuntimeError("boom")), _Saying({}, Kind.SBOM))

    assert outcomes[Kind.SBOM].status is Status.PASSED
    assert "boom" in caplog.text
    assert "boom" not in outcomes[Kind.SIGNATURE].problem


def test_facts_no_dossier_can_hold_are_refused():
    for value in ("\ud800", 2**60, float("inf")):
        [outcome] = _examine(_Saying({"x": value})).values()
        assert outcome.status is Status.FAILED


def test_a_problem_is_short_and_has_a_canonical_form():
    [outcome] = _examine(_Saying(VerificationError("\ud800" + "x" * 10_000))).values()

    assert len(outcome.problem) <= 4000
    outcome.problem.encode("utf-8")


def test_an_oversized_item_fails_every_check(monkeypatch):
    monkeypatch.setattr("mlflow_governance.evidence.examiner.MAX_ITEM_BYTES", 10)

    [outcome] = _examine(_Saying({}), items=[("huge.intoto.json", b"x" * 11)]).values()

    assert outcome.status is Status.FAILED
    assert interface.MAX_ITEM_BYTES > 10


def test_two_verifiers_of_one_kind_are_a_mistake_of_the_program():
    with pytest.raises(ValueError, match="one kind"):
        EvidenceExaminer(builders.trust(), [_Saying({}), _Saying({})])


def test_the_trust_in_force_is_named_by_its_digest():
    policy = builders.trust()

    assert EvidenceExaminer(policy, []).trust_digest == policy.digest


def test_there_is_a_verifier_for_every_kind():
    pytest.importorskip("mlflow_governance.evidence.vulnerability")

    assert {verifier.kind for verifier in default_verifiers(None)} == set(Kind)
