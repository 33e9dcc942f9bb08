"""SPDX 2.3 documents in JSON, held to what the registry relies on.

``attestations/sboms/spdx-2.3.schema.json`` has the shape: required fields, known fields only,
bounds. Checked here is what it cannot say: identifiers are unique, and relationships, described
elements, contained files and ``LicenseRef-``s lead to what the document holds or declares to be
in another one.

Source: SPDX specification 2.3, clauses 6 to 11 and annex D.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import predicate
from mlflow_governance.evidence.inventory import Listing

_DOCUMENT = "SPDXRef-DOCUMENT"
_NOTHING = frozenset({"NONE", "NOASSERTION"})
_LICENCE_REF = re.compile(r"(?<![A-Za-z0-9.:-])LicenseRef-[A-Za-z0-9.-]+")
_ALGORITHMS = {"MD5": "MD5", "SHA1": "SHA-1", "SHA256": "SHA-256", "SHA384": "SHA-384",
               "SHA512": "SHA-512"}  # fmt: skip
_TYPES = {
    "APPLICATION": "application",
    "FRAMEWORK": "framework",
    "CONTAINER": "container",
    "OPERATING-SYSTEM": "operating-system",
    "DEVICE": "device",
    "FIRMWARE": "firmware",
    "FILE": "file",
}
_ELEMENTS = ("packages", "files", "snippets")


def read(document: Mapping[str, Any]) -> Listing:
    """What a document lists: its packages; the one it describes, if it is one, first.

    Raises:
        VerificationError: it does not fit, with the first few places where.
    """
    problems = predicate.schema_problems("sboms/spdx-2.3.schema.json", document)
    if problems:
        raise VerificationError(f"the SBOM is not SPDX 2.3: {'; '.join(problems)}")
    declared = _declared(document)
    outside = {entry["externalDocumentId"] for entry in document.get("externalDocumentRefs", [])}
    for reference in _references(document):
        beyond, colon, _ = reference.partition(":")
        if not (beyond in outside if colon else reference in declared):
            raise VerificationError(
                f"the SBOM refers to what it does not hold: {reference[:120]!r}"
            )
    packages = [_component(package) for package in document.get("packages", [])]
    described = _described(document) & {package["bom-ref"] for package in packages}
    packages.sort(key=lambda package: package["bom-ref"] not in described)
    return Listing("SPDX", "2.3", document["documentNamespace"], packages, len(described) == 1)


def _declared(document: Mapping[str, Any]) -> set[str]:
    declared = {_DOCUMENT}
    identities = [e["SPDXID"] for name in _ELEMENTS for e in document.get(name, [])]
    identities += [e["licenseId"] for e in document.get("hasExtractedLicensingInfos", [])]
    for identity in identities:
        if identity in declared:
            raise VerificationError(f"the SBOM declares the SPDXID {identity[:120]!r} twice")
        declared.add(identity)
    return declared


def _references(document: Mapping[str, Any]) -> Iterator[str]:
    yield from document.get("documentDescribes", [])
    for relationship in document.get("relationships", []):
        yield relationship["spdxElementId"]
        if relationship["relatedSpdxElement"] not in _NOTHING:
            yield relationship["relatedSpdxElement"]
    for package in document.get("packages", []):
        yield from package.get("hasFiles", [])
        for field in ("licenseConcluded", "licenseDeclared"):
            yield from _LICENCE_REF.findall(package.get(field, ""))


def _described(document: Mapping[str, Any]) -> set[str]:
    found = set(document.get("documentDescribes", []))
    for relationship in document.get("relationships", []):
        one, other = relationship["spdxElementId"], relationship["relatedSpdxElement"]
        if relationship["relationshipType"] == "DESCRIBES" and one == _DOCUMENT:
            found.add(other)
        if relationship["relationshipType"] == "DESCRIBED_BY" and other == _DOCUMENT:
            found.add(one)
    return found


def _component(package: Mapping[str, Any]) -> dict[str, Any]:
    purls = {
        reference["referenceLocator"]
        for reference in package.get("externalRefs", [])
        if reference["referenceType"] == "purl"
    }
    if len(purls) > 1:
        raise VerificationError(f"the SBOM gives {package['name'][:120]!r} several purls")
    component: dict[str, Any] = {
        "type": _TYPES.get(package.get("primaryPackagePurpose", ""), "library"),
        "bom-ref": package["SPDXID"],
        "name": package["name"],
        **({"version": package["versionInfo"]} if package.get("versionInfo") else {}),
        **({"purl": purls.pop()} if purls else {}),
    }
    for field in ("licenseDeclared", "licenseConcluded"):  # a conclusion stands above a claim
        if package.get(field, "NOASSERTION") != "NOASSERTION":
            component["licenses"] = [{"expression": package[field]}]
    component["hashes"] = [
        {"alg": _ALGORITHMS[entry["algorithm"]], "content": entry["checksumValue"]}
        for entry in package.get("checksums", [])
        if entry["algorithm"] in _ALGORITHMS
    ]
    return component
