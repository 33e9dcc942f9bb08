from __future__ import annotations

import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from mlflow_governance.core import canonical
from mlflow_governance.errors import EvidenceMissing, VerificationError
from mlflow_governance.evidence import sbom
from mlflow_governance.evidence.attestation import CYCLONEDX
from mlflow_governance.evidence.sbom import SbomVerifier, check_document
from tests.unit.evidence.bom_builders import bom, bom_case, library
from tests.unit.evidence.builders import attest, case, key, signer, trust

verify = SbomVerifier().verify


def broken(**changes: Any) -> dict[str, Any]:
    return bom(library("numpy")) | changes


def test_a_signed_sbom_gives_its_facts() -> None:
    facts = verify(bom_case(bom(library("numpy"), library("scipy"))))

    assert facts == {
        "components": 3,
        "spec_version": "1.6",
        "signers": ["pipeline"],
        "serial_number": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
    }


def test_an_unsigned_sbom_is_no_evidence() -> None:
    with pytest.raises(EvidenceMissing):
        verify(case(("sbom.cdx.json", json.dumps(bom()).encode())))


def test_a_signer_nobody_trusts_is_refused() -> None:
    forged = attest(CYCLONEDX, bom(), by=[key("mallory")])

    with pytest.raises(VerificationError, match="no key in the trust policy"):
        verify(case(("attestations/sbom.intoto.json", forged)))


def test_the_readable_copy_may_be_spelled_otherwise() -> None:
    document = bom(library("numpy"))

    facts = verify(bom_case(document, ("sbom.cdx.json", json.dumps(document, indent=3).encode())))

    assert facts["components"] == 2


def test_a_readable_copy_that_says_otherwise_is_refused() -> None:
    copy = canonical.encode(bom(library("numpy", "9.9")))

    with pytest.raises(VerificationError, match="differs from the SBOM that was signed"):
        verify(bom_case(bom(library("numpy")), ("sbom.cdx.json", copy)))


def test_a_readable_copy_that_is_not_json_is_refused() -> None:
    with pytest.raises(VerificationError, match=r"sbom\.cdx\.json is malformed"):
        verify(bom_case(bom(), ("sbom.cdx.json", b"{")))


def test_two_signed_sboms_that_differ_are_refused() -> None:
    second = attest(CYCLONEDX, bom(library("numpy")), by=[key("pipeline")])

    with pytest.raises(VerificationError, match="say different things"):
        verify(bom_case(bom(), ("attestations/other.intoto.json", second)))


def test_two_signers_of_one_sbom_are_both_named() -> None:
    again = attest(CYCLONEDX, bom(), by=[key("auditor")])

    facts = verify(
        bom_case(
            bom(),
            ("attestations/again.intoto.json", again),
            policy=trust(signer(), signer("auditor")),
        )
    )

    assert facts["signers"] == ["auditor", "pipeline"]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"bomFormat": "CycloneDX", "specVersion": "1.4", "version": 1},
        {"bomFormat": "CycloneDX", "specVersion": ["1.6"], "version": 1},
        broken(bomFormat="SPDX"),
        broken(components="many"),
        broken(components=[{"type": "library"}]),
        broken(components=[{"type": "spaceship", "name": "x"}]),
        broken(metadata=[]),
        broken(unheard_of=1),
        broken(vulnerabilities="none"),
        broken(components=[library("numpy"), library("numpy")]),
        broken(serialNumber="42"),
    ],
)
def test_a_document_that_breaks_the_schema_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(VerificationError):
        verify(bom_case(document))


@pytest.mark.parametrize(
    "changes",
    [
        {"dependencies": [{"ref": "nowhere"}]},
        {"dependencies": [{"ref": "data", "dependsOn": ["nowhere"]}]},
        {"vulnerabilities": [{"id": "CVE-1", "affects": [{"ref": "nowhere"}]}]},
        {"compositions": [{"aggregate": "complete", "assemblies": ["nowhere"]}]},
    ],
)
def test_a_reference_to_nothing_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(VerificationError, match="refers to what it does not hold: 'nowhere'"):
        verify(bom_case(broken(**changes)))


def test_a_reference_into_another_document_is_allowed() -> None:
    link = "urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#x"
    document = broken(vulnerabilities=[{"id": "CVE-1", "affects": [{"ref": link}]}])

    assert verify(bom_case(document))["components"] == 2


def test_one_bom_ref_for_two_components_is_refused() -> None:
    twin = library("numpy") | {"name": "other"}

    with pytest.raises(VerificationError, match="twice"):
        verify(bom_case(bom(library("numpy"), twin)))


def test_nested_components_are_counted_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    document = bom(library("numpy", components=[library("blas", components=[library("lapack")])]))

    assert verify(bom_case(document))["components"] == 4
    monkeypatch.setattr(sbom, "MAX_COMPONENTS", 3)
    with pytest.raises(VerificationError, match="more than 3 components"):
        verify(bom_case(document))


def test_a_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(VerificationError):
        check_document(broken(components=[{"type": "library", "name": "\ud800"}]))


def test_twenty_thousand_components_are_judged_in_seconds() -> None:
    check_document(bom(*(library(f"p{n}") for n in range(19_999))))


@pytest.mark.parametrize(
    "document",
    [
        bom(library("numpy")),
        broken(components=[library("numpy"), library("numpy")]),
        broken(components=[library("numpy", licenses=[{"license": {"id": "NOT-SPDX"}}])]),
        broken(components=[library("numpy", licenses=[{"expression": "MIT OR Apache-2.0"}])]),
        broken(components=[library("numpy", hashes=[{"alg": "SHA-256", "content": "zz"}])]),
        broken(metadata={"component": {"type": "library", "name": "x", "modelCard": {"y": 1}}}),
        broken(unheard_of=1),
    ],
)
def test_our_schema_engine_agrees_with_the_library(document: dict[str, Any]) -> None:
    library_says = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document))

    assert sbom._validator("1.6").is_valid(document) is (library_says is None)
