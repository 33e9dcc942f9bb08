"""The vectors of the projects whose formats we read: what they expect, we say; or it is written
down why not, in ``tests/vectors/differences.py``."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from mlflow_governance.evidence import attestation, bundle
from mlflow_governance.evidence.predicate import MODEL_SIGNATURE
from tests.sigstore.offline import no_network
from tests.vectors.conformance import VECTORS, Result, released_signatures, sigstore, specification
from tests.vectors.differences import DIFFERENCES

SPECIFICATION = VECTORS / "model-signing" / "specification"


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    """Every vector, verified without the network."""

    def run() -> Iterator[Result]:
        yield from specification()
        yield from released_signatures()
        yield from sigstore()

    with no_network():
        return {result.name: result for result in run()}


def test_all_vectors_were_run(results: dict[str, Result]) -> None:
    assert len(results) == 8 + 13 + 70


def test_nothing_verifies_that_its_authors_call_invalid(results: dict[str, Result]) -> None:
    wrong = [r.name for r in results.values() if not r.valid and not all(r.ours.values())]
    assert wrong == []


def test_what_we_refuse_beyond_that_is_written_down_with_its_reason(
    results: dict[str, Result],
) -> None:
    assert {name for name, result in results.items() if result.differs} == set(DIFFERENCES)


def test_over_the_files_signed_only_what_predates_the_format_is_refused(
    results: dict[str, Result],
) -> None:
    refused = {
        name: result.ours["files signed"]
        for name, result in results.items()
        if result.valid and result.ours.get("files signed")
    }
    assert set(refused) == {"v0.2.0-certificate", "v0.3.1-elliptic-key", "v1.0.0-elliptic-key"}
    assert "keys that may sign" in refused["v0.2.0-certificate"]
    assert (
        refused["v1.0.0-elliptic-key"]
        == refused["v0.3.1-elliptic-key"]
        == ("unsafe file name: '.'")
    )


def test_a_file_that_a_signature_says_to_ignore_is_named(results: dict[str, Result]) -> None:
    for kind in ("certificate", "elliptic-key", "sigstore"):
        for release in ("v1.0.1", "v1.1.0"):
            said = results[f"{release}-{kind}"].ours["all files"]
            assert said == "the model is not what was signed: file added: ignore-me"


def test_the_certificates_are_of_now_and_not_of_their_own_first_instant() -> None:
    """They expire in 2035: until then the vectors are verified at a real instant."""
    assert datetime.now(UTC) < datetime(2035, 4, 30, tzinfo=UTC)


def test_a_payload_of_another_predicate_type_is_not_a_model_signature() -> None:
    """Its signature is of nobody: that it is refused for its payload shows only here."""
    data = (SPECIFICATION / "invalid-payload" / "wrong-predicate.bundle.json").read_bytes()
    payload = bundle.parse(data).payload
    assert payload == base64.b64decode(json.loads(data)["dsseEnvelope"]["payload"])
    assert attestation.parse_statement(payload).predicate_type != MODEL_SIGNATURE
