"""Each decision as a signed SLSA verification summary (https://slsa.dev/verification_summary/v1)."""

from __future__ import annotations

from typing import Any

from mlflow_governance.core import digest, moment
from mlflow_governance.evidence.attestation import VSA, statement
from mlflow_governance.workflows.judge import Judgement
from mlflow_governance.workflows.ports import Attachment, Ports

_UNKNOWN = digest.of_bytes(b"")
"""The subject of a summary about a version nobody could hash: a FAILED one, necessarily."""


def summary_file(ports: Ports, judgement: Judgement) -> Attachment:
    """``decisions/<gate>-<id>.vsa.json`` of a decision that was carried out."""
    decision, record = judgement.decision, judgement.record
    predicate: dict[str, Any] = {
        "verifier": {"id": f"urn:mlflow-governance:registry:{ports.rules.registry_name}"},
        "timeVerified": moment.to_text(judgement.dossier.now),
        "resourceUri": f"models:/{record.ref}",
        "policy": {
            "uri": f"urn:mlflow-governance:policy:{decision.gate.value}",
            "digest": {"sha256": digest.hex_of(decision.policy_digest)},
        },
        "inputAttestations": [
            {
                "uri": f"urn:mlflow-governance:dossier:{decision.decision_id}",
                "digest": {"sha256": digest.hex_of(decision.dossier_digest)},
            }
        ],
        "verificationResult": "PASSED",
        "verifiedLevels": [_level(judgement)],
        "slsaVersion": "1.1",
    }
    subject_digest = record.digest or _UNKNOWN
    envelope = ports.signer.sign_statement(
        statement(f"models:/{record.ref}", subject_digest, VSA, predicate)
    )
    name = f"decisions/{decision.gate.value}-{decision.decision_id}.vsa.json"
    return Attachment(name, envelope)


def _level(judgement: Judgement) -> str:
    target = judgement.dossier.action.get("to") or judgement.record.stage.value
    return f"MLFLOW_GOVERNANCE_{str(target).upper()}"
