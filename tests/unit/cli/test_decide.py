"""`show`, against a real server of the governance interface on the loopback interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from click.testing import CliRunner

from mlflow_governance.cli.decide import show
from mlflow_governance.core.dossier import Outcome, Status
from mlflow_governance.core.stage import Stage
from mlflow_governance.evidence.interface import Kind
from tests.unit.cli.test_client import serving
from tests.unit.web.builders import registry


def shown(kind: Kind, facts: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """The line `show` prints of one kind of evidence, without the kind."""
    made = registry()
    made.examiner.outcomes[kind] = Outcome(Status.PASSED, facts, "")
    made.add("churn", 1, Stage.STAGING)
    with serving(made.app()) as base:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", base)
        output = CliRunner().invoke(show, ["churn/1"], catch_exceptions=False).output
    (line,) = [text for text in output.splitlines() if text.split()[:1] == [kind.value]]
    return line.split(maxsplit=1)[1]


def test_of_the_malware_check_the_verdict_is_shown_with_the_first_findings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    findings = [
        {
            "file": f"{name}.pkl",
            "rule": "pickle-global",
            "detail": "os.system",
            "verdict": "refused",
        }
        for name in "abcd"
    ]
    facts = {"verdict": "refused", "findings": findings, "count": 30, "scanner": "sha256:0"}

    line = shown(Kind.MALWARE, facts, monkeypatch)

    assert line == "refused; a.pkl os.system; b.pkl os.system; 28 more"
    clean = {**facts, "verdict": "clean", "findings": [], "count": 0}
    assert shown(Kind.MALWARE, clean, monkeypatch) == "clean"


def test_of_vulnerabilities_the_number_and_the_worst_are_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [{"id": word, "severity": word} for word in ("low", "critical", "unknown", "high")]
    facts = {"vulnerabilities": found, "checked": 12}

    line = shown(Kind.VULNERABILITIES, facts, monkeypatch)

    assert line == "4 known, the worst critical"
    assert shown(Kind.VULNERABILITIES, {"vulnerabilities": []}, monkeypatch) == "0 known"


def test_of_other_evidence_the_status_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(Kind.SIGNATURE, {}, monkeypatch) == "passed"
