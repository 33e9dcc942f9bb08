"""Findings in SARIF 2.1.0, which code hosts show beside the lines they are about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlflow_governance.policy.check import RULES
from mlflow_governance.policy.finding import Finding


def sarif(findings: Sequence[Finding]) -> dict[str, Any]:
    """A log with one run; paths are those inside the bundle."""
    kinds = sorted({finding.rule for finding in findings})
    rules = [{"id": kind, "help": {"text": RULES.get(kind, kind)}} for kind in kinds]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "mlflow-governance policy check", "rules": rules}},
                "results": [_result(finding) for finding in findings],
            }
        ],
    }


def _result(finding: Finding) -> dict[str, Any]:
    message = f"{finding.message}. Fix: {finding.fix}" if finding.fix else finding.message
    region = {"startLine": finding.line, "startColumn": finding.column}
    return {
        "ruleId": finding.rule,
        "level": "error",
        "message": {"text": message},
        "locations": [
            {"physicalLocation": {"artifactLocation": {"uri": finding.file}, "region": region}}
        ],
    }
