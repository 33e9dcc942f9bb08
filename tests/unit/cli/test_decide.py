"""`show`, against a real server of the governance interface on the loopback interface."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from click import Command
from click.testing import CliRunner, Result

from mlflow_governance.cli.decide import history, judge, show
from mlflow_governance.core.dossier import Outcome, Status
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import InvalidRequest, NotFound
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.cli.test_client import serving
from tests.unit.web.builders import Registry, registry, security, warned


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


def told(made: Registry, monkeypatch: pytest.MonkeyPatch, *words: str) -> Result:
    with serving(made.app()) as base:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", base)
        return CliRunner().invoke(history, list(words))


def test_the_history_of_a_model_names_each_version_who_why_and_the_decision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = registry()
    for version in (1, 2):
        made.add("churn", version, Stage.STAGING)
        request = Request(security(), VersionRef("churn", version), "read\x1b[2J it")
        approve(made.ports, request, "security", "approve")
    withdraw(made.ports, request, Stage.REVOKED)

    output = told(made, monkeypatch, "churn").output

    first, *_, last = output.splitlines()
    assert "churn/1  approval.given" in first
    assert "approve for security  “read [2J it”" in first
    assert "churn/2  version.revoked" in last
    assert "Staging → Revoked" in last
    assert made.store.decisions[-1][1]["decision_id"] in last
    assert "churn/1" not in told(made, monkeypatch, "churn/1").output  # it is what was asked for
    both = json.loads(told(made, monkeypatch, "churn", "--json").stdout)
    assert [entry["subject"]["version"] for entry in both] == [1, 2, 2]


def test_a_name_erased_since_is_told_as_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    made = registry()
    made.add("churn", 1, Stage.STAGING)
    request = Request(security(), VersionRef("churn", 1), "read it")
    approve(made.ports, request, "security", "approve")
    made.store.private.clear()

    assert "approval.given         somebody erased" in told(made, monkeypatch, "churn/1").output


def test_of_what_nobody_knows_there_is_no_history(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(told(registry(), monkeypatch, "nobody/1").exception, NotFound)
    assert isinstance(told(registry(), monkeypatch, "no:body").exception, InvalidRequest)
