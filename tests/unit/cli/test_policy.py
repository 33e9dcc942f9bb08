"""The commands about policy, from the first folder to a reviewed change."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlflow_governance.cli.policy import policy
from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.resources import folder
from mlflow_governance.errors import ConfigurationError, Conflict, GovernanceError, InvalidRequest
from mlflow_governance.policy import trial
from mlflow_governance.policy.opa_process import find_binary
from mlflow_governance.policy.process import Budget

ALIAS = "registry/alias/alias.rego"
CONFIG = "registry/config/data.json"
NO_OPA = ("--inputs", "0")


def ask(*arguments: str, given: str | None = None) -> Result:
    result = CliRunner().invoke(policy, [*arguments], input=given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_GOVERNANCE_HOME", str(tmp_path / "home"))


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    shutil.copytree(folder("policies"), tmp_path / "policies")
    return tmp_path / "policies"


def change(bundle: Path, name: str, old: str, new: str) -> None:
    text = (bundle / name).read_text()
    assert old in text
    (bundle / name).write_text(text.replace(old, new, 1))


def test_a_new_bundle_passes_at_once(tmp_path: Path) -> None:
    mine = tmp_path / "mine"

    assert ask("init", str(mine), "--name", "Policies of Example Bank").exit_code == 0

    checked = ask("check", "--bundle", str(mine), *NO_OPA)
    assert checked.exit_code == 0, checked.output
    assert "the bundle is usable: sha256:" in checked.output
    tested = ask("test", "--bundle", str(mine), "--threshold", "60", "-v")
    assert tested.exit_code == 0, tested.output
    assert "PASS     data.registry.own_test.test_another_is_refused_and_told_why" in tested.output
    for gate in Gate:
        assert ask("eval", gate.value, "--sample", "--bundle", str(mine)).exit_code == 0
    readme = (mine / "README.md").read_text()
    assert readme.startswith("# Policies of Example Bank\n")
    assert all(f"| `{key}` |" in readme for key in json.loads((mine / CONFIG).read_text()))
    assert json.loads((mine / ".manifest").read_text())["metadata"]["title"].endswith("Bank")


def test_its_tests_hold_when_other_data_are_decided(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    ask("init", str(mine))
    data = json.loads((mine / CONFIG).read_text())
    modes = {"ACC-006": "warn", "PRO-009": "shadow"}
    numbers = {"default_floor": "low", "blocking_cvss": 9.0, "modes": modes}
    (mine / CONFIG).write_text(json.dumps(data | numbers))

    tested = ask("test", "--bundle", str(mine))

    assert tested.exit_code == 0, tested.output
    assert "PASS: 5/5" in tested.output


@pytest.mark.skipif(find_binary() is None, reason="no opa here")
def test_a_new_bundle_passes_opa_too(tmp_path: Path) -> None:
    ask("init", str(tmp_path / "mine"))
    for arguments in (["test", "-b"], ["check", "--strict", "-b"], ["fmt", "-l", "--fail"]):
        done = subprocess.run(
            [str(find_binary()), *arguments, str(tmp_path / "mine")],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/notes").write_text("mine")
    (tmp_path / "file").write_text("x")

    for target in ("there", "file"):
        with pytest.raises(Conflict):
            ask("init", str(tmp_path / target))
    with pytest.raises(InvalidRequest):
        ask("init", str(tmp_path / "new"), "--name", "a\nb")

    assert [p.name for p in (tmp_path / "there").iterdir()] == ["notes"]
    assert not (tmp_path / "new").exists()


def test_check_shows_every_finding_and_its_fix(mine: Path) -> None:
    change(mine, ALIAS, "default protected := false", "p if not f(input)\n\nq {")

    result = ask("check", "--bundle", str(mine), *NO_OPA)

    assert result.exit_code == 1
    assert f"{ALIAS}:" in result.output
    assert "syntax: `if` keyword is required before rule body" in result.output
    assert "    fix: this is Rego v0" in result.output
    assert "not compared with a real OPA: mend the findings first" in result.output


def test_a_bundle_without_an_end_does_not_hold_the_check(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "Budget", partial(Budget, load_seconds=2))  # not the usual ten
    gate = mine / ALIAS
    pairs = "some x in numbers.range(1, 90000); some y in numbers.range(1, 90000); x + y < 0"
    gate.write_text(f"{gate.read_text()}\n\nallow if count([1 | {pairs}]) > 0\n")

    with pytest.raises(ConfigurationError, match=r"cannot be examined: .*took more than"):
        ask("check", "--bundle", str(mine), *NO_OPA)


def test_check_for_programs_and_code_hosts(mine: Path) -> None:
    change(mine, CONFIG, "{", '{"x": time}')
    change(mine, ALIAS, "default protected := false", "p if not lower(input)")

    document = json.loads(ask("check", "--bundle", str(mine), "--format", "json").stdout)
    log = json.loads(ask("check", "--bundle", str(mine), "--format", "sarif").stdout)

    assert {finding["rule"] for finding in document["findings"]} >= {"bundle", "negation"}
    assert document["policy_digest"] is None
    assert log["version"] == "2.1.0"
    results = log["runs"][0]["results"]
    assert len(results) == len(document["findings"])
    place = results[-1]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "registry/config/data.json"
    assert place["region"]["startLine"] >= 1


def test_what_is_overlooked_must_be_a_kind(mine: Path) -> None:
    assert ask("check", "--bundle", str(mine), "--overlook", "everything").exit_code == 2


def test_an_opa_that_is_named_must_be_there(mine: Path) -> None:
    with pytest.raises(ConfigurationError, match="'/nowhere/opa' is no program"):
        ask("check", "--bundle", str(mine), "--opa", "/nowhere/opa")


def test_without_an_opa_the_lint_stands_alone(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlflow_governance.policy.opa_process.find_binary", lambda _=None: None)

    result = ask("check", "--bundle", str(mine))

    assert result.exit_code == 0
    assert "not compared with a real OPA: there is no opa here; make tools" in result.output


def test_a_failing_test_is_shown_with_place_and_prints(mine: Path) -> None:
    (mine / "tests/own_test.rego").write_text(
        'package registry.own_test\n\ntest_a if {\n\tprint("seen", 7)\n\tfalse\n}\n'
    )

    result = ask("test", "--bundle", str(mine), "--run", "own_test")
    document = json.loads(
        ask("test", "--bundle", str(mine), "--run", "own_test", "--format", "json").stdout
    )

    assert result.exit_code == 1
    assert "FAIL     data.registry.own_test.test_a (tests/own_test.rego:3" in result.output
    assert "    print tests/own_test.rego:4: seen 7" in result.output
    assert "PASS: 0/1, FAIL: 1/1" in result.output
    assert document["passed"] is False
    assert document["tests"][0]["name"] == "test_a"


def test_too_few_evaluated_lines_fail(mine: Path) -> None:
    result = ask("test", "--bundle", str(mine), "--run", "alias_test", "--threshold", "99")

    assert result.exit_code == 1
    assert "below 99 %" in result.output
    assert ALIAS in result.output


def test_a_dossier_can_be_written_changed_and_asked_again(mine: Path, tmp_path: Path) -> None:
    file = tmp_path / "dossier.json"
    asked = ("eval", "download", "--bundle", str(mine))

    assert ask(*asked, "--sample", "--write", str(file)).exit_code == 0
    file.write_text(file.read_text().replace('"blocked": false', '"blocked": true'))
    denied = ask(*asked, str(file))
    stored = json.dumps({"decision_id": "d", "dossier": json.loads(file.read_text())})
    again = ask(*asked, "-", "--format", "json", given=stored)

    assert denied.exit_code == 4
    assert "deny: download of churn/3 (Approved) for ann" in denied.output
    assert "  FAILED  DLD-001  these bytes are revoked" in denied.output
    assert "          fix: use another version" in denied.output
    assert again.exit_code == 4
    assert json.loads(again.stdout)["reasons"][0]["code"] == "DLD-001"


def test_modes_and_waivers_are_shown_for_what_they_are(mine: Path, tmp_path: Path) -> None:
    waiver = {"id": "W-7", "model": "churn", "check": "DLD-004", "owner": "sam",
              "approver": "pia", "reason": "known", "expires": "2027-01-01T00:00:00Z"}  # fmt: skip
    data = json.loads((mine / CONFIG).read_text())
    data |= {"modes": {"DLD-003": "warn"}, "check_waivers": [waiver]}
    (mine / CONFIG).write_text(json.dumps(data))
    asked = ("eval", "download", "--bundle", str(mine))
    ask(*asked, "--sample", "--write", str(tmp_path / "d.json"))
    document = json.loads((tmp_path / "d.json").read_text())
    document["evidence"] = {}
    document["runtime"]["accepted_policy_digests"] = []

    result = ask(*asked, "-", given=json.dumps(document))

    assert result.exit_code == 0, result.output
    assert "  warn    DLD-003  no trusted signature" in result.output
    assert "  waived  DLD-004" in result.output
    assert "waiver W-7 of sam, approved by pia, until 2027-01-01" in result.output


@pytest.mark.parametrize("given", ["{}", "[]", "x", '{"dossier": 5}', '{"gate": "alias"}'])
def test_what_is_no_dossier_is_refused(given: str) -> None:
    with pytest.raises(GovernanceError) as refusal:
        ask("eval", "alias", "-", given=given)
    assert refusal.value.exit_code == 2


def test_a_dossier_of_another_gate_is_refused(tmp_path: Path) -> None:
    ask("eval", "alias", "--sample", "--write", str(tmp_path / "d.json"))

    with pytest.raises(InvalidRequest, match="made for the alias gate"):
        ask("eval", "download", str(tmp_path / "d.json"))
    assert ask("eval", "download").exit_code == 2
    assert ask("eval", "alias", str(tmp_path / "d.json"), "--sample").exit_code == 2


@pytest.mark.skipif(find_binary() is None, reason="no opa here")
def test_both_engines_can_be_asked() -> None:
    ours, theirs = (
        json.loads(ask("eval", "promote", "--sample", "--format", "json", *more).stdout)
        for more in ((), ("--engine", "opa"))
    )

    assert theirs["engine"].startswith("opa ")
    for volatile in ("engine", "duration", "decision_id", "salt"):
        del ours[volatile], theirs[volatile]
    assert ours == theirs


def test_a_change_is_reviewed_by_what_it_changes(mine: Path) -> None:
    change(mine, CONFIG, '"blocking_cvss": 7.0', '"blocking_cvss": 9.0')
    change(mine, CONFIG, '"modes": {}', '"modes": {"ACC-012": "warn"}')
    change(mine, ALIAS, 'input.action.alias != ""', 'input.action.alias != "x"')
    shipped = ("--bundle", str(folder("policies")))

    result = ask("diff", str(mine), *shipped)
    document = json.loads(ask("diff", str(mine), *shipped, "--format", "json").stdout)

    assert result.exit_code == 1
    assert "  ~ registry.config.blocking_cvss: 7.0 → 9.0" in result.output
    assert '  + registry.config.modes.ACC-012: "warn"' in result.output
    assert "  ~ registry.alias.alias_named" in result.output
    assert '      -\tinput.action.alias != ""' in result.output
    assert '      +\tinput.action.alias != "x"' in result.output
    assert {entry["kind"] for entry in document["changes"]} == {"data", "mode", "rule"}
    same = ask("diff", str(folder("policies")), *shipped)
    assert same.exit_code == 0
    assert "no difference" in same.output


def test_every_command_teaches_with_an_example() -> None:
    for name in ("check", "test", "eval", "diff", "init"):
        shown = ask(name, "--help").output
        assert f"mlflow-governance policy {name}" in shown
