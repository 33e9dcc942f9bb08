"""CycloneDX documents and OSV advisories for the tests of the bill of materials."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from mlflow_governance.core import digest
from mlflow_governance.evidence.attestation import CYCLONEDX
from mlflow_governance.evidence.inspection import CodeVerdict, Inspection
from mlflow_governance.evidence.interface import Case
from tests.unit.evidence.builders import MANIFEST, attest, case, key

CARD_TEXT = b"# churn\n"

CARD: dict[str, Any] = {
    "modelParameters": {"datasets": [{"ref": "data"}]},
    "quantitativeAnalysis": {"performanceMetrics": [{"type": "auc", "value": "0.91"}]},
    "considerations": {
        "users": ["retention team"],
        "useCases": ["rank customers for a call"],
        "technicalLimitations": ["not for business customers"],
        "ethicalConsiderations": [{"name": "age bias", "mitigationStrategy": "checked monthly"}],
    },
}


def library(name: str, version: str | None = "1.0", **more: Any) -> dict[str, Any]:
    """A PyPI component."""
    purl = f"pkg:pypi/{name}" + (f"@{version}" if version else "")
    versioned = {"version": version} if version else {}
    return {
        "type": "library", "name": name, "bom-ref": purl, "purl": purl, **versioned, **more,
    }  # fmt: skip


def model(card: dict[str, Any] | None = None, **properties: str) -> dict[str, Any]:
    """The described model with a complete card."""
    values = {
        "model-digest": MANIFEST.digest,
        "model-card-sha256": digest.of_bytes(CARD_TEXT),
        "risk-tier": "high",
        "owner": "team-risk",
    } | {name.replace("_", "-"): value for name, value in properties.items()}
    return {
        "type": "machine-learning-model",
        "name": "churn",
        "bom-ref": "model",
        "modelCard": copy.deepcopy(CARD) if card is None else card,
        "properties": [
            {"name": f"mlflow-governance:{name}", "value": value} for name, value in values.items()
        ],
    }


def bom(*components: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A valid ML-BOM with these libraries beside the dataset."""
    data = {"type": "data", "name": "customers", "bom-ref": "data"}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
        "version": 1,
        "metadata": {"component": model()},
        "components": [*components, data],
        **more,
    }


def bom_case(document: dict[str, Any], *items: tuple[str, bytes], **more: Any) -> Case:
    """A case with this document signed, and further items."""
    signed = attest(CYCLONEDX, document, by=[key("pipeline")])
    return case(("attestations/sbom.intoto.json", signed), *items, **more)


def inspection(*requirements: str) -> Inspection:
    """A record of a model's files with these requirement lines."""
    return Inspection(digest.of_bytes(b"scanner"), CodeVerdict.CLEAN, requirements=requirements)


def advisory(name: str = "leftpad", *, events: list[Any] | None = None, **more: Any) -> Any:
    """An OSV advisory about a PyPI package, fixed in 2.0 unless told otherwise."""
    ranges = [{"type": "ECOSYSTEM", "events": events or [{"introduced": "0"}, {"fixed": "2.0"}]}]
    return {
        "id": "PYSEC-2026-1",
        "aliases": ["CVE-2026-0001"],
        "modified": "2026-01-01T00:00:00Z",
        "affected": [{"package": {"ecosystem": "PyPI", "name": name}, "ranges": ranges}],
        **more,
    }


def write_advisory(folder: Path, document: Any, name: str = "a.json") -> Path:
    """Write an advisory into a dump; returns the dump."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(document))
    return folder
