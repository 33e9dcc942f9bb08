"""When something was said: by the signer's word, and never later than what is proved."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.core import canonical, moment
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import attestation, bundle, instant
from mlflow_governance.evidence.attestation import (
    CANARY,
    DATASET,
    SLSA_PROVENANCE,
    TEST_RESULT,
    Statement,
    VerifiedStatement,
    statement,
)
from mlflow_governance.evidence.authority import IdentityHolder, When
from mlflow_governance.evidence.dataset import DatasetVerifier
from mlflow_governance.evidence.evaluation import CanaryVerifier, TestResultVerifier
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.provenance import ProvenanceVerifier
from mlflow_governance.evidence.reproduction import ReproductionVerifier
from mlflow_governance.evidence.stamping import StampAuthority
from mlflow_governance.evidence.trust import Signer, Threshold, TrustPolicy
from mlflow_governance.submission.keyless import KeylessKey
from tests.sigstore import certificates, tsa
from tests.sigstore.private import PrivateSigstore
from tests.unit.evidence.builders import (
    EVERYTHING,
    HOUR,
    MANIFEST,
    MODEL,
    NOW,
    PROVENANCE_BODY,
    attest,
    canary_body,
    case,
    key,
    results_body,
    signer,
    trust,
)
from tests.unit.evidence.record_builders import attached, reproduction_body

BOTH = trust(signer(), signer("lab"))
SHA, OTHER_SHA = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def ago(hours: float) -> str:
    return moment.to_text(NOW - hours * HOUR)


def said(at: object, proof: When | None = None) -> VerifiedStatement:
    return VerifiedStatement(Statement((), TEST_RESULT, {"at": at}), ("ci",), "a.json", proof)


def two(purpose: Purpose) -> TrustPolicy:
    return TrustPolicy(BOTH.signers, (Threshold(frozenset({purpose}), 2),))


# --- by whose word ----------------------------------------------------------------------------

STAMPED = When(NOW - 2 * HOUR, NOW - 2 * HOUR, proved=True)
ISSUED = When(NOW - 3 * HOUR, NOW - 2 * HOUR, proved=True, issued=True)


@pytest.mark.parametrize(
    ("at", "proof", "hours"),
    [
        (ago(4), None, 4),
        (ago(4), STAMPED, 4),
        (ago(1), STAMPED, 2),
        (ago(4), ISSUED, 4),
        (ago(1), ISSUED, 2),
        (None, ISSUED, 3),
        ("yesterday", ISSUED, 3),
        (ago(-1), ISSUED, 3),
        # Anybody can have a new stamp for an old statement.
        (None, STAMPED, None),
        ("yesterday", STAMPED, None),
        (None, None, None),
        (5, None, None),
        ({}, None, None),
        ("2026-11-21", None, None),
        ("0001-01-01T00:00:00+23:59", None, None),
        (ago(-1), None, None),
    ],
)
def test_an_instant_is_the_signers_word_and_no_later_than_its_proof(
    at: object, proof: When | None, hours: float | None
) -> None:
    found = instant.of(said(at, proof), at, NOW)

    assert instant.text(found) == (None if hours is None else ago(hours))


def test_where_an_instant_must_be_said_the_future_is_refused() -> None:
    ((at, _),) = instant.dated([said(ago(1), STAMPED)], NOW)
    assert at == STAMPED.latest
    for proof in (None, STAMPED, ISSUED):
        with pytest.raises(VerificationError, match="from the future"):
            instant.dated([said(ago(-1), proof)], NOW)


def test_it_is_known_since_when_as_many_say_it_as_must() -> None:
    words = [(NOW - 1 * HOUR, ["a"]), (NOW - 3 * HOUR, ["b"]), (NOW - 9 * HOUR, ["a", "b", "c"])]
    for least, hours in ((1, 1), (2, 3), (3, 9)):
        thresholds = (Threshold(frozenset({Purpose.SLO}), least),) if least > 1 else ()
        about = case(policy=TrustPolicy((), thresholds))
        assert instant.since(about, Purpose.SLO, words) == NOW - hours * HOUR
    about = case(policy=TrustPolicy((), (Threshold(frozenset({Purpose.SLO}), 4),)))
    assert instant.since(about, Purpose.SLO, [*words, (None, ["d"])]) is None


# --- the instants of each kind ------------------------------------------------------------------


def results(*bodies: Any, policy: TrustPolicy = BOTH) -> Any:
    return TestResultVerifier().verify(case(*attached(TEST_RESULT, *bodies), policy=policy))


def test_a_test_result_says_when_where_its_signer_does() -> None:
    assert results(results_body())["at"] is None
    assert results(results_body(at=ago(5)), results_body(at=ago(2)))["at"] == ago(2)
    assert results(results_body(at=ago(5)), results_body())["at"] == ago(5)
    assert results(results_body(at="soon"))["at"] is None


def test_two_test_results_that_are_both_needed_are_as_old_as_the_older() -> None:
    old, new = results_body(at=ago(5)), (results_body(at=ago(2)), key("lab"))

    assert results(old, new, policy=two(Purpose.TEST_RESULT))["at"] == ago(5)
    assert results(results_body(), new, policy=two(Purpose.TEST_RESULT))["at"] is None


def built(finished: object) -> dict[str, Any]:
    details = PROVENANCE_BODY["runDetails"]
    metadata = {**details["metadata"], "finishedOn": finished}
    return {**PROVENANCE_BODY, "runDetails": {**details, "metadata": metadata}}


def test_provenance_says_when_the_build_ended() -> None:
    def verify(*bodies: Any) -> Any:
        return ProvenanceVerifier().verify(case(*attached(SLSA_PROVENANCE, *bodies)))

    assert verify(PROVENANCE_BODY)["at"] is None
    assert verify(built(ago(5)))["at"] == verify(built(ago(5)))["finished_at"] == ago(5)
    assert verify(built("2026-11-21T13:00:00+02:00"))["at"] == ago(1)
    assert verify(built(ago(-1)))["at"] is None
    # Another hour is no other story.
    assert verify(built(ago(5)), built(ago(4)), PROVENANCE_BODY)["at"] == ago(4)


def test_the_data_is_as_old_as_its_oldest_record() -> None:
    def verify(*bodies: Any, policy: TrustPolicy = BOTH) -> Any:
        return DatasetVerifier().verify(case(*attached(DATASET, *bodies), policy=policy))["at"]

    def record(hours: float | None, *digests: str) -> dict[str, Any]:
        at = {} if hours is None else {"at": ago(hours)}
        return {"datasets": [{"name": "d", "digest": digest} for digest in digests], **at}

    assert verify(record(5, SHA)) == ago(5)
    assert verify(record(5, SHA), record(2, SHA)) == ago(2)
    assert verify(record(5, SHA), record(2, OTHER_SHA)) == ago(5)
    assert verify(record(5, SHA), record(None, OTHER_SHA)) is None
    assert verify(record(None, SHA), record(5, SHA, OTHER_SHA)) == ago(5)
    both = (record(5, SHA), (record(2, SHA), key("lab")))
    assert verify(*both, policy=two(Purpose.DATASET)) == ago(5)


# --- proofs -------------------------------------------------------------------------------------


def stamped(kind: str, body: Mapping[str, Any], authority: tsa.Tsa, at: datetime) -> bytes:
    enclosed = attest(kind, body)
    value = base64.b64decode(json.loads(enclosed)["signatures"][0]["sig"])
    return bundle.wrap(enclosed, bundle.cosign_hint(key().public), authority.stamp(value, at))


def test_a_new_stamp_does_not_make_an_old_statement_new() -> None:
    authority = tsa.Tsa(tsa.authority())
    chain = certificates.pem(*authority.holder.chain)
    policy = TrustPolicy((signer(),), (), (StampAuthority.read("tsa", chain),))
    now = datetime.now(UTC)
    old, new = now - timedelta(hours=20), now - timedelta(minutes=1)

    def verify(verifier: Any, kind: str, body: Mapping[str, Any], at: datetime) -> Any:
        item = ("attestations/a.intoto.json", stamped(kind, body, authority, at))
        return verifier.verify(case(item, policy=policy, now=now))["at"]

    tests, rebuilt = TestResultVerifier(), ReproductionVerifier()
    assert verify(tests, TEST_RESULT, results_body(), new) is None
    assert verify(tests, TEST_RESULT, results_body(at=old.isoformat()), new) == moment.to_text(old)
    body = reproduction_body(at=now)
    proved = moment.to_text(old.replace(microsecond=0))
    assert verify(rebuilt, attestation.predicate.REPRODUCTION, body, old) == proved
    # A canary's clock may be a little ahead of the stamp's.
    canary = canary_body(at=now)
    assert verify(CanaryVerifier(), CANARY, canary, new) == moment.to_text(
        new.replace(microsecond=0)
    )


def test_the_certificate_of_an_identity_says_when(tmp_path: Path) -> None:
    payload = canonical.encode(statement(MODEL, MANIFEST.digest, TEST_RESULT, results_body()))
    before = datetime.now(UTC)
    with PrivateSigstore(tmp_path) as sigstore:
        (tmp_path / "token").write_text(sigstore.token("ci@example.com"))
        signed = KeylessKey(sigstore.client_trust_config, tmp_path / "token").sign_dsse(payload)
        root = sigstore.trusted_root.read_text()
        holder = IdentityHolder(sigstore.issuer, "ci@example.com", root)
    policy = TrustPolicy((Signer("ci", holder, EVERYTHING),))
    about = case(("a.intoto.json", signed), policy=policy, now=datetime.now(UTC))

    at = moment.parse(TestResultVerifier().verify(about)["at"])

    assert abs(at - before) < timedelta(minutes=1)
