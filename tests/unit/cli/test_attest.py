"""`attest`, against a real server of the governance interface on the loopback interface."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mlflow_governance.cli.submit import attest
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import GovernanceError, InvalidRequest
from mlflow_governance.evidence import envelope, predicate
from mlflow_governance.evidence.attestation import parse_statement
from mlflow_governance.evidence.keys import generate_key_pair, load_private_key
from tests.unit.cli.test_client import serving
from tests.unit.evidence.test_scan_result import body, vulnerability
from tests.unit.web.builders import Registry, registry


@pytest.fixture
def governed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    made = registry()
    made.add("churn", 1, Stage.STAGING)
    generate_key_pair(tmp_path / "k.pem")
    monkeypatch.chdir(tmp_path)
    with serving(made.app()) as base:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", base)
        yield made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(attest, ["churn/1", *arguments, "--key", "k.pem"])


def said(result: Result) -> tuple[str, Any]:
    """Predicate type and body that were attached, by the key."""
    assert result.exit_code == 0, result.exception
    from mlflow_governance.cli.client import RegistryClient
    from mlflow_governance.core.model_ref import VersionRef

    file = result.output.split()[1]
    data = RegistryClient().attachment(VersionRef("churn", 1), file)
    enclosed = envelope.parse(data)
    envelope.verify(enclosed, [load_private_key(Path("k.pem")).public])
    statement = parse_statement(enclosed.payload)
    return statement.predicate_type, statement.predicate


def refused(*arguments: str) -> GovernanceError:
    result = run(*arguments)
    assert isinstance(result.exception, InvalidRequest), result.output
    return result.exception


@pytest.mark.usefixtures("governed")
def test_a_result_is_signed_and_attached() -> None:
    kind, statement = said(run("test-result", "--result", "PASSED"))

    assert kind == predicate.TEST_RESULT
    assert statement == {"result": "PASSED", "configuration": []}
    assert said(run("canary", "--result", "PROCEED"))[0] == predicate.CANARY


@pytest.mark.usefixtures("governed")
@pytest.mark.parametrize("name", ["vulnerability-scan", predicate.VULNERABILITY_SCAN])
def test_any_predicate_of_a_known_type_is_signed_and_attached(name: str) -> None:
    document = body(vulnerability("CVE-1", "high"))
    Path("scan.json").write_text(json.dumps(document))

    result = run("--predicate", "scan.json", "--type", name)

    assert said(result) == (predicate.VULNERABILITY_SCAN, document)
    assert "attestations/vulnerability-scan-" in result.output


@pytest.mark.usefixtures("governed")
def test_a_predicate_that_does_not_fit_is_not_signed() -> None:
    Path("scan.json").write_text("{}")
    assert "scanner" in refused("--predicate", "scan.json", "--type", "vulnerability-scan").message

    Path("scan.json").write_text("{")
    assert "JSON" in refused("--predicate", "scan.json", "--type", "vulnerability-scan").message

    assert "'GOOD' is not" in refused("canary", "--result", "GOOD").message


@pytest.mark.usefixtures("governed")
@pytest.mark.parametrize("kind", ["https://example.com/mine", predicate.MODEL_SIGNATURE])
def test_types_nobody_knows_are_not_signed(kind: str) -> None:
    Path("x.json").write_text("{}")

    assert "vulnerability-scan" in refused("--predicate", "x.json", "--type", kind).advice


@pytest.mark.usefixtures("governed")
@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["canary"],
        ["--result", "PASSED"],
        ["--predicate", "x.json"],
        ["--type", "canary"],
        ["canary", "--result", "PROCEED", "--predicate", "x.json", "--type", "canary"],
    ],
)
def test_half_or_twice_is_refused(arguments: list[str]) -> None:
    Path("x.json").write_text("{}")

    assert "--predicate with --type" in refused(*arguments).advice
