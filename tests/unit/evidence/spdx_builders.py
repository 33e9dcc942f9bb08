"""SPDX documents for the tests, in both of its forms."""

from __future__ import annotations

from typing import Any

from mlflow_governance.evidence.interface import Case
from mlflow_governance.evidence.predicate import SPDX
from tests.unit.evidence.builders import attest, case, key

CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
_ID = "https://example.org/sbom#"


def spdx_case(document: dict[str, Any], kind: str = SPDX, **more: Any) -> Case:
    """A case with this document signed."""
    signed = attest(kind, document, by=[key("pipeline")])
    return case(("attestations/sbom.intoto.json", signed), **more)


def package(name: str, version: str = "1.0", /, **more: Any) -> dict[str, Any]:
    """A PyPI package in SPDX 2.3."""
    purl = {
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": f"pkg:pypi/{name}@{version}",
    }
    return {
        "SPDXID": f"SPDXRef-{name}",
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "externalRefs": [purl],
        **more,
    }


def spdx23(*packages: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A valid SPDX 2.3 document that describes the model and lists these packages."""
    described = {
        "SPDXID": "SPDXRef-model", "name": "churn", "downloadLocation": "NOASSERTION",
        "primaryPackagePurpose": "OTHER", "filesAnalyzed": False,
    }  # fmt: skip
    return {
        "SPDXID": "SPDXRef-DOCUMENT",
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "name": "churn",
        "documentNamespace": "https://example.org/churn-1",
        "creationInfo": {"created": "2026-01-01T00:00:00Z", "creators": ["Tool: t-1"]},
        "packages": [*packages, described],
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": "SPDXRef-model",
            }
        ],
        **more,
    }


def element(kind: str, name: str, /, **more: Any) -> dict[str, Any]:
    """An element of an SPDX 3.0 graph."""
    return {"type": kind, "spdxId": _ID + name, "creationInfo": "_:info", "name": name, **more}


def related(kind: str, source: str, *targets: str) -> dict[str, Any]:
    """A relationship between elements made by :func:`element`, or IRIs."""
    return {
        "type": "Relationship",
        "spdxId": f"{_ID}{source}-{kind}",
        "creationInfo": "_:info",
        "relationshipType": kind,
        "from": _ID + source,
        "to": [t if ":" in t else _ID + t for t in targets],
    }


def library3(name: str, version: str = "1.0", /, **more: Any) -> dict[str, Any]:
    """A PyPI package in SPDX 3.0."""
    values = {
        "software_packageVersion": version,
        "software_packageUrl": f"pkg:pypi/{name}@{version}",
    }
    return element("software_Package", name, **values | more)


def spdx30(*elements: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A valid SPDX 3.0 document about an AI package, with these elements beside it."""
    info = {
        "type": "CreationInfo", "@id": "_:info", "specVersion": "3.0.1",
        "created": "2026-01-01T00:00:00Z", "createdBy": [_ID + "alice"],
    }  # fmt: skip
    root = element("SpdxDocument", "document", rootElement=[_ID + "bom"])
    bom = element("software_Sbom", "bom", rootElement=[_ID + "churn"])
    about = element("ai_AIPackage", "churn", software_packageVersion="3")
    graph = [info, element("Person", "alice"), root, bom, *elements, about]
    return {"@context": CONTEXT, "@graph": graph, **more}
