"""Dossiers to try a policy on: for each gate good ones, and as many changed ones as are wanted.

The good ones are allowed by the policies that ship. A changed one has values removed or replaced,
at random and yet always alike for a seed, and is still a dossier the registry could write: what
:func:`.decide.decide` would refuse before any engine sees it tries nothing.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Dossier, Gate, Outcome, Subject
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.policy.validity import is_valid

SEED = 20261121
MODEL = Digest("sha256:" + "a" * 64)
POLICY = Digest("sha256:" + "b" * 64)
OLD_POLICY = Digest("sha256:" + "c" * 64)
OTHER = Digest("sha256:" + "e" * 64)
YESTERDAY = "2026-11-20T00:00:00.000000Z"
NOW = datetime(2026, 11, 21, 3, 4, 5, 6, UTC)

Path = tuple[str | int, ...]

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
            "profile": "online-scoring", "met": True, "at": YESTERDAY, "signers": ["sre"],
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


VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, 6.9, 7.0, -1, "", " ", "x", "true", "passed", "PASSED", "PROCEED",
    "low", "medium", "high", "security", "approve", "ann", "Dora ", "registry", "artifact",
    "champion", "None", "Candidate", "Staging", "Approved", "Deprecated", "Quarantined", "Revoked",
    MODEL, POLICY, OLD_POLICY, MODEL.upper(), MODEL + "\n", "sha256:", "9.8", "HIGH", [], {}, [[]],
    ["security"], ["evaluator"], [None], {"status": "passed"}, [POLICY],
    [{"id": "CVE-9", "severity": "CRITICAL", "cvss": 9.8}], [{"severity": "low", "cvss": None}],
    [{"severity": "low", "cvss": None, "kev": False, "epss": 0.4}], {"status": "fixed"},
    [{"severity": "low", "cvss": 1, "kev": True, "epss": 0.4, "vex": None}],
    [{"id": "CVE-9", "vex": {"status": "not_affected", "signer": "sec"}}], [{"vex": "fixed"}],
    [{"id": "CVE-9", "vex": {"status": "affected", "signer": "sec"}}],
    [{"id": "CVE-9", "vex": {"status": "fixed", "signer": ""}}],
    "2026-11-21T03:04:05Z", "not a date", "sam", "pia", 3, {"x": [1, {"y": None}]},
)  # fmt: skip

_OUTCOMES: tuple[Any, ...] = (
    *(
        {"status": status, "facts": {}, "problem": "it says so"}
        for status in ("passed", "failed", "missing", "error")
    ),
)

_LIKELY = VALUES + 4 * _OUTCOMES
"""Whole outcomes more often: they keep the shape of a dossier, most other values break it."""

_ROOMS = (*4 * ("evidence",), *2 * ("action",), "approvals", "subject", "actor", "runtime")
"""Most of what may be otherwise is in what verifiers found and what people ask."""


def paths(value: Any, at: Path = ()) -> Iterator[Path]:
    """Every path into a JSON value, parents first."""
    steps = value.items() if isinstance(value, dict) else enumerate(value)
    for step, inner in steps:
        yield (*at, step)
        if isinstance(inner, dict | list):
            yield from paths(inner, (*at, step))


def replaced(value: Any, path: Path, new: Any) -> Any:
    """A copy with the value at ``path`` replaced."""
    changed = copy.deepcopy(value)
    parent = changed
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = copy.deepcopy(new)
    return changed


def removed(value: Any, path: Path) -> Any:
    """A copy without the value at ``path``."""
    changed = copy.deepcopy(value)
    parent = changed
    for step in path[:-1]:
        parent = parent[step]
    del parent[path[-1]]
    return changed


def starts() -> list[dict[str, Any]]:
    """Good dossiers, and those whose answer turns on who asks or where the version stands."""
    found = [document(gate) for gate in Gate]
    promote, download = document(Gate.PROMOTE), document(Gate.DOWNLOAD)
    alias, withdraw = document(Gate.ALIAS), document(Gate.WITHDRAW)
    for origin, target in (("Candidate", "Staging"), ("Approved", "Deprecated")):
        step = replaced(promote, ("subject", "stage"), origin)
        found.append(replaced(step, ("action",), {"from": origin, "to": target}))
    for again in (promote, document(Gate.ACCEPT)):
        here = replaced(again, ("action", "again"), True)
        found.append(replaced(here, ("subject", "stage"), again["action"]["to"]))
    retired = replaced(promote, ("subject", "stage"), "Deprecated")
    action = {"from": "Approved", "to": "Deprecated", "again": True}
    found.append(replaced(retired, ("action",), action))
    low = replaced(promote, ("evidence", "model_card", "facts", "risk_tier"), "low")
    found += [low, replaced(low, ("approvals", 1), approval("SAM", "product"))]
    for stage in ("None", "Candidate", "Deprecated", "Revoked"):
        at_stage = replaced(download, ("subject", "stage"), stage)
        found.append(replaced(at_stage, ("actor", "roles"), ["evaluator"]))
        author = replaced(at_stage, ("actor", "id"), "dora")
        found.append(replaced(author, ("action", "door"), "artifact"))
    found.append(replaced(alias, ("action", "alias"), "challenger"))
    found.append(replaced(alias, ("action", "to_version"), None))
    back = replaced(withdraw, ("action",), {"from": "Quarantined", "to": "Staging", "reason": "ok"})
    back = replaced(back, ("subject", "quarantined_from"), "Staging")
    found.append(replaced(back, ("subject", "stage"), "Quarantined"))
    return found


def mutated(random_source: random.Random, start: dict[str, Any]) -> dict[str, Any]:
    """One to three values removed or replaced; the result need not be a dossier."""
    for _ in range(random_source.randint(1, 3)):
        path = random_source.choice(list(paths(start)))
        if random_source.random() < 0.3:
            start = removed(start, path)
        else:
            start = replaced(start, path, random_source.choice(VALUES))
        if not start:
            break
    return start


@dataclass(frozen=True)
class Sample:
    """A dossier, and what makes it differ from a good one: ``evidence.sbom.facts``, …"""

    dossier: Dossier
    changed: tuple[str, ...]


def samples(count: int, seed: int = SEED) -> Iterator[Sample]:
    """This many dossiers: the good ones first, then changed ones. The same for the same seed."""
    begins = starts()
    yield from (Sample(Dossier.from_document(begin), ()) for begin in begins[:count])
    source = random.Random(seed)  # noqa: S311  (nothing secret)
    by_gate = [[canonical.encode(b) for b in begins if b["gate"] == gate] for gate in Gate]
    for _ in range(count - len(begins)):
        while True:
            sample = _changed(source, json.loads(source.choice(source.choice(by_gate))))
            if sample is not None:
                yield sample
                break


def _changed(source: random.Random, value: dict[str, Any]) -> Sample | None:
    changed = []
    for _ in range(source.randint(1, 3)):
        room = source.choice(_ROOMS)
        if not value[room]:
            continue
        path = source.choice(list(paths(value[room], (room,))))
        parent: Any = value
        for step in path[:-1]:
            parent = parent[step]
        if source.random() < 0.3:
            del parent[path[-1]]
        else:
            parent[path[-1]] = copy.deepcopy(source.choice(_LIKELY))
        changed.append(".".join(map(str, path)))
    dossier = as_dossier(value)
    return Sample(dossier, tuple(changed)) if dossier else None


def as_dossier(value: dict[str, Any]) -> Dossier | None:
    """The dossier that has this document, if the registry could have written it."""
    if not is_valid(value):
        return None
    try:
        return Dossier.from_document(value)
    except InvalidRequest:
        return None
