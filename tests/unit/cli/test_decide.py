"""`show`, against a real server of the governance interface on the loopback interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from click import Command
from click.testing import CliRunner

from mlflow_governance.cli.decide import history, judge, show
from mlflow_governance.core.dossier import Outcome, Status
from mlflow_governance.core.stage import Stage
from mlflow_governance.evidence.interface import Kind
from tests.unit.cli.test_client import serving
from tests.unit.web.builders import Registry, registry, warned


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


def asked(command: Command, made: Registry, monkeypatch: pytest.MonkeyPatch) -> str:
    with serving(made.app()) as base:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", base)
        return CliRunner().invoke(command, ["churn/1"], catch_exceptions=False).output


@pytest.mark.parametrize(
    ("command", "stage", "code"),
    [(show, Stage.STAGING, "PRO-009"), (judge, Stage.NONE, "ACC-006")],
)
def test_warnings_are_told_and_deny_nothing(
    command: Command, stage: Stage, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = warned()
    made.add("churn", 1, stage)

    output = asked(command, made, monkeypatch)

    told = output.partition("warnings, which deny nothing now:")[2].splitlines()
    assert told[1].startswith(f"  - {code} the model card is missing or incomplete")
    assert "--model-card model_card.yaml" in told[2]


def test_history_names_no_stage_before_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    made = registry()
    made.add("churn", 1)

    asked(judge, made, monkeypatch)
    output = asked(history, made, monkeypatch)

    assert "None → Candidate" in output
    assert "None → None" not in output
