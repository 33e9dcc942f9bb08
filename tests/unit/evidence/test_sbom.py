from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from mlflow_governance.core import canonical
from mlflow_governance.errors import EvidenceMissing, VerificationError
from mlflow_governance.evidence import cyclonedx, predicate
from mlflow_governance.evidence.attestation import CYCLONEDX
from mlflow_governance.evidence.sbom import SbomVerifier, check_document
from tests.unit.evidence.bom_builders import bom, bom_case, inspection, library, model
from tests.unit.evidence.builders import attest, case, key, signer, trust

verify = SbomVerifier().verify


def broken(**changes: Any) -> dict[str, Any]:
    return bom(library("numpy")) | changes


def test_a_signed_sbom_gives_its_facts() -> None:
    facts = verify(bom_case(bom(library("numpy"), library("scipy"))))

    assert facts == {
        "components": 3,
        "format": "CycloneDX",
        "spec_version": "1.6",
        "signers": ["pipeline"],
        "serial_number": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
        "base_models": [],
        "datasets": 1,
        "pins_checked": False,
        "unresolved": [],
    }


def test_an_unsigned_sbom_is_no_evidence() -> None:
    with pytest.raises(EvidenceMissing, match=r"^no signed SBOM is attached\n.* submit "):
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
    monkeypatch.setattr(cyclonedx, "MAX_COMPONENTS", 3)
    with pytest.raises(VerificationError, match="more than 3 components"):
        verify(bom_case(document))


def test_a_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(VerificationError):
        check_document(broken(components=[{"type": "library", "name": "\ud800"}]))


def test_twenty_thousand_components_are_judged_in_seconds() -> None:
    check_document(bom(*(library(f"p{n}") for n in range(19_999))))


@pytest.mark.parametrize("version", cyclonedx.SPEC_VERSIONS)
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
def test_our_schema_engine_agrees_with_the_library(document: dict[str, Any], version: str) -> None:
    # Seconds to import, which every process that collects this file would spend.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    spelled = document | {"specVersion": version}
    validator = JsonStrictValidator(SchemaVersion.from_version(version))
    library_says = validator.validate_str(json.dumps(spelled))

    assert cyclonedx._validator(version).is_valid(spelled) is (library_says is None)


@pytest.mark.parametrize("version", cyclonedx.SPEC_VERSIONS)
@pytest.mark.parametrize("kind", predicate.CYCLONEDX_TYPES)
def test_versions_and_spellings_of_other_tools_are_read(version: str, kind: str) -> None:
    document = bom(library("numpy")) | {"specVersion": version}
    signed = attest(kind, document, by=[key("pipeline")])

    assert verify(case(("attestations/x.intoto.json", signed)))["spec_version"] == version


@pytest.mark.parametrize(
    "changes",
    [
        {"citations": [{"pointers": ["/a"], "timestamp": "2026-01-01T00:00:00Z",
                        "attributedTo": "nowhere"}]},
        {"declarations": {"attestations": [{"assessor": "nowhere"}]}},
        {"declarations": {"claims": [{"evidence": ["nowhere"]}]}},
    ],
)  # fmt: skip
def test_references_of_newer_versions_are_followed_too(changes: dict[str, Any]) -> None:
    document = broken(specVersion="1.7", **changes)

    with pytest.raises(VerificationError, match="refers to what it does not hold"):
        verify(bom_case(document))


@pytest.mark.parametrize(
    "component",
    [
        library("numpy") | {"purl": "pkg:pypi/leftpad@1.0"},
        library("numpy") | {"version": "2.0"},
        library("numpy") | {"purl": "numpy"},
        library("numpy") | {"purl": "pkg:pypi"},
    ],
)
def test_a_component_that_contradicts_itself_is_refused(component: dict[str, Any]) -> None:
    with pytest.raises(VerificationError, match=r"contradicts itself|malformed purl"):
        verify(bom_case(bom(component)))


def required(*lines: str, components: tuple[dict[str, Any], ...]) -> Any:
    return verify(replace(bom_case(bom(*components)), inspection=inspection(*lines)))


def test_an_sbom_of_the_environment_mlflow_recorded_passes() -> None:
    facts = required(
        "numpy==1.26", "scipy>=1.9,<2", "Scikit_Learn", "torch==2.1.0",
        components=(
            library("numpy", "1.26.0"), library("scipy", "1.11"), library("scikit-learn", None),
            library("torch", "2.1.0+cpu"),
        ),
    )  # fmt: skip

    assert (facts["pins_checked"], facts["unresolved"]) == (True, [])


@pytest.mark.parametrize(
    ("line", "component", "words"),
    [
        ("numpy==1.26", library("numpy", "2.0"), "pins numpy==1.26, the SBOM says 2.0"),
        ("numpy==1.26", library("scipy"), "pins numpy==1.26, the SBOM does not list it"),
        ("numpy==1.26", library("numpy", None), "the SBOM says no version"),
        ("numpy", library("scipy"), "names numpy, the SBOM does not list it"),
        ("numpy>=2", library("numpy", "1.26"), "names numpy>=2, the SBOM says 1.26"),
        ("numpy==1.*", library("numpy", "2.0"), "the SBOM says 2.0"),
        ("numpy==1.26 --hash=sha256:" + "a" * 64, library("numpy", "2.0"), "the SBOM says 2.0"),
        ("numpy===odd", library("numpy", "odder"), "the SBOM says odder"),
        ("numpy==1.0", library("numpy") | {"purl": "pkg:conda/numpy@1.0"}, "does not list it"),
    ],
)
def test_an_sbom_of_another_environment_is_refused(
    line: str, component: dict[str, Any], words: str
) -> None:
    with pytest.raises(VerificationError, match=re.escape(words)):
        required(line, components=(component,))


def test_only_the_first_few_differences_are_named() -> None:
    with pytest.raises(VerificationError, match="and 7 more"):
        required(*(f"p{n}==1" for n in range(12)), components=(library("q"),))


def test_what_no_sbom_can_be_held_to_is_named_without_passwords() -> None:
    facts = required(
        "git+https://bob:hunter2@example.org/r.git@main", "./local.whl", "-e .", "-r more.txt",
        "--extra-index-url https://bob:x@example.org/simple", "x @ https://example.org/x.whl",
        components=(library("numpy"),),
    )  # fmt: skip

    assert facts["unresolved"] == [
        "git+https://…@example.org/r.git@main", "./local.whl", "-e .", "-r more.txt",
        "--extra-index-url https://…@example.org/simple", "x @ https://example.org/x.whl",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "--pre -r more.txt", "--no-index -e ./evil", "--no-binary :all: -r more.txt",
        "-i https://example.org/simple", "--find-links ./wheels", "--trusted-host example.org",
    ],
)  # fmt: skip
def test_an_option_that_brings_something_in_is_no_option(line: str) -> None:
    assert required(line, components=(library("numpy"),))["unresolved"] == [line]


def test_options_about_how_to_look_are_left_out() -> None:
    lines = ("--pre", "--require-hashes", "--no-binary :all:", "--only-binary=numpy")

    assert required(*lines, components=(library("numpy"),))["unresolved"] == []


def test_requirements_beyond_the_bounds_are_refused() -> None:
    with pytest.raises(VerificationError, match="more than 5000 requirements"):
        required(*(f"-e {n}" for n in range(5001)), components=())
    with pytest.raises(VerificationError, match="more than 4000 characters"):
        required("x" * 5000, components=())


DISTILBERT = "pkg:huggingface/distilbert/distilbert@abc"


def base(name: str = "distilbert", **more: Any) -> dict[str, Any]:
    return {"type": "machine-learning-model", "name": name, "bom-ref": name, **more}


def test_base_models_are_named_with_all_they_were_tuned_from() -> None:
    oldest = base("oldest", pedigree={"ancestors": [base("root", version="1")]})
    hashes = [{"alg": "SHA-256", "content": "AB" * 32}, {"alg": "MD5", "content": "c" * 32}]
    tuned = base(purl=DISTILBERT, hashes=hashes, pedigree={"ancestors": [base("bert"), oldest]})

    found = verify(bom_case(bom(tuned)))["base_models"]

    assert found == [
        {"purl": None, "name": "bert", "version": None, "digest": None},
        {"purl": None, "name": "oldest", "version": None, "digest": None},
        {"purl": None, "name": "root", "version": "1", "digest": None},
        {"purl": DISTILBERT, "name": "distilbert", "version": None,
         "digest": "sha256:" + "ab" * 32},
    ]  # fmt: skip


def test_the_models_the_model_itself_was_tuned_from_are_base_models() -> None:
    described = model() | {"pedigree": {"ancestors": [base("bert")]}}
    document = bom() | {"metadata": {"component": described}}

    assert [one["name"] for one in verify(bom_case(document))["base_models"]] == ["bert"]


def test_no_base_model_is_left_out_where_there_are_many() -> None:
    def listing(count: int) -> dict[str, Any]:
        return bom(*(base(f"m{number}") for number in range(count)))

    assert len(verify(bom_case(listing(200)))["base_models"]) == 200
    with pytest.raises(VerificationError, match="more than 200 base models"):
        verify(bom_case(listing(201)))
