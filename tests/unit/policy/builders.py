"""Good dossiers, one a gate, to spoil one thing at a time."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Dossier, Gate, Outcome, Subject
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.resources import folder
from mlflow_governance.core.stage import Stage
from mlflow_governance.policy import config_schema
from mlflow_governance.policy.bundle import Bundle, from_files, load

MODEL = Digest("sha256:" + "a" * 64)
POLICY = Digest("sha256:" + "b" * 64)
OLD_POLICY = Digest("sha256:" + "c" * 64)
OTHER = Digest("sha256:" + "e" * 64)
YESTERDAY = "2026-11-20T00:00:00.000000Z"
NOW = datetime(2026, 11, 21, 3, 4, 5, 6, UTC)
CONFIG = "registry/config/data.json"

EVIDENCE = {
    "signature": Outcome.passed(signer="ci", keyid="k1"),
    "provenance": Outcome.passed(
        builder_id="https://ci.example/main", finished_at=YESTERDAY, signers=["ci"]
    ),
    "test_result": Outcome.passed(result="PASSED", at=YESTERDAY, signers=["ci"]),
    "sbom": Outcome.passed(components=3, pins_checked=True, unresolved=[]),
    "vulnerabilities": Outcome.passed(
        vulnerabilities=[
            {
                "id": "CVE-2026-1",
                "severity": "LOW",
                "cvss": 3.1,
                "component": "numpy 2.1",
                "kev": False,
                "epss": 0.01,
            },
            {
                "id": "CVE-2026-2",
                "severity": "medium",
                "cvss": None,
                "component": "scipy 1.9",
                "kev": False,
                "epss": None,
            },
        ],
        advisories_at=YESTERDAY,
    ),
    "model_card": Outcome.passed(complete=True, risk_tier="high"),
    "dataset": Outcome.passed(
        datasets=[
            {
                "name": "churn-2026-10", "digest": MODEL, "purpose": "Churn prediction",
                "legal_basis": "contract", "personal_data": "personal", "context": None,
            },
            {
                "name": "churn-health", "digest": OTHER, "purpose": "churn prediction",
                "legal_basis": "consent", "personal_data": "special_category", "context": None,
            },
        ]
    ),
    "canary": Outcome.passed(
        result="PROCEED", at=YESTERDAY, metrics={"traffic_share": {"value": 0.1}},
        window={"from": "2026-11-18T00:00:00.000000Z", "to": "2026-11-19T00:00:00.000000Z"},
        signers=["canary"],
    ),
    "malware": Outcome.passed(verdict="clean", findings=[]),
    "licences": Outcome.passed(licences=[]),
    "layout": Outcome.missing("no layout is attached"),
    "vulnerability_scan": Outcome.passed(scans=[]),
    "change_ticket": Outcome.passed(
        id="CHG-7", system="servicenow", state="approved", url=None, at=YESTERDAY,
        signers=["bridge"], to="2026-11-22T00:00:00.000000Z", **{"from": YESTERDAY},
    ),
    "slo": Outcome.passed(
        met=True,
        profiles=[{
            "profile": "online-scoring", "met": True, "at": YESTERDAY, "signers": ["ops"],
            "objectives": [
                {"name": "latency-p99-ms", "target": 250, "measured": 181.5, "met": True},
            ],
        }],
    ),
    "evaluation": Outcome.passed(
        evaluations=[{
            "dataset": {"name": "churn-holdout", "digest": MODEL}, "metrics": {"accuracy": 0.91},
            "slices": [
                {"attribute": "age", "group": "18-40", "size": 900, "metrics": {"recall": 0.72}},
                {"attribute": "age", "group": "41-99", "size": 700, "metrics": {"recall": 0.8}},
            ],
            "at": YESTERDAY, "signers": ["lab"], "enough_signers": True,
        }],
    ),
    "reproduction": Outcome.passed(
        matches=True,
        builders=[{
            "builder_id": "https://other.example/rebuild", "matches": True, "signers": ["lab"],
            "tolerance": {"metric": "auc", "difference": 0.0004, "limit": 0.01}, "at": YESTERDAY,
        }],
    ),
}  # fmt: skip

_ACTIONS: dict[Gate, dict[str, Any]] = {
    Gate.ACCEPT: {"from": "None", "to": "Candidate"},
    Gate.PROMOTE: {"from": "Staging", "to": "Approved", "reason": "canary is green"},
    Gate.DOWNLOAD: {"door": "registry"},
    Gate.ALIAS: {"alias": "champion", "from_version": 2, "to_version": 3},
    Gate.WITHDRAW: {"from": "Approved", "to": "Revoked", "reason": "leaks personal data"},
}
_STAGES = {
    Gate.ACCEPT: Stage.NONE,
    Gate.PROMOTE: Stage.STAGING,
    Gate.DOWNLOAD: Stage.APPROVED,
    Gate.ALIAS: Stage.APPROVED,
    Gate.WITHDRAW: Stage.APPROVED,
}


def approval(person: str, role: str, **changes: Any) -> dict[str, Any]:
    """An approval document as the dossier has it."""
    return {
        "person": person,
        "role": role,
        "decision": "approve",
        "model_digest": MODEL,
        "policy_digest": POLICY,
        "at": "2026-11-20T00:00:00.000000Z",
    } | changes


def dossier(gate: Gate, **changes: Any) -> Dossier:
    """A dossier its gate allows."""
    subject = Subject(
        ref=VersionRef("churn", 3),
        uid="0f" * 16,
        stage=_STAGES[gate],
        digest=MODEL,
        submitter="dora",
        blocked=False,
        policy_digest=POLICY,
    )
    fields: dict[str, Any] = {
        "gate": gate,
        "actor": Actor("ann", ("product", "security"), authenticated=True),
        "action": _ACTIONS[gate],
        "subject": subject,
        "evidence": EVIDENCE,
        "attached": ({"name": "model.sig", "digest": MODEL},),
        "approvals": (approval("sam", "security"), approval("pia", "product")),
        "runtime": {
            "policy_digest": POLICY,
            "accepted_policy_digests": [POLICY, OLD_POLICY],
        },
        "now": NOW,
    }
    return Dossier(**fields | changes)


def document(gate: Gate) -> dict[str, Any]:
    """The same as a JSON document to spoil by path."""
    return copy.deepcopy(json.loads(dossier(gate).encoded))


def shipped() -> Bundle:
    """The bundle in this repository."""
    return load(folder("policies"))


def configured(**settings: Any) -> Bundle:
    """The shipped bundle with other numbers in its data."""
    bundle = shipped()
    config = json.loads(bundle.files[CONFIG]) | settings
    return from_files({**bundle.files, CONFIG: json.dumps(config).encode()})


def everything() -> Bundle:
    """The shipped bundle with every rule of the library on, by the examples in its schema."""
    rules = config_schema.schema()["properties"]["library"]["properties"]
    return configured(library={name: rule["examples"][0] for name, rule in rules.items()})


def with_module(source: str, name: str = "registry/extra/extra.rego") -> Bundle:
    """The shipped bundle with one more module."""
    return from_files({**shipped().files, name: source.encode()})
