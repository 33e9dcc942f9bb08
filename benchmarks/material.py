"""A small signed model with every kind of evidence, and the dossiers made from it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_governance.core import canonical, digest, moment
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Dossier, Gate, Outcome, Subject
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.evidence import attestation, envelope
from mlflow_governance.evidence.authority import KeyHolder
from mlflow_governance.evidence.examiner import EvidenceExaminer, default_verifiers
from mlflow_governance.evidence.hashing import hash_directory
from mlflow_governance.evidence.inspection import Inspection
from mlflow_governance.evidence.interface import EvidenceItem, Kind
from mlflow_governance.evidence.keys import PrivateKey, generate_key_pair, load_private_key
from mlflow_governance.evidence.malware import inspect_directory
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.signature import sign_model
from mlflow_governance.evidence.trust import Signer, TrustPolicy

NAME = "bench"
COMPONENTS = 90
ADVISORIES = 1000
_WEIGHTS = 25_000
"""Numbers beside the model, so that it has some 200 kB."""
PURPOSES = (
    Purpose.SIGNATURE,
    Purpose.PROVENANCE,
    Purpose.TEST_RESULT,
    Purpose.SBOM,
    Purpose.MODEL_CARD,
    Purpose.DATASET,
    Purpose.CANARY,
)


@dataclass(frozen=True)
class Material:
    """A model directory, what is signed about it, and by whom.

    ``public_key`` is the file ``trust add`` takes; ``advisories`` is a folder with one archive.
    """

    model: Path
    manifest: Manifest
    items: tuple[EvidenceItem, ...]
    key: PrivateKey
    public_key: Path
    advisories: Path
    inspection: Inspection

    @classmethod
    def make(cls, folder: Path) -> Material:
        """Write and sign a model below ``folder``; the evidence lies beside it."""
        private = folder / "signer.pem"
        generate_key_pair(private)
        key = load_private_key(private)
        model = folder / "model"
        _write_model(model)
        manifest = hash_directory(model)
        items = _evidence(manifest, key)
        for item in items:
            path = model / "governance" / "evidence" / item.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(item.data)
        advisories = folder / "advisories"
        advisories.mkdir()
        (advisories / "all.zip").write_bytes(_advisories())
        read = inspect_directory(model, manifest, private=True)
        return cls(model, manifest, items, key, private.with_suffix(".pub"), advisories, read)

    def examiner(self) -> EvidenceExaminer:
        """Runs every verifier, trusting the one key for everything."""
        signer = Signer("bench", KeyHolder(self.key.public), frozenset(PURPOSES))
        return EvidenceExaminer(TrustPolicy((signer,)), default_verifiers(self.advisories))

    def examine(self) -> dict[Kind, Outcome]:
        """The outcome of every kind; all that are attached pass.

        Raises:
            RuntimeError: one does not, so whatever is measured would be a refusal.
        """
        outcomes = self.examiner().examine(
            self.manifest, NAME, self.items, moment.now(), self.inspection
        )
        failed = {
            kind.value: o.problem for kind, o in outcomes.items() if o.problem and kind in _ATTACHED
        }
        if failed:
            raise RuntimeError(f"the evidence of the benchmark does not verify: {failed}")
        return outcomes


def _write_model(folder: Path) -> None:
    """A real model as MLflow writes it, which needs the first of the packages in the SBOM."""
    import mlflow
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    mlflow.sklearn.save_model(model, folder, pip_requirements=["package-1==1.1.0"])
    np.save(folder / "weights.npy", np.zeros(_WEIGHTS))


def dossier(gate: Gate, material: Material, policy: Digest) -> Dossier:
    """A dossier the gate allows, with all evidence and both approvals."""
    now = moment.now()
    before, action = _ACTIONS[gate]
    subject = material.manifest.digest
    approvals = [
        {
            "person": person,
            "role": role,
            "decision": "approve",
            "model_digest": subject,
            "policy_digest": policy,
            "at": moment.to_text(now - timedelta(hours=1)),
        }
        for person, role in (("sam", "security"), ("pia", "product"))
    ]
    return Dossier(
        gate=gate,
        actor=Actor("ann", ("product",), authenticated=True),
        action=action,
        subject=Subject(
            VersionRef(NAME, 3), "0f" * 16, before, subject, "dora", blocked=False,
            policy_digest=policy,
        ),
        evidence={kind.value: outcome for kind, outcome in material.examine().items()},
        approvals=tuple(approvals),
        runtime={"policy_digest": policy, "accepted_policy_digests": [policy]},
        now=now,
    )  # fmt: skip


_ATTACHED = frozenset(
    {
        Kind.SIGNATURE,
        Kind.PROVENANCE,
        Kind.TEST_RESULT,
        Kind.SBOM,
        Kind.VULNERABILITIES,
        Kind.MODEL_CARD,
        Kind.DATASET,
        Kind.CANARY,
        Kind.MALWARE,
        Kind.LICENCES,
    }
)
"""What a gate needs as the policies ship; whatever else there may be is missing."""

_ACTIONS: dict[Gate, tuple[Stage, dict[str, Any]]] = {
    Gate.DOWNLOAD: (Stage.APPROVED, {"door": "registry"}),
    Gate.PROMOTE: (Stage.STAGING, {"from": "Staging", "to": "Approved", "reason": "canary ok"}),
    Gate.ACCEPT: (Stage.NONE, {"from": "None", "to": "Candidate"}),
}


def _evidence(manifest: Manifest, key: PrivateKey) -> tuple[EvidenceItem, ...]:
    card = f"# {NAME}\n\nMade to be measured.\n".encode()
    bom = _bom(manifest.digest, digest.of_bytes(card))
    bodies = {
        "provenance": (attestation.SLSA_PROVENANCE, _PROVENANCE),
        "test-result": (attestation.TEST_RESULT, _RESULT),
        "sbom": (attestation.CYCLONEDX, bom),
        "dataset": (attestation.DATASET, _DATASET),
        "canary": (attestation.CANARY, _canary()),
    }
    signed = [
        EvidenceItem(f"attestations/{name}.intoto.json", _attest(manifest, key, kind, body))
        for name, (kind, body) in bodies.items()
    ]
    return (
        EvidenceItem("model.sig", sign_model(manifest, NAME, key)),
        *signed,
        EvidenceItem("sbom.cdx.json", json.dumps(bom, indent=2).encode()),
        EvidenceItem("model_card.md", card),
    )


def _attest(manifest: Manifest, key: PrivateKey, kind: str, body: Mapping[str, Any]) -> bytes:
    payload = canonical.encode(attestation.statement(NAME, manifest.digest, kind, body))
    return envelope.sign(payload, envelope.IN_TOTO, [key])


def _bom(model: Digest, card: Digest) -> dict[str, Any]:
    described = {
        "model-digest": model,
        "model-card-sha256": card,
        "risk-tier": "high",
        "owner": "team-bench",
    }
    properties = [{"name": f"mlflow-governance:{k}", "value": v} for k, v in described.items()]
    packages = {f"package-{i}": f"1.{i}.0" for i in range(1, COMPONENTS)}
    packages["mlflow"] = metadata.version("mlflow")  # which MLflow pins with every model
    libraries = [
        {
            "type": "library",
            "name": name,
            "version": version,
            "bom-ref": f"pkg:pypi/{name}@{version}",
            "purl": f"pkg:pypi/{name}@{version}",
            "licenses": [{"license": {"id": "Apache-2.0"}}],
        }
        for name, version in packages.items()
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "machine-learning-model",
                "name": NAME,
                "bom-ref": "model",
                "modelCard": _CARD,
                "properties": properties,
            }
        },
        "components": [*libraries, {"type": "data", "name": "customers", "bom-ref": "data"}],
    }


def _canary() -> dict[str, Any]:
    end = moment.now() - timedelta(minutes=10)
    window = {"from": moment.to_text(end - timedelta(hours=1)), "to": moment.to_text(end)}
    metrics = {"auc": 0.91, "p95_ms": 12.5}
    return {"result": "PROCEED", "at": window["to"], "window": window, "metrics": metrics}


def _advisories() -> bytes:
    """An archive like the one osv.dev publishes; none affects the model."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(ADVISORIES):
            package = {"ecosystem": "PyPI", "name": f"package-{i}"}
            fixed = [{"introduced": "0"}, {"fixed": "0.9"}]
            ranges = [{"type": "ECOSYSTEM", "events": fixed}]
            affected = [{"package": package, "ranges": ranges}]
            advisory = {"id": f"PYSEC-{i}", "modified": "2026-01-01T00:00:00Z"}
            archive.writestr(f"PYSEC-{i}.json", json.dumps({**advisory, "affected": affected}))
    return buffer.getvalue()


_PROVENANCE: dict[str, Any] = {
    "buildDefinition": {
        "buildType": "https://example.com/train/v1",
        "externalParameters": {"config": "train.yaml"},
        "resolvedDependencies": [
            {"uri": "git+https://example.com/repository", "digest": {"sha1": "a" * 40}}
        ],
    },
    "runDetails": {
        "builder": {"id": "https://example.com/builder"},
        "metadata": {"invocationId": "run-1"},
    },
}
_RESULT = {"result": "PASSED", "configuration": [{"name": "suite.yaml"}], "passedTests": ["auc"]}
_DATASET = {
    "datasets": [{"name": "customers", "digest": "sha256:" + "d" * 64, "source": "s3://data/c"}]
}
_CARD = {
    "modelParameters": {"datasets": [{"ref": "data"}]},
    "quantitativeAnalysis": {"performanceMetrics": [{"type": "auc", "value": "0.91"}]},
    "considerations": {
        "users": ["retention team"],
        "useCases": ["rank customers for a call"],
        "technicalLimitations": ["not for business customers"],
        "ethicalConsiderations": [{"name": "age bias", "mitigationStrategy": "checked monthly"}],
    },
}
