"""Predicate types: their URIs, what they attest to, and the JSON Schemas they are held to."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from itertools import islice
from typing import Any

from mlflow_governance.core import canonical, resources
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import schema_words

SLSA_PROVENANCE = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
VSA = "https://slsa.dev/verification_summary/v1"
CYCLONEDX = "https://cyclonedx.org/bom"
CYCLONEDX_TYPES = (CYCLONEDX, *(f"{CYCLONEDX}/v{version}" for version in ("1.5", "1.6", "1.7")))
"""As cosign writes it, and with the version in it, as the in-toto attestation catalogue has it."""
SPDX = "https://spdx.dev/Document"
SPDX_TYPES = (SPDX, f"{SPDX}/v2.3", f"{SPDX}/v3")
"""As cosign writes it (``--type spdxjson``), as syft and GitHub do, and as SPDX 3 asks for."""
MODEL_SIGNATURE = "https://model_signing/signature/v1.0"
CANARY = "urn:mlflow-governance:canary:v1"
DATASET = "urn:mlflow-governance:dataset:v1"
RELEASE = "urn:mlflow-governance:release:v1"
CHANGE_TICKET = "urn:mlflow-governance:change-ticket:v1"
SLO = "urn:mlflow-governance:slo:v1"
EVALUATION = "urn:mlflow-governance:evaluation:v1"
REPRODUCTION = "urn:mlflow-governance:reproduction:v1"
VULNERABILITY_SCAN_V01 = "https://in-toto.io/attestation/vulns/v0.1"
VULNERABILITY_SCAN = "https://in-toto.io/attestation/vulns/v0.2"
PACKAGE_RELEASE_V01 = "https://in-toto.io/attestation/release/v0.1"
PACKAGE_RELEASE = "https://in-toto.io/attestation/release/v0.2"
OPENVEX = "https://openvex.dev/ns/v0.2.0"
OPENVEX_OF_COSIGN = "https://openvex.dev/ns"
"""What ``cosign attest --type openvex`` calls it."""

_MAX_PROBLEMS = 5


class Purpose(StrEnum):
    """What a signer may be trusted for; the words of ``for:`` in ``trust.yaml``."""

    SIGNATURE = "signature"
    PROVENANCE = "provenance"
    TEST_RESULT = "test-result"
    CANARY = "canary"
    SBOM = "sbom"
    MODEL_CARD = "model-card"
    DATASET = "dataset"
    LAYOUT = "layout"
    VEX = "vex"
    VULNERABILITY_SCAN = "vulnerability-scan"
    CHANGE_TICKET = "change-ticket"
    SLO = "slo"
    EVALUATION = "evaluation"
    REPRODUCTION = "reproduction"
    REGISTRY = "registry"
    POLICY = "policy"


PURPOSES: Mapping[str, Purpose] = {
    MODEL_SIGNATURE: Purpose.SIGNATURE,
    SLSA_PROVENANCE: Purpose.PROVENANCE,
    TEST_RESULT: Purpose.TEST_RESULT,
    CANARY: Purpose.CANARY,
    **dict.fromkeys((*CYCLONEDX_TYPES, *SPDX_TYPES), Purpose.SBOM),
    DATASET: Purpose.DATASET,
    VSA: Purpose.REGISTRY,
    RELEASE: Purpose.REGISTRY,
    VULNERABILITY_SCAN_V01: Purpose.VULNERABILITY_SCAN,
    VULNERABILITY_SCAN: Purpose.VULNERABILITY_SCAN,
    PACKAGE_RELEASE_V01: Purpose.REGISTRY,
    PACKAGE_RELEASE: Purpose.REGISTRY,
    OPENVEX: Purpose.VEX,
    OPENVEX_OF_COSIGN: Purpose.VEX,
    CHANGE_TICKET: Purpose.CHANGE_TICKET,
    SLO: Purpose.SLO,
    EVALUATION: Purpose.EVALUATION,
    REPRODUCTION: Purpose.REPRODUCTION,
}
"""The purpose a signer needs for a predicate type; whatever is not here nobody may attest."""

_SCHEMAS: Mapping[str, str] = {
    SLSA_PROVENANCE: "predicates/slsa-provenance.schema.json",
    TEST_RESULT: "predicates/test-result.schema.json",
    VSA: "predicates/vsa.schema.json",
    CANARY: "predicates/canary.schema.json",
    DATASET: "predicates/dataset.schema.json",
    RELEASE: "predicates/release.schema.json",
    VULNERABILITY_SCAN_V01: "predicates/vulnerability-scan.schema.json",
    VULNERABILITY_SCAN: "predicates/vulnerability-scan.schema.json",
    PACKAGE_RELEASE_V01: "predicates/package-release.schema.json",
    PACKAGE_RELEASE: "predicates/package-release.schema.json",
    OPENVEX_OF_COSIGN: "predicates/openvex.schema.json",
    OPENVEX: "predicates/openvex.schema.json",
    CHANGE_TICKET: "predicates/change-ticket.schema.json",
    SLO: "predicates/slo.schema.json",
    EVALUATION: "predicates/evaluation.schema.json",
    REPRODUCTION: "predicates/reproduction.schema.json",
}
"""Of types with one schema the newest stands last: its short name means that."""


def purpose_of(predicate_type: str, predicate: Mapping[str, Any]) -> Purpose | None:
    """What a signer must be trusted for to say this; None where nobody may.

    A CycloneDX document that lists vulnerabilities and no component of its own is a VEX, not an
    SBOM (CycloneDX, "Vulnerability Exploitability eXchange": kept apart from the inventory).
    """
    if predicate_type in CYCLONEDX_TYPES and predicate.get("vulnerabilities"):
        return Purpose.SBOM if predicate.get("components") else Purpose.VEX
    return PURPOSES.get(predicate_type)


def check(predicate_type: str, predicate: Mapping[str, Any]) -> None:
    """Hold a predicate to its schema; types without a schema of ours pass.

    Raises:
        VerificationError: it does not fit, with the first few places where.
    """
    schema = _SCHEMAS.get(predicate_type)
    problems = schema_problems(schema, predicate) if schema else []
    if problems:
        raise VerificationError(f"the predicate is malformed: {'; '.join(problems)}")


def schema_problems(schema: str, value: Any) -> list[str]:
    """Where a JSON value does not fit ``attestations/<schema>``; at most the first few places."""
    try:
        errors = list(islice(_validator(schema).iter_errors(value), _MAX_PROBLEMS))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        return [f"not a JSON value: {error}"]  # YAML has more values than JSON
    return [
        f"{'.'.join(map(str, error.instance_path))[:120] or 'document'}: {error.message[:200]}"
        for error in errors
    ]


def checked() -> dict[str, str]:
    """Every predicate type that has a schema of ours, with the name of that, such as ``canary``."""
    ending = ".schema.json"
    return {
        kind: schema.rpartition("/")[2].removesuffix(ending) for kind, schema in _SCHEMAS.items()
    }


@cache
def _validator(schema: str) -> Any:
    import jsonschema_rs

    data = (resources.folder("attestations") / schema).read_bytes()
    return jsonschema_rs.validator_for(
        canonical.decode_object(data),
        keywords=schema_words.KEYWORDS,
        formats=schema_words.FORMATS,
        validate_formats=True,
    )
