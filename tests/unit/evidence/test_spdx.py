"""SPDX documents of other tools: read where they are sound, refused where they are not."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_governance.core import canonical
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import cyclonedx, inventory, predicate, spdx, spdx3
from mlflow_governance.evidence.attestation import CYCLONEDX
from mlflow_governance.evidence.interface import Case
from mlflow_governance.evidence.licence import LicenceVerifier
from mlflow_governance.evidence.sbom import SbomVerifier, signed_bom
from mlflow_governance.evidence.vulnerability import VulnerabilityVerifier
from tests.unit.evidence.bom_builders import advisory, bom, inspection, library, write_advisory
from tests.unit.evidence.builders import attest, case, key
from tests.unit.evidence.spdx_builders import (
    CONTEXT,
    element,
    library3,
    package,
    related,
    spdx23,
    spdx30,
    spdx_case,
)

verify = SbomVerifier().verify


def labels(case: Case) -> list[str]:
    return [component.label for component in signed_bom(case).inventory]


def stated(document: dict[str, Any]) -> dict[str, str]:
    """The expression of each component, or the names in it."""
    entries = LicenceVerifier().verify(spdx_case(document))["licences"]
    return {
        label.split("/")[-1].split("@")[0]: entry["expression"] or " | ".join(entry["unknown"])
        for entry in entries
        for label in entry["components"]
    }


@pytest.mark.parametrize("kind", predicate.SPDX_TYPES)
@pytest.mark.parametrize(
    ("document", "version", "serial"),
    [
        (spdx23(package("numpy")), "2.3", "https://example.org/churn-1"),
        (spdx30(library3("numpy")), "3.0.1", "https://example.org/sbom#document"),
    ],
)
def test_a_signed_spdx_document_is_an_sbom(
    document: dict[str, Any], version: str, serial: str, kind: str
) -> None:
    about = replace(spdx_case(document, kind), inspection=inspection("numpy==1.0"))

    facts = verify(about)

    assert facts == {
        "components": 1, "format": "SPDX", "spec_version": version, "serial_number": serial,
        "signers": ["pipeline"], "base_models": [], "datasets": 0, "pins_checked": True,
        "unresolved": [],
    }  # fmt: skip
    with pytest.raises(VerificationError, match=r"pins numpy==2\.0, the SBOM says 1\.0"):
        verify(replace(about, inspection=inspection("numpy==2.0")))


@pytest.mark.parametrize("document", [spdx23(package("leftpad")), spdx30(library3("leftpad"))])
def test_its_packages_are_looked_up_in_the_advisories(
    document: dict[str, Any], tmp_path: Any
) -> None:
    dump = write_advisory(tmp_path / "osv", advisory("leftpad"))

    facts = VulnerabilityVerifier(dump).verify(spdx_case(document))

    assert [found["component"] for found in facts["vulnerabilities"]] == ["pkg:pypi/leftpad@1.0"]


def test_the_described_package_comes_first() -> None:
    assert labels(spdx_case(spdx23(package("numpy")))) == ["churn", "pkg:pypi/numpy@1.0"]
    assert labels(spdx_case(spdx30(library3("numpy")))) == ["churn@3", "pkg:pypi/numpy@1.0"]


def test_a_document_that_describes_no_package_has_no_model() -> None:
    document = spdx23(package("numpy"), relationships=[])

    assert verify(spdx_case(document))["components"] == 2


def test_models_and_data_are_told_apart() -> None:
    document = spdx30(
        element("ai_AIPackage", "bert", software_packageUrl="pkg:huggingface/google/bert@abc"),
        element("dataset_DatasetPackage", "customers"),
        element("software_Package", "more", software_primaryPurpose="data"),
        related("trainedOn", "churn", "customers"),
    )

    facts = verify(spdx_case(document))

    assert [found["purl"] for found in facts["base_models"]] == ["pkg:huggingface/google/bert@abc"]
    assert facts["datasets"] == 2


def test_hashes_are_kept() -> None:
    checksum = {"algorithm": "SHA256", "checksumValue": "A" * 64}
    hashed = {"type": "Hash", "algorithm": "sha256", "hashValue": "a" * 64}

    for document in (
        spdx23(package("numpy", checksums=[checksum])),
        spdx30(library3("numpy", verifiedUsing=[hashed])),
    ):
        (_, found) = signed_bom(spdx_case(document)).inventory
        assert found.hashes == (("SHA-256", "a" * 64),)


def test_a_conclusion_stands_above_a_claim_in_2_3() -> None:
    found = stated(
        spdx23(
            package("a", licenseDeclared="GPL-3.0", licenseConcluded="MIT"),
            package("b", licenseDeclared="MIT OR Apache-2.0", licenseConcluded="NOASSERTION"),
            package("c", licenseDeclared="LicenseRef-own"),
            package("d"),
            hasExtractedLicensingInfos=[{"licenseId": "LicenseRef-own", "extractedText": "x"}],
        )
    )

    assert found == {
        "a": "MIT", "b": "MIT OR Apache-2.0", "c": "LicenseRef-own", "churn": "", "d": "",
    }  # fmt: skip


def test_every_way_to_state_a_licence_in_3_0_is_read() -> None:
    def member(*names: str) -> list[str]:
        return [n if ":" in n else f"https://example.org/sbom#{n}" for n in names]

    found = stated(
        spdx30(
            *(library3(name) for name in "abcdefg"),
            element(
                "simplelicensing_LicenseExpression", "expr",
                simplelicensing_licenseExpression="MIT OR Apache-2.0",
            ),
            element(
                "expandedlicensing_ConjunctiveLicenseSet", "both",
                expandedlicensing_member=member("expr", "https://spdx.org/licenses/Zlib"),
            ),
            element("expandedlicensing_CustomLicense", "ACME terms"),
            related("hasDeclaredLicense", "a", "https://spdx.org/licenses/BSD-3-Clause"),
            related("hasDeclaredLicense", "b", "expr"),
            related("hasDeclaredLicense", "c", "https://spdx.org/licenses/AGPL-3.0-only"),
            related("hasConcludedLicense", "c", "both"),
            related("hasDeclaredLicense", "d", "ACME terms"),
            related("hasDeclaredLicense", "e",
                    "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"),
            related("hasDeclaredLicense", "f",
                    "https://spdx.org/licenses/MIT", "https://spdx.org/licenses/ISC"),
            related("hasDeclaredLicense", "g", "https://spdx.org/licenses/MIT", "ACME terms"),
        )
    )  # fmt: skip

    assert found == {
        "a": "BSD-3-Clause", "b": "MIT OR Apache-2.0", "c": "(MIT OR Apache-2.0) AND Zlib",
        "churn": "", "d": "ACME terms", "e": "", "f": "ISC AND MIT",
        "g": "LicenseRef-ACME-terms AND MIT",
    }  # fmt: skip


def changed(**changes: Any) -> dict[str, Any]:
    return spdx23(package("numpy")) | changes


def relation(one: str, other: str) -> dict[str, Any]:
    return {
        "relationships": [
            {"spdxElementId": one, "relationshipType": "CONTAINS", "relatedSpdxElement": other}
        ]
    }


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"spdxVersion": "SPDX-2.3"},
        changed(spdxVersion="SPDX-2.2"),
        changed(dataLicense="MIT"),
        changed(SPDXID="SPDXRef-other"),
        changed(unheard_of=1),
        changed(vulnerabilities=[{"id": 5}]),
        changed(creationInfo={}),
        changed(packages="many"),
        changed(packages=[{"name": "numpy"}]),
        changed(packages=[package("numpy", unheard_of=1)]),
        changed(packages=[package("numpy", SPDXID="numpy")]),
        changed(packages=[package("numpy"), package("numpy")]),
        changed(packages=[package("numpy", name="")]),
        changed(packages=[package("numpy", name="leftpad")]),
        changed(packages=[package("numpy", versionInfo="2.0")]),
        changed(documentDescribes=["SPDXRef-nowhere"]),
        changed(packages=[package("numpy", hasFiles=["SPDXRef-nowhere"])]),
        changed(packages=[package("numpy", licenseDeclared="MIT OR LicenseRef-nowhere")]),
        changed(files=[{"SPDXID": "SPDXRef-numpy"}]),
        changed(**relation("SPDXRef-numpy", "SPDXRef-nowhere")),
        changed(**relation("SPDXRef-nowhere", "SPDXRef-numpy")),
        changed(**relation("SPDXRef-numpy", "DocumentRef-x:SPDXRef-y")),
        changed(**relation("NONE", "SPDXRef-numpy")),
        # What reads like the other format, or like CycloneDX, is not this one.
        bom(library("numpy")),
        spdx30() | {"@context": "https://example.org/other-context.jsonld"},
    ],
)
def test_an_unsound_2_3_document_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(VerificationError):
        verify(spdx_case(document))


def test_a_package_with_two_purls_is_refused() -> None:
    twice = package("numpy")
    twice["externalRefs"].append(
        twice["externalRefs"][0] | {"referenceLocator": "pkg:pypi/leftpad@1"}
    )

    with pytest.raises(VerificationError, match="several purls"):
        verify(spdx_case(spdx23(twice)))


def test_what_lies_outside_on_purpose_may_be_referred_to() -> None:
    outside = {"externalDocumentId": "DocumentRef-x", "checksum": {}, "spdxDocument": "urn:x"}
    document = changed(
        externalDocumentRefs=[outside],
        **relation("SPDXRef-numpy", "DocumentRef-x:SPDXRef-y"),
    )
    imported = {"type": "ExternalMap", "externalSpdxId": "urn:elsewhere"}
    graph = spdx30(library3("numpy"), related("dependsOn", "numpy", "urn:elsewhere"))
    graph["@graph"][2]["import"] = [imported]

    assert verify(spdx_case(document))["components"] == 2, "no relationship describes the model"
    assert verify(spdx_case(graph))["components"] == 1


def with_node(**changes: Any) -> dict[str, Any]:
    return spdx30(library3("numpy", **changes))


@pytest.mark.parametrize(
    "document",
    [
        {"@graph": []},
        spdx30() | {"@context": [CONTEXT, {"name": "https://example.org/other"}]},
        spdx30() | {"@context": "https://example.org/context.jsonld"},
        spdx30() | {"more": 1},
        with_node(**{"@context": {"name": "urn:x"}}),
        with_node(**{"@reverse": {}}),
        with_node(**{"https://spdx.org/rdf/3.0.1/terms/Core/name": "leftpad"}),
        with_node(spdxId="https://example.org/sbom#churn"),
        with_node(**{"@id": "https://example.org/sbom#other"}),
        with_node(name=""),
        with_node(name="leftpad"),
        with_node(name=5),
        with_node(software_packageVersion=1),
        with_node(software_packageUrl="pkg:pypi/leftpad@1"),
        with_node(
            externalIdentifier=[
                {"externalIdentifierType": "packageUrl", "identifier": "pkg:pypi/leftpad@1"}
            ]
        ),
        with_node(creationInfo="_:nowhere"),
        spdx30(related("dependsOn", "churn", "nowhere")),
        spdx30(related("dependsOn", "nowhere", "churn")),
        spdx30({"type": "Relationship", "spdxId": "urn:r", "relationshipType": "dependsOn"}),
        spdx30(element("SpdxDocument", "second")),
        spdx30(element("Bom", "b", rootElement=["urn:nowhere"])),
        spdx30({"spdxId": "urn:x"}),
        spdx30({"type": "Person"}),
    ],
)
def test_an_unsound_3_0_document_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(VerificationError):
        verify(spdx_case(document))


def sets(depth: int, width: int) -> list[dict[str, Any]]:
    """Sets of sets that all share their members: few nodes, width ** depth ways through them."""
    return [
        element(
            "expandedlicensing_DisjunctiveLicenseSet", f"s{level}-{n}",
            expandedlicensing_member=[
                f"https://example.org/sbom#s{level + 1}-{m}" if level < depth
                else f"https://spdx.org/licenses/MIT-{n}-{m}"
                for m in range(width)
            ],
        )
        for level in range(depth + 1) for n in range(width)
    ]  # fmt: skip


@pytest.mark.parametrize(("depth", "width"), [(5, 30), (12, 2), (0, 200)])
def test_licences_that_multiply_are_refused_at_once(depth: int, width: int) -> None:
    document = spdx30(
        library3("a"), *sets(depth, width), related("hasDeclaredLicense", "a", "s0-0")
    )

    with pytest.raises(VerificationError, match=r"deeper than is read|undue length"):
        verify(spdx_case(document))


def test_brackets_that_do_not_match_are_refused() -> None:
    text = element(
        "simplelicensing_LicenseExpression", "t", simplelicensing_licenseExpression="MIT) OR (ISC"
    )
    document = spdx30(library3("a"), text, related("hasDeclaredLicense", "a", "t"))

    with pytest.raises(VerificationError, match="unbalanced"):
        verify(spdx_case(document))


def test_a_licence_that_contains_itself_is_refused() -> None:
    loop = element(
        "expandedlicensing_ConjunctiveLicenseSet", "loop",
        expandedlicensing_member=["https://example.org/sbom#loop"],
    )  # fmt: skip
    document = spdx30(library3("a"), loop, related("hasDeclaredLicense", "a", "loop"))

    with pytest.raises(VerificationError, match="deeper than is read"):
        verify(spdx_case(document))


def test_sboms_of_two_formats_are_ambiguous() -> None:
    one = attest(CYCLONEDX, bom(library("numpy")), by=[key("pipeline")])
    other = attest(predicate.SPDX, spdx23(package("numpy")), by=[key("pipeline")])

    with pytest.raises(VerificationError, match="say different things"):
        verify(case(("a.intoto.json", one), ("b.intoto.json", other)))


def test_a_format_is_read_as_what_it_was_signed_as() -> None:
    with pytest.raises(VerificationError, match="not SPDX"):
        verify(spdx_case(bom(library("numpy"))))
    with pytest.raises(VerificationError, match="not a CycloneDX"):
        verify(spdx_case(spdx23(package("numpy")), CYCLONEDX))


def test_many_packages_are_judged_in_seconds() -> None:
    spdx.read(spdx23(*(package(f"p{n}") for n in range(15_000))))
    spdx3.read(spdx30(*(library3(f"p{n}") for n in range(15_000))))


VALUES: list[Any] = [None, True, 0, -1, 1.5, "", "x", "SPDXRef-model", "\x00", "pkg:", [], {}, [[]]]
STARTS = [
    (cyclonedx.read, bom(library("numpy", licenses=[{"expression": "MIT OR (ISC AND Zlib)"}]))),
    (
        spdx.read,
        spdx23(
            package("numpy", licenseDeclared="MIT", checksums=[
                {"algorithm": "SHA1", "checksumValue": "a" * 40}
            ]),
            files=[{"SPDXID": "SPDXRef-f"}],
        ),
    ),
    (
        spdx3.read,
        spdx30(
            library3("numpy", verifiedUsing=[
                {"type": "Hash", "algorithm": "sha256", "hashValue": "a"}
            ]),
            element("dataset_DatasetPackage", "data", externalIdentifier=[
                {"type": "ExternalIdentifier", "externalIdentifierType": "packageUrl",
                 "identifier": "pkg:generic/data"}
            ]),
            element("expandedlicensing_ConjunctiveLicenseSet", "both", expandedlicensing_member=[
                "https://spdx.org/licenses/MIT", "https://spdx.org/licenses/ISC"
            ]),
            related("hasDeclaredLicense", "numpy", "both"),
            related("trainedOn", "churn", "data"),
        ),
    ),
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    if isinstance(value, list):
        inner = enumerate(value)
    return [path, *(p for k, v in inner for p in places(v, (*path, k)))]


def spoiled(document: dict[str, Any], source: random.Random) -> dict[str, Any]:
    result = copy.deepcopy(document)
    for _ in range(source.randint(1, 3)):
        found = [p for p in places(result) if p]
        if not found:
            break
        path = source.choice(found)
        node: Any = result
        for step in path[:-1]:
            node = node[step]
        whole = list(node.values()) if isinstance(node, dict) else list(node)
        how = source.randrange(4)
        if how == 0:
            del node[path[-1]]
        elif how == 1 and isinstance(node, list):
            node.append(copy.deepcopy(source.choice(whole)))
        elif how == 2 and isinstance(node, dict):
            node[source.choice(["@context", "spdxId", "name", "x"])] = source.choice(VALUES)
        else:
            node[path[-1]] = copy.deepcopy(source.choice([*VALUES, *whole]))
    return result


@settings(max_examples=600, deadline=None)
@given(start=st.sampled_from(range(len(STARTS))), seed=st.integers(0, 2**32))
def test_a_spoiled_document_is_read_or_refused_and_nothing_else(start: int, seed: int) -> None:
    read, document = STARTS[start]
    value = spoiled(document, random.Random(seed))
    try:
        listed = inventory.read(read(json.loads(json.dumps(value))))
    except VerificationError:
        return
    assert all(component.name for component in listed)


@settings(max_examples=60, deadline=None)
@given(start=st.sampled_from(range(len(STARTS))), seed=st.integers(0, 2**32))
def test_a_spoiled_document_that_was_signed_breaks_no_verifier(start: int, seed: int) -> None:
    value = spoiled(STARTS[start][1], random.Random(seed))
    kind = (CYCLONEDX, predicate.SPDX, predicate.SPDX)[start]
    about = replace(spdx_case(value, kind), inspection=inspection("numpy==1.0"))
    for verifier in (SbomVerifier(), LicenceVerifier()):
        try:
            facts = dict(verifier.verify(about))
        except VerificationError:
            continue
        assert canonical.encode(facts)
