"""VEX documents in both formats, as their tools write them, and cases that hold them."""

from __future__ import annotations

import copy
from typing import Any

from mlflow_governance.core import digest
from mlflow_governance.evidence.attestation import CYCLONEDX
from mlflow_governance.evidence.interface import Case
from mlflow_governance.evidence.predicate import OPENVEX, Purpose
from tests.unit.evidence.bom_builders import bom, library
from tests.unit.evidence.builders import MANIFEST, attest, case, key, signer, trust

SERIAL = "3e671687-395b-41f5-a30f-a58921a69b79"
LEFTPAD = "pkg:pypi/leftpad@1.0"
MODEL_HEX = digest.hex_of(MANIFEST.digest)
EVERYBODY = trust(
    signer("pipeline", purposes=frozenset({Purpose.SBOM})),
    signer("security", purposes=frozenset({Purpose.VEX})),
)


def openvex(*statements: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A document as ``vexctl create`` writes it, without the author's role."""
    return {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://openvex.dev/docs/public/vex-2e67563e128250cbcb3e98930df948dd053e4327",
        "author": "security@example.com",
        "timestamp": "2026-11-20T19:07:16.853479631-06:00",
        "version": 1,
        "statements": [copy.deepcopy(s) for s in statements or (statement(),)],
        **more,
    }


def statement(status: str = "not_affected", **more: Any) -> dict[str, Any]:
    """A statement about leftpad 1.0."""
    reasons = {
        "not_affected": {"justification": "vulnerable_code_not_in_execute_path"},
        "affected": {"action_statement": "update to 2.0"},
    }
    return {
        "vulnerability": {
            "@id": "https://nvd.nist.gov/vuln/detail/CVE-2026-0001",
            "name": "CVE-2026-0001",
            "aliases": ["GHSA-jfh8-c2jp-5v3q"],
        },
        "products": [{"@id": LEFTPAD}],
        "status": status,
        **reasons.get(status, {}),
        **more,
    }


def cyclonedx(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A CycloneDX document that lists vulnerabilities and no component."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": "urn:uuid:a1b2c3d4-0000-4000-8000-000000000001",
        "version": 1,
        "metadata": {
            "timestamp": "2026-11-20T10:00:00Z",
            "component": {"type": "machine-learning-model", "name": "churn", "bom-ref": "product"},
        },
        "vulnerabilities": [copy.deepcopy(e) for e in entries or (analysed(),)],
        **more,
    }


def analysed(state: str = "not_affected", ref: str = LEFTPAD, **more: Any) -> dict[str, Any]:
    """An analysis of CVE-2026-0001 for one place."""
    versions = {"versions": more.pop("versions")} if "versions" in more else {}
    analysis = {"state": state, "justification": "code_not_reachable", "detail": "never called"}
    return {
        "id": "CVE-2026-0001",
        "source": {"name": "NVD", "url": "https://nvd.nist.gov/vuln/detail/CVE-2026-0001"},
        "references": [{"id": "GHSA-jfh8-c2jp-5v3q", "source": {"name": "GitHub"}}],
        "analysis": {**analysis, **more},
        "affects": [{"ref": ref, **versions}],
    }


def link(fragment: str, version: int = 1) -> str:
    """A BOM-Link into the SBOM of :func:`vex_case`."""
    return f"urn:cdx:{SERIAL}/{version}#{fragment}"


def vex_case(*documents: dict[str, Any], by: str = "security", kind: str = "", **more: Any) -> Case:
    """A case whose SBOM has leftpad 1.0 and numpy, and these documents."""
    sbom = attest(CYCLONEDX, bom(library("leftpad"), library("numpy")), by=[key("pipeline")])
    items = [
        (f"attestations/vex-{number}.intoto.json", attest(_kind(d, kind), d, by=[key(by)]))
        for number, d in enumerate(documents)
    ]
    policy = more.pop("policy", EVERYBODY)
    return case(("attestations/sbom.intoto.json", sbom), *items, policy=policy, **more)


def _kind(document: dict[str, Any], kind: str) -> str:
    return kind or (CYCLONEDX if "bomFormat" in document else OPENVEX)
