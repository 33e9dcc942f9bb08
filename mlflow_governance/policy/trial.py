"""Before policies are let into a serving process: do they keep within the budget?

A bundle is parsed, compiled, held against the empty dossier and then against the largest dossiers
an ordinary model leads to, all in a process that may be killed. A serving process never parses a
foreign bundle nobody has tried.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.dossier import Dossier, Gate, Outcome, Subject
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.resources import folder
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy.bundle import Bundle, load
from mlflow_governance.policy.interface import EngineError
from mlflow_governance.policy.log_mask import MASK_RULE, has_mask
from mlflow_governance.policy.process import Budget, PolicyProcess

VULNERABILITIES = 2000
LICENCES = 500
COMPONENTS = 5000
APPROVALS = 100
FINDINGS = 500

_BUSY = 5
"""How many times its processor time a question of the trial may take on a machine that starts."""
_OVER_BUDGET = ("ENG-TIMEOUT", "ENG-MEMORY", "ENG-SIZE")
_ADVICE = (
    "Find what is slow: mlflow-governance policy check --bundle FOLDER; or raise policy_budget."
)
_tried: set[tuple[Digest, Budget]] = set()


def require(bundle: Bundle, budget: Budget | None = None) -> None:
    """Refuse a bundle that does not keep within the budget; the one that ships is known to.

    Each bundle is tried once a process.

    Raises:
        ConfigurationError: it needs more time or memory than it may have, uses a builtin that
            depends on more than the dossier, or does not compile. The message names the file or
            the gate.
    """
    allowed = budget or Budget()
    trial = bundle.digest, allowed
    if trial in _tried or bundle.digest == _shipped():
        return
    try:
        _try(bundle, allowed)
    except EngineError as error:
        raise ConfigurationError(
            f"the policy bundle {bundle.digest} is refused: {error.message}", advice=_ADVICE
        ) from error
    _tried.add(trial)


def over_budget(bundle: Bundle, budget: Budget | None = None) -> str:
    """Why a bundle needs more time or memory than it may have; empty if it does not.

    For whoever wants to evaluate it next, and be sure to come back. What else is wrong with it is
    not said here.

    Raises:
        ConfigurationError: this system has no processes to try it in.
    """
    try:
        require(bundle, budget)
    except ConfigurationError as error:
        cause = error.__cause__
        if not isinstance(cause, EngineError):
            raise
        return cause.message if cause.reason_code in _OVER_BUDGET else ""
    return ""


def _try(bundle: Bundle, budget: Budget) -> None:
    process = PolicyProcess(bundle, budget, lints=True)
    try:
        for rule, document in _questions(bundle):
            try:
                process.ask(rule, document, time.monotonic() + _BUSY * budget.seconds)
            except EngineError as error:
                # What a gate says to these is no matter here, only that it says it in time.
                if error.reason_code in _OVER_BUDGET or not process.is_alive:
                    raise
    finally:
        process.close()


def _questions(bundle: Bundle) -> Iterator[tuple[str, bytes]]:
    for gate, document in large_dossiers():
        yield f"registry.{gate.value}.decision", document
        if has_mask(bundle.files):
            path = f'"registry/{gate.value}/decision"'.encode()
            yield MASK_RULE, b'{"input":' + document + b',"path":' + path + b',"result":{}}'


@cache
def _shipped() -> Digest:
    return load(folder("policies")).digest


@cache
def large_dossiers() -> tuple[tuple[Gate, bytes], ...]:
    """One dossier a gate, with as much in it as a large model with many libraries leads to."""
    return tuple((gate, _dossier(gate).encoded) for gate in Gate)


def _dossier(gate: Gate) -> Dossier:
    model = of_bytes(b"a large model")
    stage = {Gate.ACCEPT: Stage.NONE, Gate.PROMOTE: Stage.STAGING}.get(gate, Stage.APPROVED)
    return Dossier(
        gate=gate,
        actor=Actor("ann", ("product", "security"), authenticated=True),
        action=_ACTIONS[gate],
        subject=Subject(VersionRef("large", 1), "0f" * 16, stage, model, "dora", False, model),
        evidence=_evidence(model),
        approvals=tuple(_approvals(model)),
        runtime={"policy_digest": model, "accepted_policy_digests": [model]},
        now=datetime(2026, 11, 21, tzinfo=UTC),
    )


_ACTIONS: dict[Gate, dict[str, Any]] = {
    Gate.ACCEPT: {"from": "None", "to": "Candidate"},
    Gate.PROMOTE: {"from": "Staging", "to": "Approved", "reason": "release"},
    Gate.DOWNLOAD: {"door": "registry"},
    Gate.ALIAS: {"alias": "champion", "from_version": None, "to_version": 1},
    Gate.WITHDRAW: {"from": "Approved", "to": "Quarantined", "reason": "incident"},
}


def _approvals(model: Digest) -> Iterator[dict[str, Any]]:
    for number in range(APPROVALS):
        yield {
            "person": f"person-{number}", "role": ("security", "product")[number % 2],
            "decision": "approve", "model_digest": model, "policy_digest": model,
            "at": "2026-11-20T00:00:00.000000Z",
        }  # fmt: skip


def _evidence(model: Digest) -> dict[str, Outcome]:
    findings = [
        {"rule": "call", "file": f"code/{n}.py", "member": "", "message": f"calls f{n}"}
        for n in range(FINDINGS)
    ]
    return {
        "signature": Outcome.passed(signer="ci", keyid="k1", signers=["ci"]),
        "provenance": Outcome.passed(builder_id="https://ci.example/main", signers=["ci"]),
        "test_result": Outcome.passed(result="PASSED", signer="ci"),
        "sbom": Outcome.passed(components=COMPONENTS, pins_checked=True, unresolved=[]),
        "vulnerabilities": Outcome.passed(vulnerabilities=list(_vulnerabilities())),
        "model_card": Outcome.passed(complete=True, risk_tier="high"),
        "dataset": Outcome.passed(name="large", digest=model),
        "canary": Outcome.passed(result="PROCEED", signer="canary"),
        "malware": Outcome.passed(verdict="refused", findings=findings, count=FINDINGS),
        "licences": Outcome.passed(licences=list(_licences())),
    }


def _vulnerabilities() -> Iterator[dict[str, Any]]:
    severities = ("none", "low", "medium", "high", "critical")
    for number in range(VULNERABILITIES):
        yield {
            "id": f"CVE-2026-{number}", "severity": severities[number % 5],
            "cvss": None if number % 7 == 0 else number % 100 / 10, "component": f"lib-{number}",
            "kev": number % 50 == 0, "epss": number % 100 / 100,
        }  # fmt: skip


def _licences() -> Iterator[dict[str, Any]]:
    names = ("MIT", "Apache-2.0", "BSD-3-Clause", "GPL-3.0-only", "LicenseRef-house")
    for number in range(LICENCES):
        name = names[number % len(names)] if number % 10 == 0 else f"LicenseRef-{number}"
        few = range(number, COMPONENTS, LICENCES)
        yield {
            "kind": "library", "uses": ["inference"], "choices": [[name], ["MIT"]],
            "unknown": [], "expression": f"{name} OR MIT", "components": [f"lib-{n}" for n in few],
        }  # fmt: skip
