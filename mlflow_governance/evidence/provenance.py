"""Where a model comes from: SLSA provenance v1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence.attestation import SLSA_PROVENANCE, find_statements
from mlflow_governance.evidence.interface import Case, Kind


class ProvenanceVerifier:
    """Proves who built the model, and how.

    Facts: ``builder_id``, ``build_type``, ``invocation_id`` (empty when not given), ``signers``
    (names), ``resolved_dependencies`` (how many).
    """

    kind = Kind.PROVENANCE

    def verify(self, case: Case) -> Mapping[str, Any]:
        """The facts of the provenance; several statements must tell the same story.

        Raises:
            EvidenceMissing: there is no provenance.
            VerificationError: none counts, or they contradict each other.
        """
        found = find_statements(case, SLSA_PROVENANCE)
        stories = [_story(entry.statement.predicate) for entry in found]
        if any(story != stories[0] for story in stories):
            files = ", ".join(entry.item_name for entry in found)
            raise VerificationError(f"the provenance statements contradict each other: {files}")
        return {
            **stories[0],
            "signers": sorted({name for entry in found for name in entry.signers}),
        }


def _story(body: Mapping[str, Any]) -> dict[str, Any]:
    definition, details = body["buildDefinition"], body["runDetails"]
    return {
        "builder_id": details["builder"]["id"],
        "build_type": definition["buildType"],
        "invocation_id": details.get("metadata", {}).get("invocationId", ""),
        "resolved_dependencies": len(definition.get("resolvedDependencies", [])),
    }
