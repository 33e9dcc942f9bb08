"""What docs/policy.md shows is what happens."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.resources import folder
from mlflow_governance.policy import bundle, lint
from mlflow_governance.policy.embedded import EmbeddedEngine
from tests.unit.docs.blocks import DOCS, Block, agrees, blocks, named, run, steps
from tests.unit.policy.builders import NOW, configured, document, dossier, shipped
from tests.unit.workflows.past import Past

PAGE = DOCS / "policy.md"
ACCEPT = Path("registry/accept/accept.rego")


def test_every_command_gives_the_output_it_is_shown_with(tmp_path: Path) -> None:
    shutil.copytree(folder("policies"), tmp_path / "policies")
    for block in blocks(PAGE):
        if block.language == "rego":
            _put(block.name, block.text, tmp_path / "mine" / ACCEPT)
        elif block.language == "json" and block.name:
            (tmp_path / block.name).write_text(block.text)
        elif block.language == "console" and not block.name:
            _follow(block, tmp_path)


def test_what_is_said_of_the_past_is_what_a_database_of_decisions_gives(tmp_path: Path) -> None:
    (block,) = [b for b in blocks(PAGE) if b.name == "past"]
    _record_a_past(tmp_path)

    _follow(block, tmp_path)


def _follow(block: Block, at: Path) -> None:
    for command, shown in steps(block):
        output = run(command, at)
        assert agrees(shown, output), f"$ {command}\n{output}"


def _record_a_past(at: Path) -> None:
    """Forty decisions under a bundle that only warns of a lacking model card."""
    relaxed = configured(modes={"ACC-006": "warn"})
    (at / "enforced.tar.gz").write_bytes(shipped().archive())
    poor = {k: v for k, v in dossier(Gate.ACCEPT).evidence.items() if k != "model_card"}
    past = Past(at, "mlflow.db")
    try:
        good = [dossier(Gate.ACCEPT, now=NOW + timedelta(minutes=n)) for n in range(30)]
        past.record(good, relaxed)
        later = NOW + timedelta(days=1)
        lacking = [
            dossier(Gate.ACCEPT, evidence=poor, now=later + timedelta(minutes=n)) for n in range(10)
        ]
        past.record(lacking, relaxed)
    finally:
        past.close()


def test_the_check_of_ones_own_does_what_the_page_says(tmp_path: Path) -> None:
    shutil.copytree(folder("policies"), tmp_path / "mine")
    for part in ("check", "rule", "text"):
        _put(part, named(PAGE, "rego", part), tmp_path / "mine" / ACCEPT)
    mine = bundle.load(tmp_path / "mine")
    engine = EmbeddedEngine(mine)
    good = document(Gate.ACCEPT)

    def failed() -> list[str]:
        answer = engine.evaluate(Gate.ACCEPT, json.dumps(good).encode())
        return [code for code, passed in answer["checks"].items() if not passed]

    assert failed() == ["ACC-101"]
    good["evidence"]["model_card"]["facts"]["owner"] = "alice"
    assert failed() == []
    assert lint.lint(mine) == ()


def test_the_data_examples_are_read_by_the_policy(tmp_path: Path) -> None:
    shutil.copytree(folder("policies"), tmp_path / "mine")
    path = tmp_path / "mine" / "registry/config/data.json"
    data = json.loads(path.read_text())
    for block in blocks(PAGE):
        if block.language == "json" and not block.name:
            data |= json.loads("{" + block.text + "}")
    path.write_text(json.dumps(data))
    engine = EmbeddedEngine(bundle.load(tmp_path / "mine"))

    vulnerable = document(Gate.ACCEPT)
    vulnerable["subject"]["name"] = "churn-eu"
    vulnerable["evidence"]["vulnerabilities"]["facts"]["vulnerabilities"] = [
        {"id": "CVE-2026-1234", "severity": "critical", "cvss": 9.8, "component": "parser 1"}
    ]
    accepted = engine.evaluate(Gate.ACCEPT, json.dumps(vulnerable).encode())
    assert accepted["allow"] is True
    assert [entry["waiver"] for entry in accepted["obligations"]] == ["W-17"]

    for name, allowed in (("demo-x", True), ("credit-x", False)):
        low = document(Gate.PROMOTE)
        low["subject"]["name"], low["approvals"] = name, []
        low["evidence"]["model_card"]["facts"]["risk_tier"] = "low"
        answer = engine.evaluate(Gate.PROMOTE, json.dumps(low).encode())
        assert answer["allow"] is allowed


def test_every_threshold_is_explained_and_no_other() -> None:
    data = json.loads((folder("policies") / "registry/config/data.json").read_text())
    table = PAGE.read_text("utf-8").partition("## Thresholds")[2].partition("```")[0]
    explained = {
        word.strip("` ")
        for line in table.splitlines()
        if line.startswith("| `")
        for word in line.split("|")[1].split(",")
    }

    assert explained == set(data)


def _put(part: str, text: str, path: Path) -> None:
    """Add a piece of Rego where the page says it belongs."""
    source = path.read_text("utf-8")
    if part == "rule":
        path.write_text(f"{source}\n{text}")
        return
    anchor = {"check": "shipped := {\n", "text": "texts := {\n"}[part]
    assert source.count(anchor) == 1
    path.write_text(source.replace(anchor, anchor + text))
