"""What docs/reference.py says about policy checks, asked of the engine and of the code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.resources import folder
from mlflow_governance.policy import bundle, config_schema, decide

Row = tuple[str, ...]

# In which situations a gate is asked: what a reader calls it, the action, the stage.
_SITUATIONS: Mapping[Gate, tuple[tuple[str, dict[str, Any], str], ...]] = {
    Gate.ACCEPT: (("asked for", {"from": "None", "to": "Candidate"}, "None"),),
    Gate.PROMOTE: (
        ("to Staging", {"from": "Candidate", "to": "Staging"}, "Candidate"),
        ("to Approved", {"from": "Staging", "to": "Approved"}, "Staging"),
        ("to Deprecated", {"from": "Approved", "to": "Deprecated"}, "Approved"),
    ),
    Gate.DOWNLOAD: (
        ("at None or Candidate", {"door": "registry"}, "Candidate"),
        ("at Staging, Approved or Deprecated", {"door": "registry"}, "Approved"),
        ("at Quarantined or Revoked", {"door": "registry"}, "Revoked"),
    ),
    Gate.ALIAS: (
        ("to point at a version", {"alias": "champion", "to_version": 3}, "Candidate"),
        ("to delete", {"alias": "champion", "to_version": None}, "Approved"),
    ),
    Gate.WITHDRAW: (("asked for", {"from": "Approved", "to": "Revoked"}, "Approved"),),
}


def gates() -> Iterator[tuple[str, list[tuple[str, list[str]]], list[Row]]]:
    """For each gate: which checks in which situation, and a row for each check."""
    for gate, situations in _SITUATIONS.items():
        asked, texts = [], {}
        for when, action, stage in situations:
            document = _dossier(gate, action, stage)
            asked.append((when, sorted(_eval(gate, "decision", document)["checks"])))
            texts = _eval(gate, "texts", document)
        if set(texts) != {code for _, codes in asked for code in codes}:
            raise LookupError(f"the {gate} gate has a check without a situation or a text")
        yield gate.value, asked, [_row(code, texts[code]) for code in sorted(texts)]


def warnings() -> list[Row]:
    """Codes of warnings: what they say where they are provoked."""
    deprecated = _dossier(Gate.DOWNLOAD, {"door": "registry"}, "Deprecated")
    accept = _dossier(Gate.ACCEPT, {"from": "None", "to": "Candidate"}, "None")
    accept["evidence"] = {"vulnerabilities": _cleared()}
    silenced = {
        "waivers": _waivers(vulnerability="CVE-1"),
        "code_waivers": _waivers(file="*"),
        "check_waivers": [*_waivers(check="ACC-001"), _waiver("2100-01-01", check="ACC-008")],
        "licences": {**_shipped()["licences"], "waivers": _waivers(licence="*", component="*")},
        "max_advisory_age_days": 1,
    }
    found = [
        ("download", _eval(Gate.DOWNLOAD, "decision", deprecated)),
        ("accept", _eval(Gate.ACCEPT, "decision", accept, silenced)),
    ]
    return [
        (f"`{warning['code']}`", gate, warning["message"])
        for gate, decision in found
        for warning in sorted(decision["warnings"], key=lambda warning: str(warning["code"]))
    ]


def library() -> list[Row]:
    """The rules of the library, by the examples in the schema of the settings."""
    rules = config_schema.schema()["properties"]["library"]["properties"]
    asked = {
        name: [{**rule["examples"][0][0], "steps": ["release"], "tiers": ["high"]}]
        for name, rule in rules.items()
    }
    release = _dossier(Gate.PROMOTE, {"from": "Staging", "to": "Approved"}, "Staging")
    release["now"] = "2026-01-02T20:00:00.000000Z"  # a Friday evening
    answer = _eval(Gate.PROMOTE, "decision", release, {"library": asked})
    told = {reason["code"]: reason for reason in answer["reasons"]}
    rows = []
    for name, rule in rules.items():
        meaning, _, code = rule["description"].removesuffix(".").rpartition(" Check ")
        path, fix = (told[code][word] if code in told else "" for word in ("path", "fix"))
        rows.append((f"`{name}`", f"`{code}`", f"`{path}`", meaning, f"`{fix}`"))
    return sorted(rows, key=lambda row: row[1])


def _waiver(day: str, **about: str) -> dict[str, str]:
    said = {"id": "W-1", "model": "*", "owner": "ann", "approver": "sam", "reason": "why"}
    return {**said, **about, "expires": f"{day}T00:00:00Z"}


def _waivers(**about: str) -> list[dict[str, str]]:
    """One that is over, one that soon will be, and one without an owner."""
    over, ending = _waiver("2020-01-01", **about), _waiver("2026-01-08", **about)
    return [over, ending, {**over, "owner": ""}]


def _shipped() -> dict[str, Any]:
    found: dict[str, Any] = bundle.load(folder("policies")).data["registry"]["config"]
    return found


def _cleared() -> dict[str, Any]:
    """A grave vulnerability that a VEX document clears, known from advisories of last year."""
    vex = {"status": "not_affected", "justification": "code_not_reachable", "signer": "security"}
    grave = {"id": "CVE-1", "component": "pkg:pypi/torch@2.1", "severity": "critical", "vex": vex}
    facts = {"vulnerabilities": [grave], "advisories_at": "2025-01-01T00:00:00.000000Z"}
    return {"status": "passed", "facts": facts, "problem": ""}


def duties() -> list[Row]:
    """The duties, from a person who breaks every one of them."""
    from mlflow_governance.approval.duties import refuse_unfit
    from mlflow_governance.approval.request import ApprovalRequest
    from mlflow_governance.core.actor import Actor
    from mlflow_governance.core.dossier import Subject
    from mlflow_governance.core.model_ref import VersionRef
    from mlflow_governance.core.stage import Stage
    from mlflow_governance.errors import Denied

    ann = Actor("ann", roles=("product",), authenticated=True)
    subject = Subject(VersionRef("churn", 3), "u", Stage.NONE, None, "ann", False)
    given = [{"person": "ann", "role": "product", "model_digest": None, "policy_digest": "p"}]
    try:
        refuse_unfit(ApprovalRequest(ann, "security", "approve", "why"), subject, given)
    except Denied as error:
        return [_row(reason["code"], reason) for reason in error.details["reasons"]]
    raise LookupError("somebody who breaks every duty may approve")


def engine_codes() -> list[Row]:
    """The table in the docstring of ``policy.decide``."""
    found = re.findall(r"^(ENG-[\w-]+) +(.+)$", decide.__doc__ or "", re.M)
    return [(f"`{code}`", meaning) for code, meaning in found]


def _row(code: str, text: Mapping[str, str]) -> Row:
    fix = text["fix"]
    command = f"`{fix}`" if fix.startswith("mlflow-governance") else fix
    return f"`{code}`", f"`{text['path']}`", text["message"], command


def _eval(
    gate: Gate, rule: str, document: Mapping[str, Any], config: Mapping[str, Any] | None = None
) -> Any:
    import regorus

    loaded = bundle.load(folder("policies"))
    data = json.loads(json.dumps(loaded.data))
    data["registry"]["config"].update(config or {})
    engine = regorus.Engine()
    for name, source in loaded.modules.items():
        engine.add_policy(name, source)
    engine.add_data_json(json.dumps(data))
    engine.set_input_json(json.dumps(document))
    return json.loads(engine.eval_rule_as_json(f"data.registry.{gate.value}.{rule}"))


def _dossier(gate: Gate, action: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """Somebody unknown asks about a version of which nothing is proved."""
    return {
        "schema": 1,
        "gate": gate.value,
        "actor": {"id": "anonymous", "roles": [], "admin": False, "authenticated": False},
        "action": dict(action),
        "subject": {"name": "churn", "version": 3, "stage": stage, "submitter": "ann"},
        "evidence": {},
        "approvals": [],
        "runtime": {},
        "now": "2026-01-01T00:00:00.000000Z",
    }
