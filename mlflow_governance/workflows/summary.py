"""Each decision as a signed SLSA verification summary (https://slsa.dev/verification_summary/v1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_governance.core import digest
from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.stage import Stage, exists
from mlflow_governance.evidence.attestation import VSA, statement
from mlflow_governance.workflows.judge import Judgement
from mlflow_governance.workflows.ports import Attachment, Ports

_UNKNOWN = digest.of_bytes(b"")
"""The subject of a summary about a version nobody could hash: a FAILED one, necessarily."""


def summary_file(ports: Ports, judgement: Judgement) -> Attachment:
    """The summary of a decision as the file beside the model.

    Of decisions that were carried out each has its own file, ``decisions/<gate>-<id>.vsa.json``.
    Refusals of a gate share one, in which the newest stands: whoever may ask for what they
    cannot have must not be able to fill the folder serving reads.
    """
    decision = judgement.decision
    which = decision.decision_id if decision.allow else "refused"
    data = signed_summary(ports, decision.to_document(), judgement.dossier.to_document())
    return Attachment(f"decisions/{decision.gate.value}-{which}.vsa.json", data)


def signed_summary(ports: Ports, decision: Mapping[str, Any], dossier: Mapping[str, Any]) -> bytes:
    """The summary of any decision, PASSED or FAILED, signed by the registry: a DSSE envelope.

    It names the policy by digest, and as input the dossier and each file that was examined.

    Args:
        ports: everything a workflow needs.
        decision: the decision document as stored.
        dossier: the dossier it was made from.
    """
    subject = dossier["subject"]
    version = f"models:/{subject['name']}/{subject['version']}"
    passed = decision["allow"] is True and _possible(dossier)
    predicate: dict[str, Any] = {
        "verifier": {"id": f"urn:mlflow-governance:registry:{ports.rules.registry_name}"},
        "timeVerified": dossier["now"],
        "resourceUri": version,
        "policy": {
            "uri": f"urn:mlflow-governance:policy:{decision['gate']}",
            "digest": _sha256(decision["policy_digest"]),
        },
        "inputAttestations": [
            {
                "uri": f"urn:mlflow-governance:dossier:{decision['decision_id']}",
                "digest": _sha256(decision["dossier_digest"]),
            },
            *(
                {
                    "uri": f"urn:mlflow-governance:evidence:{file['name']}",
                    "digest": _sha256(file["digest"]),
                }
                for file in dossier.get("attached", [])
            ),
        ],
        "verificationResult": "PASSED" if passed else "FAILED",
        "verifiedLevels": [_level(dossier) if passed else "FAILED"],
        "slsaVersion": "1.1",
    }
    about = subject["digest"] or _UNKNOWN
    return ports.signer.sign_statement(statement(version, about, VSA, predicate))


def _possible(dossier: Mapping[str, Any]) -> bool:
    # What a policy allows and the life cycle does not have was never carried out.
    action, origin = dossier["action"], dossier["subject"].get("quarantined_from")
    if dossier["gate"] not in (Gate.PROMOTE, Gate.WITHDRAW):
        return True
    try:
        return exists(Stage(action["from"]), Stage(action["to"]), Stage(origin) if origin else None)
    except (KeyError, ValueError):
        return False


def _sha256(value: str) -> dict[str, str]:
    return {"sha256": digest.hex_of(digest.parse(value))}


def _level(dossier: Mapping[str, Any]) -> str:
    target = dossier["action"].get("to") or dossier["subject"]["stage"]
    return f"MLFLOW_GOVERNANCE_{str(target).upper()}"
