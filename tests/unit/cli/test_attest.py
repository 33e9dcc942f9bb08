"""`attest`, against a real server of the governance interface on the loopback interface."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mlflow_governance.cli.attest import attest
from mlflow_governance.cli.client import RegistryClient
from mlflow_governance.core import canonical, moment
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import GovernanceError, InvalidRequest
from mlflow_governance.evidence import attestation, bundle, envelope, predicate
from mlflow_governance.evidence.attestation import parse_statement
from mlflow_governance.evidence.change_ticket import ChangeTicketVerifier
from mlflow_governance.evidence.hashing import hash_directory
from mlflow_governance.evidence.keys import generate_key_pair, load_private_key
from mlflow_governance.evidence.reproduction import ReproductionVerifier
from mlflow_governance.evidence.scores import EvaluationVerifier
from mlflow_governance.evidence.slo import SloVerifier
from tests.unit.cli.test_client import serving
from tests.unit.evidence.bom_builders import bom, library
from tests.unit.evidence.builders import case
from tests.unit.evidence.record_builders import attached
from tests.unit.evidence.spdx_builders import library3, package, spdx23, spdx30
from tests.unit.evidence.test_scan_result import body, vulnerability
from tests.unit.evidence.vex_builders import analysed, cyclonedx, openvex, statement
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
    assert statement == {"result": "PASSED", "configuration": [], "at": statement["at"]}
    assert abs(moment.parse(statement["at"]) - moment.now()) < timedelta(minutes=1)
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

    wrong = refused("canary", "--result", "GOOD")
    assert "'GOOD' is not a result of a canary" in wrong.message
    assert "PROCEED, ROLLBACK" in wrong.advice


@pytest.mark.usefixtures("governed")
@pytest.mark.parametrize(
    ("kind", "document", "uri"),
    [
        ("openvex", openvex(statement()), "https://openvex.dev/ns/v0.2.0"),
        ("https://openvex.dev/ns", openvex(statement()), "https://openvex.dev/ns"),
        ("cyclonedx", bom(library("numpy")), "https://cyclonedx.org/bom"),
        (f"{predicate.CYCLONEDX}/v1.6", bom(), "https://cyclonedx.org/bom/v1.6"),
        ("cyclonedx-vex", cyclonedx(analysed()), "https://cyclonedx.org/bom"),
        ("spdx", spdx23(package("numpy")), "https://spdx.dev/Document/v2.3"),
        ("spdx", spdx30(library3("numpy")), "https://spdx.dev/Document/v3"),
        (predicate.SPDX, spdx23(package("numpy")), "https://spdx.dev/Document"),
    ],
)
def test_documents_of_other_tools_are_signed_under_the_newest_type(
    kind: str, document: dict[str, Any], uri: str
) -> None:
    Path("it.json").write_text(json.dumps(document))

    assert said(run("--predicate", "it.json", "--type", kind)) == (uri, document)


@pytest.mark.usefixtures("governed")
@pytest.mark.parametrize(
    ("kind", "document", "why"),
    [
        ("cyclonedx", cyclonedx(analysed()), "--type cyclonedx-vex"),
        ("cyclonedx-vex", bom(), "--type cyclonedx"),
        ("cyclonedx-vex", cyclonedx(analysed("harmless")), "malformed"),
        ("cyclonedx-vex", cyclonedx(analysed(lastUpdated="2026-13-45T00:00:00Z")), "CVE"),
        ("openvex", openvex(statement(timestamp="2026-13-45T00:00:00Z")), "CVE"),
        ("cyclonedx", bom() | {"specVersion": "0.9"}, "version"),
        ("cyclonedx", {}, "CycloneDX"),
        ("spdx", spdx23() | {"spdxVersion": "SPDX-1.0"}, "SPDX 2.3"),
        ("spdx", {"@graph": []}, "SPDX 3"),
    ],
)
def test_documents_the_registry_would_not_read_are_not_signed(
    kind: str, document: dict[str, Any], why: str
) -> None:
    Path("it.json").write_text(json.dumps(document))

    assert why in str(refused("--predicate", "it.json", "--type", kind))


def attach_file(*arguments: str) -> Result:
    return CliRunner().invoke(attest, ["churn/1", *arguments])


def test_what_another_tool_signed_is_attached_as_it_is(governed: Registry) -> None:
    sign = load_private_key(Path("k.pem"))
    digest = RegistryClient().version(VersionRef("churn", 1))["digest"]
    payload = canonical.encode(
        attestation.statement("churn", digest, predicate.OPENVEX, openvex(statement()))
    )
    plain = envelope.sign(payload, envelope.IN_TOTO, [sign])
    sealed = bundle.seal(payload, sign, "a hint", bundle.NOTHING)
    for name, data in (("my vex (2).intoto.json", plain), ("scan.sigstore.json", sealed)):
        Path(name).write_bytes(data)

    first = attach_file("--file", "my vex (2).intoto.json")
    second = attach_file("--file", "scan.sigstore.json")

    assert "attached attestations/my-vex-2.intoto.json to churn/1: https://openvex" in first.output
    assert "attached attestations/scan.intoto.json" in second.output
    kept = RegistryClient().attachment(VersionRef("churn", 1), "attestations/my-vex-2.intoto.json")
    assert kept == plain


@pytest.mark.usefixtures("governed")
def test_a_file_nobody_signed_is_not_sent() -> None:
    Path("vex.json").write_text(json.dumps(openvex(statement())))

    result = attach_file("--file", "vex.json")

    assert isinstance(result.exception, InvalidRequest)
    assert "--predicate FILE --type TYPE" in result.exception.advice


@pytest.mark.usefixtures("governed")
@pytest.mark.parametrize("more", [["--key", "k.pem"], ["canary", "--result", "PROCEED"]])
def test_a_signed_file_comes_alone(more: list[str]) -> None:
    Path("x.json").write_text("{}")

    result = attach_file("--file", "x.json", *more)

    assert isinstance(result.exception, InvalidRequest)
    assert "--file alone" in result.exception.advice


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


# --- tickets, objectives, evaluations, reproductions ---------------------------------------------

WINDOW = ("--from", "2026-12-01T20:00:00Z", "--to", "2026-12-01T22:00:00+00:00")
TICKET = ("change-ticket", "--id", "CHG-1", "--system", "jira", "--state", "approved", *WINDOW)
OBJECTIVE = {"name": "p95", "target": 200, "measured": 180, "comparison": "<="}
SLO = {
    "profile": "online", "objectives": [OBJECTIVE], "at": "2026-11-20T01:00:00Z",
    "window": {"from": "2026-11-19T00:00:00Z", "to": "2026-11-20T00:00:00Z"},
}  # fmt: skip
REBUILT = "sha256:" + "a" * 64


def facts(kind: str, statement: Any, verifier: Any) -> Any:
    """What the verifier proves from what was attached."""
    return verifier.verify(case(*attached(kind, statement), now=moment.now()))


@pytest.mark.usefixtures("governed")
def test_a_change_ticket_is_signed_and_verifies() -> None:
    result = run(*TICKET, "--url", "https://jira.example/CHG-1")

    kind, statement = said(result)
    assert "attestations/change-ticket-" in result.output
    assert result.output.endswith("change-ticket approved\n")
    found = facts(kind, statement, ChangeTicketVerifier())
    assert (found["id"], found["from"], found["to"], found["url"]) == (
        "CHG-1", "2026-12-01T20:00:00.000000Z", "2026-12-01T22:00:00.000000Z",
        "https://jira.example/CHG-1",
    )  # fmt: skip


@pytest.mark.usefixtures("governed")
def test_objectives_are_signed_from_a_file_and_verify() -> None:
    Path("slo.json").write_text(json.dumps(SLO))

    kind, statement = said(run("slo", "--file", "slo.json"))

    assert statement == SLO
    assert facts(kind, statement, SloVerifier())["met"] is True


@pytest.mark.usefixtures("governed")
def test_an_evaluation_is_signed_from_options_above_a_file_and_verifies() -> None:
    part = {"attribute": "age", "group": "18-25", "size": 9, "metrics": {"auc": 0.8}}
    Path("e.json").write_text(json.dumps({"metrics": {"auc": 0.1, "f1": 0.5}, "slices": [part]}))

    kind, statement = said(
        run("evaluation", "--file", "e.json", "--metric", "auc=0.91", "--dataset", f"d@{REBUILT}")
    )

    (found,) = facts(kind, statement, EvaluationVerifier())["evaluations"]
    assert found["dataset"] == {"name": "d", "digest": REBUILT}
    assert (found["metrics"], found["slices"]) == ({"auc": 0.91, "f1": 0.5}, [part])


@pytest.mark.usefixtures("governed")
def test_a_reproduction_is_signed_from_a_digest_or_a_folder_and_verifies() -> None:
    Path("rebuilt").mkdir()
    Path("rebuilt/MLmodel").write_text("x")

    kind, statement = said(run("reproduction", "--rebuilt", REBUILT, "--builder", "urn:b"))
    assert facts(kind, statement, ReproductionVerifier())["matches"] is False

    _, statement = said(run("reproduction", "--from-directory", "rebuilt", "--builder", "urn:b"))
    assert statement["rebuiltDigest"] == hash_directory(Path("rebuilt")).digest


@pytest.mark.usefixtures("governed")
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["change-ticket", "--id", "CHG-1"], "system"),
        ([*TICKET, "--state", "fine"], "fine"),
        ([*TICKET, "--from", "tomorrow"], "not an RFC 3339 instant"),
        ([*TICKET, "--to", "2026-12-01T19:00:00Z"], "not in order"),
        ([*TICKET, "--metric", "auc=1"], "--metric says nothing of a change-ticket"),
        ([*TICKET, "--from-directory", "."], "--from-directory says nothing"),
        (["slo", "--id", "5"], "--id says nothing of a slo. Of a slo: give --file"),
        (["slo"], "profile"),
        (["slo", "--file", "bad.json"], "JSON"),
        (["slo", "--file", "list.json"], "JSON object"),
        (["evaluation", "--metric", "auc=0.9"], "dataset"),
        (["evaluation", "--dataset", "d", "--metric", "auc=nan"], "NAME=NUMBER"),
        (["evaluation", "--dataset", "d", "--metric", "auc=1e999"], "NAME=NUMBER"),
        (["evaluation", "--dataset", "d", "--metric", "auc"], "NAME=NUMBER"),
        (["evaluation", "--dataset", "d", "--metric", "a=1", "--metric", "a=2"], "twice"),
        (["evaluation", "--dataset", "d", "--metric", "auc=1e17"], "auc"),
        (["evaluation", "--dataset", "d@md5:1", "--metric", "auc=1"], "digest"),
        (["reproduction", "--builder", "urn:b"], "rebuiltDigest"),
        (["reproduction", "--rebuilt", "abc", "--builder", "urn:b"], "rebuiltDigest"),
        (["reproduction", "--rebuilt", REBUILT, "--from-directory", "."], "in one way"),
        (["reproduction", "--from-directory", "empty", "--builder", "urn:b"], "empty"),
        ([*TICKET, "--result", "PASSED"], "two things at once"),
        ([*TICKET, "--type", "canary"], "two things at once"),
        (["canary", "--result", "PROCEED", "--id", "5"], "two things at once"),
        (["--predicate", "list.json", "--type", "slo", "--id", "5"], "two things at once"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[-40:],
)
def test_what_the_registry_would_not_read_is_not_signed(arguments: list[str], why: str) -> None:
    Path("bad.json").write_text("{")
    Path("list.json").write_text("[]")
    Path("empty").mkdir()

    error = refused(*arguments)

    assert why in f"{error.message}. {error.advice}"
