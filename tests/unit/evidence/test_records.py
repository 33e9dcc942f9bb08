"""What holds for change tickets, objectives, evaluations and reproductions alike."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_governance.core import canonical, moment
from mlflow_governance.errors import EvidenceMissing, VerificationError
from mlflow_governance.evidence import attestation, predicate
from mlflow_governance.evidence.change_ticket import ChangeTicketVerifier
from mlflow_governance.evidence.examiner import EvidenceExaminer, default_verifiers
from mlflow_governance.evidence.interface import EvidenceItem, Kind, Verifier
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.reproduction import ReproductionVerifier
from mlflow_governance.evidence.scores import EvaluationVerifier
from mlflow_governance.evidence.slo import SloVerifier
from mlflow_governance.evidence.trust import Threshold, TrustPolicy
from tests.unit.evidence import builders
from tests.unit.evidence.builders import HOUR, NOW, attest, case, key, signer, trust
from tests.unit.evidence.mutations import mutated
from tests.unit.evidence.record_builders import (
    EARLIER,
    attached,
    evaluation_body,
    objective,
    part,
    reproduction_body,
    slo_body,
    ticket_body,
)
from tests.unit.evidence.test_attestation import OTHER_MODEL


@dataclass(frozen=True)
class _Record:
    verifier: Verifier
    type: str
    purpose: Purpose
    body: Mapping[str, Any]

    def __str__(self) -> str:
        return str(self.verifier.kind)


RECORDS = (
    _Record(ChangeTicketVerifier(), predicate.CHANGE_TICKET, Purpose.CHANGE_TICKET, ticket_body()),
    _Record(SloVerifier(), predicate.SLO, Purpose.SLO, slo_body()),
    _Record(
        EvaluationVerifier(), predicate.EVALUATION, Purpose.EVALUATION,
        evaluation_body(None, part()),
    ),
    _Record(
        ReproductionVerifier(), predicate.REPRODUCTION, Purpose.REPRODUCTION,
        reproduction_body("sha256:" + "0" * 64,
                          tolerance={"metric": "loss", "difference": 0.1, "limit": 0.2}),
    ),
)  # fmt: skip
every = pytest.mark.parametrize("record", RECORDS, ids=str)


@every
def test_what_nobody_said_is_missing(record: _Record) -> None:
    with pytest.raises(EvidenceMissing):
        record.verifier.verify(case())


@every
def test_facts_name_the_instant_and_the_signers(record: _Record) -> None:
    facts = record.verifier.verify(case(*attached(record.type, record.body)))

    assert facts["at"] == moment.to_text(EARLIER)
    assert facts["signers"] == ["pipeline"]
    canonical.encode(facts)


@every
def test_another_subject_does_not_count(record: _Record) -> None:
    signed = attest(record.type, record.body, manifest=OTHER_MODEL)

    with pytest.raises(VerificationError, match="another subject"):
        record.verifier.verify(case(("a.intoto.json", signed)))


@every
def test_a_stranger_does_not_count(record: _Record) -> None:
    items = attached(record.type, (record.body, key("mallory")))

    with pytest.raises(VerificationError, match="no key in the trust policy"):
        record.verifier.verify(case(*items))


@every
def test_a_signer_trusted_for_everything_else_does_not_count(record: _Record) -> None:
    others = frozenset(Purpose) - {record.purpose}
    policy = trust(signer(purposes=others))

    with pytest.raises(VerificationError, match=f"not trusted for {record.purpose}") as refusal:
        record.verifier.verify(case(*attached(record.type, record.body), policy=policy))

    assert f"--for {record.purpose}" in refusal.value.advice


@every
@pytest.mark.parametrize("limits", [{"until": NOW}, {"models": ("fraud-*",)}], ids=str)
def test_an_expired_signer_or_one_of_other_models_does_not_count(
    record: _Record, limits: dict[str, Any]
) -> None:
    policy = trust(signer(**limits))

    with pytest.raises(VerificationError, match=r"expired|not trusted for the model churn"):
        record.verifier.verify(case(*attached(record.type, record.body), policy=policy))


@every
def test_what_is_dated_in_the_future_is_refused_with_all_that_stands_beside_it(
    record: _Record,
) -> None:
    soon = {**record.body, "at": (NOW + timedelta(minutes=5)).isoformat()}
    later = {**record.body, "at": (NOW + timedelta(minutes=5, seconds=1)).isoformat()}

    assert record.verifier.verify(case(*attached(record.type, soon)))["at"] == moment.to_text(
        NOW + timedelta(minutes=5)
    )
    with pytest.raises(VerificationError, match="from the future"):
        record.verifier.verify(case(*attached(record.type, record.body, later)))


@every
@pytest.mark.parametrize(
    "at", [None, "", "2026-02-30T00:00:00Z", "2026-11-21T12:00:00", "2026-11-21", 5, True, [], "x"]
)
def test_without_an_instant_nothing_counts(record: _Record, at: object) -> None:
    with pytest.raises(VerificationError, match="malformed: at"):
        record.verifier.verify(case(*attached(record.type, {**record.body, "at": at})))


@every
def test_what_lacks_a_field_does_not_count(record: _Record) -> None:
    optional = {"tolerance", "slices"}
    for left_out in set(record.body) - optional:
        body = {name: value for name, value in record.body.items() if name != left_out}
        with pytest.raises(VerificationError, match="malformed"):
            record.verifier.verify(case(*attached(record.type, body)))


@every
def test_what_is_malformed_does_not_spoil_what_counts(record: _Record) -> None:
    items = attached(record.type, {}, record.body, {**record.body, "at": "2026-02-30T00:00:00Z"})

    assert record.verifier.verify(case(*items)) == record.verifier.verify(
        case(*attached(record.type, record.body))
    )


@every
def test_the_order_of_the_files_changes_no_fact(record: _Record) -> None:
    older = {**record.body, "at": (EARLIER - HOUR).isoformat()}
    if "window" in older and record.purpose is Purpose.SLO:
        older = slo_body(at=EARLIER - HOUR)
    items = attached(record.type, older, (record.body, key("lab")), record.body)
    policy = trust(signer(), signer("lab"))
    turned = [(f"{9 - number}{name}", data) for number, (name, data) in enumerate(items)]

    found = record.verifier.verify(case(*items, policy=policy))

    assert record.verifier.verify(case(*turned, policy=policy)) == found


@every
def test_it_is_a_verdict_which_follows_the_content(record: _Record) -> None:
    ((name, data),) = attached(record.type, record.body)

    assert attestation.is_verdict(EvidenceItem(name, data))


@every
def test_facts_do_not_depend_on_when_they_are_asked_for(record: _Record) -> None:
    items = attached(record.type, record.body)

    assert record.verifier.verify(case(*items, now=NOW + 1000 * HOUR)) == record.verifier.verify(
        case(*items)
    )


@every
@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_statement_changed_anywhere_has_facts_or_is_refused_by_type(
    record: _Record, data: st.DataObject
) -> None:
    body = mutated(data, json.loads(json.dumps(record.body)))

    with suppress(VerificationError):
        canonical.encode(dict(record.verifier.verify(case(*attached(record.type, body)))))


BAD = {
    Kind.CHANGE_TICKET: (ticket_body("rejected", at=NOW), {"state": "rejected"}),
    Kind.SLO: (slo_body(objective(measured=0), at=NOW, profile="batch"), {"met": False}),
    Kind.EVALUATION: (evaluation_body({"auc": 0.1}, dataset="hard"), {}),
    Kind.REPRODUCTION: (
        reproduction_body("sha256:" + "1" * 64, builder="urn:b"), {"matches": False},
    ),
}  # fmt: skip


@every
def test_bad_news_of_one_signer_is_taken_in_beside_what_two_signed(record: _Record) -> None:
    kind = record.verifier.kind
    thresholds = (Threshold(frozenset({record.purpose}), 2),)
    policy = TrustPolicy((signer(), signer("lab")), thresholds)
    body, told = BAD[kind]
    *good, late = attached(record.type, record.body, (record.body, key("lab")), body)
    items = [EvidenceItem(name, data) for name, data in good]
    examiner = EvidenceExaminer(policy, default_verifiers(None))

    def facts(found: Sequence[EvidenceItem]) -> Mapping[str, Any]:
        return examiner.examine(builders.MANIFEST, builders.MODEL, found, NOW)[kind].facts

    before = facts(items)
    assert before["signers"] == ["lab", "pipeline"]
    examiner.recognise(builders.MANIFEST, builders.MODEL, EvidenceItem(*late), NOW, items)
    after = facts([*items, EvidenceItem(*late)])
    assert after != before
    assert {name: after[name] for name in told} == told


NUMBERS = (
    float("nan"), float("inf"), -float("inf"), True, False, None, "1", 1e16, -1e16, 2**53, [1], {},
)  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS, ids=str)
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.SLO, lambda x: slo_body(objective(measured=x))),
        (Kind.SLO, lambda x: slo_body(objective(target=x))),
        (Kind.EVALUATION, lambda x: evaluation_body({"auc": x})),
        (Kind.EVALUATION, lambda x: evaluation_body(None, part(metrics={"auc": x}))),
        (Kind.EVALUATION, lambda x: evaluation_body(None, part(size=x))),
        (Kind.REPRODUCTION, lambda x: _near(difference=x)),
        (Kind.REPRODUCTION, lambda x: _near(limit=x)),
    ],
)
def test_only_real_numbers_of_a_sane_size_are_read(kind: Kind, body: Any, number: Any) -> None:
    (record,) = [one for one in RECORDS if one.verifier.kind is kind]
    text = json.dumps(
        attestation.statement("m", builders.MANIFEST.digest, record.type, body(number))
    )
    for spelled in (text, text.replace("Infinity", "1e999")):
        signed = builders.envelope.sign(spelled.encode(), builders.envelope.IN_TOTO, [key()])
        with pytest.raises(VerificationError, match=r"malformed|not an in-toto Statement"):
            record.verifier.verify(case(("a.intoto.json", signed)))


def _near(**changes: Any) -> dict[str, Any]:
    tolerance = {"metric": "loss", "difference": 0.1, "limit": 0.2, **changes}
    return reproduction_body("sha256:" + "0" * 64, tolerance=tolerance)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.SLO, slo_body(objective(), objective(measured=0.1))),
        (Kind.EVALUATION, evaluation_body(None, part(), part(metrics={"auc": 0.1}))),
    ],
)
def test_a_name_given_twice_is_refused(kind: Kind, body: Any) -> None:
    (record,) = [one for one in RECORDS if one.verifier.kind is kind]

    with pytest.raises(VerificationError, match="is there twice"):
        record.verifier.verify(case(*attached(record.type, body)))


@pytest.mark.parametrize("repeated", ['"auc": 1, "auc": 0', '"auc": 1, "\\u0061uc": 0'])
def test_a_metric_given_twice_is_refused(repeated: str) -> None:
    text = json.dumps(
        attestation.statement(
            "m", builders.MANIFEST.digest, predicate.EVALUATION, evaluation_body()
        )
    ).replace('"auc": 0.91', repeated)
    signed = builders.envelope.sign(text.encode(), builders.envelope.IN_TOTO, [key()])

    with pytest.raises(VerificationError, match="same key twice"):
        EvaluationVerifier().verify(case(("a.intoto.json", signed)))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.SLO, slo_body(*(objective(f"o{n}") for n in range(101)))),
        (Kind.EVALUATION, evaluation_body(None, *(part(str(n)) for n in range(10_000)))),
        (Kind.EVALUATION, evaluation_body({f"m{n}": 0.5 for n in range(10_000)})),
        (Kind.EVALUATION, evaluation_body(None, part("g" * 257))),
        (Kind.CHANGE_TICKET, ticket_body(url="https://" + "a" * 3000)),
    ],
    ids=["objectives", "slices", "metrics", "group", "url"],
)  # fmt: skip
def test_what_is_beyond_the_bounds_is_refused_soon(kind: Kind, body: Any) -> None:
    (record,) = [one for one in RECORDS if one.verifier.kind is kind]
    items = attached(record.type, body)
    started = time.process_time()

    with pytest.raises(VerificationError, match="malformed"):
        record.verifier.verify(case(*items))
    assert time.process_time() - started < 5
