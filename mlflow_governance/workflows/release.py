"""What a release carries: signed manifest, policy snapshot, notes and dashboard links."""

from __future__ import annotations

import json
from typing import Any

from mlflow_governance.core import canonical, digest, moment
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence.attestation import RELEASE, statement
from mlflow_governance.workflows.judge import Judgement
from mlflow_governance.workflows.ports import Attachment, Ports, Reading, VersionRecord

MANIFEST = "release/release_manifest.json"


def release_files(
    ports: Ports, reading: Reading, judgement: Judgement, target: VersionRecord
) -> list[Attachment]:
    """The files of ``release/`` when a version becomes Approved; nothing otherwise."""
    if target.stage is not Stage.APPROVED or target.digest is None:
        return []
    manifest = reading.manifest(target.digest)
    if manifest is None:
        raise VerificationError(f"the registry lost the manifest of {target.ref}")
    document = _manifest_document(reading, judgement, target, manifest)
    envelope = ports.signer.sign_statement(
        statement(f"models:/{target.ref}", target.digest, RELEASE, document)
    )
    readable = json.dumps(document, indent=2, sort_keys=True).encode()
    return [
        Attachment(MANIFEST, readable),
        Attachment("release/release_manifest.json.sig", envelope),
        Attachment("release/release_notes.md", _notes(document).encode()),
        Attachment("release/dashboards_links.json", _dashboards(ports, target)),
        *(
            Attachment(f"release/policy_snapshot/{path}", data)
            for path, data in sorted(judgement.policy.bundle.files.items())
        ),
    ]


def _manifest_document(
    reading: Reading, judgement: Judgement, target: VersionRecord, manifest: Manifest
) -> dict[str, Any]:
    decision, dossier = judgement.decision, judgement.dossier
    return {
        "model": {"name": target.ref.name, "version": target.ref.version, "uid": target.uid},
        "digest": target.digest,
        "files": manifest.to_document(),
        "stage": target.stage.value,
        "submitter": target.submitter,
        **_released(reading, judgement),
        "decision_id": decision.decision_id,
        "dossier_digest": decision.dossier_digest,
        "policy_digest": decision.policy_digest,
        "approvals": [dict(approval) for approval in dossier.approvals],
        "evidence": {
            item.name: digest.of_bytes(item.data) for item in reading.evidence(target.uid)
        },
        "facts": {kind: dict(outcome.facts) for kind, outcome in dossier.evidence.items()},
    }


def _released(reading: Reading, judgement: Judgement) -> dict[str, str]:
    # Judging an approved version again renews its release; who released it, and when, stays.
    by, at = judgement.dossier.actor.person, moment.to_text(judgement.dossier.now)
    if judgement.record.stage is not Stage.APPROVED:
        return {"released_by": by, "released_at": at}
    for attachment in reading.attachments(judgement.record.uid):
        if attachment.path == MANIFEST:
            before = canonical.decode_object(attachment.data)
            kept = {key: before[key] for key in ("released_by", "released_at")}
            return {**kept, "judged_again_by": by, "judged_again_at": at}
    raise VerificationError(f"the registry lost the release of {judgement.record.ref}")


def _notes(document: dict[str, Any]) -> str:
    model, facts = document["model"], document["facts"]
    approvers = [
        f"- {a['person']} for {a['role']} at {a['at']}"
        for a in document["approvals"]
        if a["decision"] == "approve"
    ]
    datasets = facts.get("dataset", {}).get("datasets", [])
    lines = [
        f"# {model['name']} version {model['version']}",
        "",
        f"Released {document['released_at']} by {document['released_by']}, "
        f"submitted by {document['submitter']}.",
        "",
        f"- content: `{document['digest']}` ({len(document['files'])} files)",
        f"- policy: `{document['policy_digest']}`",
        f"- decision: `{document['decision_id']}`",
        "",
        "## Approved by",
        "",
        *(approvers or ["nobody: the risk tier asks for no approval"]),
        "",
        "## Trained on",
        "",
        *[f"- {d['name']} `{d['digest']}`" for d in datasets],
    ]
    return "\n".join(lines) + "\n"


def _dashboards(ports: Ports, target: VersionRecord) -> bytes:
    links = {
        name: template.format(name=target.ref.name, version=target.ref.version)
        for name, template in sorted(ports.rules.dashboards.items())
    }
    return json.dumps(links, indent=2).encode()
