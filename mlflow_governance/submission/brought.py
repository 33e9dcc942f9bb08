"""The SBOM of another tool, inside the document that ``submit`` signs.

One document says what a model is made of: two that differ are refused. So what the other tool lists
stands beside the model, its base models and its data, in the place of what would have been read
from the running environment; a property names the document it was taken from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow_governance.core import canonical, digest
from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence import sbom
from mlflow_governance.evidence.interface import MAX_ITEM_BYTES
from mlflow_governance.submission import predicates

TAKEN_FROM = "mlflow-governance:sbom-taken-from"
"""Property of the document: format and version of the other, and its SHA-256."""

_MODEL = "model"
"""The ``bom-ref`` of the model in the document that is signed."""


@dataclass(frozen=True)
class BroughtBom:
    """What another tool lists, in the form of CycloneDX."""

    components: tuple[dict[str, Any], ...]
    dependencies: Mapping[str, tuple[str, ...]]
    """What needs what, by reference."""
    spec_version: str
    origin: str

    def into(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """A CycloneDX document of the model with these components beside its own."""
        edges = {entry["ref"]: set(entry["dependsOn"]) for entry in document["dependencies"]}
        for ref, needs in self.dependencies.items():
            edges.setdefault(ref, set()).update(needs)
        metadata = document["metadata"]
        return {
            **document,
            "specVersion": max(document["specVersion"], self.spec_version),
            "metadata": {**metadata, "properties": [{"name": TAKEN_FROM, "value": self.origin}]},
            "components": [*self.components, *document["components"]],
            "dependencies": [
                {"ref": ref, "dependsOn": sorted(needs)} for ref, needs in edges.items()
            ],
        }


def read_sbom(path: Path) -> BroughtBom:
    """CycloneDX 1.5 to 1.7 or SPDX 2.3 or 3.0, held to its form.

    Raises:
        InvalidRequest: it cannot be read, or is neither.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_ITEM_BYTES + 1)
    except OSError as error:
        raise InvalidRequest(f"the SBOM {path} cannot be read: {error.strerror}") from error
    body = canonical.decode_object(data, max_bytes=MAX_ITEM_BYTES)
    spdx = "spdxVersion" in body or "@graph" in body
    try:
        _, kind = predicates.held("spdx" if spdx else "cyclonedx", body)
        listing = sbom.read_document(body, kind)
    except VerificationError as error:
        raise InvalidRequest(f"{path}: {error.message}", advice=error.advice) from error
    listed = listing.components[1:] if listing.described else listing.components
    components = tuple(
        {key: value for key, value in entry.items() if key != "components"} for entry in listed
    )
    described = listing.components[0].get("bom-ref", "") if listing.described else ""
    return BroughtBom(
        components,
        _all_of(components) if spdx else _edges(body, described, components),
        "" if spdx else listing.spec_version,
        f"{listing.format} {listing.spec_version} {digest.of_bytes(data)}",
    )


def _all_of(components: tuple[dict[str, Any], ...]) -> dict[str, tuple[str, ...]]:
    return {_MODEL: tuple(entry["bom-ref"] for entry in components if "bom-ref" in entry)}


def _edges(
    body: Mapping[str, Any], described: str, components: tuple[dict[str, Any], ...]
) -> dict[str, tuple[str, ...]]:
    """The edges of a CycloneDX document; what needed its subject's parts is the model now."""
    edges = {
        (_MODEL if entry["ref"] == described else entry["ref"]): tuple(
            ref for ref in entry.get("dependsOn", []) if ref != described
        )
        for entry in body.get("dependencies", [])
    }
    return edges if edges.get(_MODEL) else _all_of(components) | edges
