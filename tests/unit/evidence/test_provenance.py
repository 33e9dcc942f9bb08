"""Where a model comes from, and that nothing is kept quiet about its data."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence.attestation import DATASET, SLSA_PROVENANCE
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.provenance import DATASET_URI, ProvenanceVerifier
from tests.unit.evidence.builders import PROVENANCE_BODY, attest, case, key, signer, trust
from tests.unit.evidence.mutations import mutated

verify = ProvenanceVerifier().verify
SHA = "sha256:" + "a" * 64
COMMIT = {"uri": "git+https://example.com/r", "digest": {"gitCommit": "c" * 40}}
FILE = {"name": "rows", "uri": DATASET_URI + SHA, "digest": {"sha256": "a" * 64}}
LOGGED = {
    "name": "train",
    "uri": DATASET_URI + "mlflow:fd568ab7",
    "annotations": {"mlflow.digest": "fd568ab7", "mlflow.data.context": "training"},
}


def provenance(*dependencies: dict[str, Any]) -> tuple[str, bytes]:
    body = copy.deepcopy(PROVENANCE_BODY)
    body["buildDefinition"]["resolvedDependencies"] = list(dependencies)
    return "provenance.intoto.json", attest(SLSA_PROVENANCE, body)


def datasets(*digests: str, by: str = "pipeline") -> tuple[str, bytes]:
    entries = [{"name": f"set-{n}", "digest": value} for n, value in enumerate(digests)]
    return "dataset.intoto.json", attest(DATASET, {"datasets": entries}, by=[key(by)])


def test_the_data_it_was_made_from_and_the_commit_are_facts() -> None:
    facts = verify(case(provenance(LOGGED, FILE, COMMIT, {"uri": "pkg:pypi/x@1"})))

    assert facts["resolved_dependencies"] == 4
    assert facts["datasets"] == [
        {"name": "rows", "digest": SHA},
        {"name": "train", "digest": "mlflow:fd568ab7"},
    ]
    assert facts["source"] == {"uri": "git+https://example.com/r", "commit": "c" * 40}


def test_of_two_commits_none_is_the_source() -> None:
    other = {"uri": "git+https://example.com/other", "digest": {"gitCommit": "d" * 40}}

    assert verify(case(provenance(COMMIT, other)))["source"] is None


def test_a_data_set_of_two_digests_is_refused() -> None:
    with pytest.raises(VerificationError, match="two digests"):
        verify(case(provenance(FILE | {"digest": {"sha256": "b" * 64}})))


def test_data_the_dataset_statement_keeps_quiet_about_is_refused_by_name() -> None:
    with pytest.raises(VerificationError, match=r"leave out 'train' \(mlflow:fd568ab7\)"):
        verify(case(provenance(FILE, LOGGED), datasets(SHA)))


def test_a_dataset_statement_may_name_more_than_provenance() -> None:
    facts = verify(case(provenance(FILE), datasets(SHA, "mlflow:eval")))

    assert facts["datasets"] == [{"name": "rows", "digest": SHA}]


def test_a_dataset_statement_nobody_may_make_says_nothing_about_provenance() -> None:
    policy = trust(signer(), signer("stranger", purposes=frozenset({Purpose.SBOM})))

    assert verify(case(provenance(FILE), datasets(by="stranger"), policy=policy))["datasets"]
    assert verify(case(provenance(FILE), datasets("mlflow:other", by="stranger"), policy=policy))


@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_provenance_changed_anywhere_has_facts_or_is_refused_by_type(data: st.DataObject) -> None:
    body = copy.deepcopy(PROVENANCE_BODY)
    body["buildDefinition"]["resolvedDependencies"] = [LOGGED, FILE, COMMIT]

    with suppress(VerificationError):
        verify(case(("p.intoto.json", attest(SLSA_PROVENANCE, mutated(data, body)))))
