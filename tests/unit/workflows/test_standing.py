"""What a bundle would say now of everything that is served, without a record of any download."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from mlflow_governance.cli.main import cli
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.workflows.admit import permits
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import transition
from mlflow_governance.workflows.recorded import Scope
from mlflow_governance.workflows.standing import Bundles, Served, ask
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.policy.builders import configured, shipped
from tests.unit.workflows.builders import ALICE, NOBODY, PIA, SAM, InProcessRegistry

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def registry(tmp_path: Path) -> InProcessRegistry:
    """Versions at Candidate, Staging, Approved and Deprecated, and one that was revoked."""
    registry = InProcessRegistry(tmp_path)
    registry.accepted("candidate")
    for name in ("staging", "approved", "deprecated", "revoked"):
        ref = registry.accepted(name)
        transition(registry.ports, Request(ALICE, ref), Stage.STAGING)
        if name == "staging":
            continue
        approve(registry.ports, Request(SAM, ref, "fine"), "security", "approve")
        approve(registry.ports, Request(PIA, ref, "fine"), "product", "approve")
        transition(registry.ports, Request(ALICE, ref), Stage.APPROVED)
    transition(registry.ports, Request(PIA, VersionRef("deprecated", 1)), Stage.DEPRECATED)
    withdraw(registry.ports, Request(SAM, VersionRef("revoked", 1), "leaks"), Stage.REVOKED)
    return registry


def served(registry: InProcessRegistry, new: Bundle, model: str = "*") -> Served:
    bundles = Bundles(EmbeddedEngine(shipped()), EmbeddedEngine(new))
    with registry.ports.store.read() as reading:
        return ask(reading, bundles, NOW, Scope(model=model))


def test_everything_that_is_served_is_asked_and_nothing_else(registry: InProcessRegistry) -> None:
    document = served(registry, shipped()).to_document()

    assert document["versions"] == document["same"] == 3
    assert document["bound_to_another_policy"] == 0
    assert document["unproved"] == []


def test_it_says_what_the_server_would_say_under_the_new_bundle(
    registry: InProcessRegistry,
) -> None:
    new = configured(deployable_stages=["Approved"])
    found = served(registry, new)

    lost = {m["model"] for g in found.to_document()["groups"] for m in g["models"]}
    registry.with_rules(accepted_policy_digests=(shipped().digest,))
    registry.ask(EmbeddedEngine(new))
    really = {
        name for name in ("staging", "approved", "deprecated")
        if not permits(registry.ports, Request(NOBODY, VersionRef(name, 1)), "registry")
    }  # fmt: skip
    assert lost == really == {"staging", "deprecated"}
    assert found.bound_elsewhere == 3


def test_a_version_nothing_is_proved_about_is_named(registry: InProcessRegistry) -> None:
    with registry.sessions.engine.begin() as connection:
        statement = "UPDATE governance_versions SET facts = NULL WHERE name = 'staging'"
        connection.execute(sa.text(statement))

    found = served(registry, shipped())

    assert found.unproved == ["staging/1"]
    assert found.report.asked == 2


def test_a_glob_chooses_models(registry: InProcessRegistry) -> None:
    assert served(registry, shipped(), "app*").report.asked == 1


def test_the_command_asks_beside_the_history(registry: InProcessRegistry, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    for name, data in configured(deployable_stages=["Approved"]).files.items():
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_bytes(data)
    url = str(registry.sessions.engine.url)
    command = ["policy", "replay", "--bundle", str(mine), "--backend-store-uri", url, "--standing",
               "--home", str(tmp_path / "home")]  # fmt: skip

    page = tmp_path / "page.html"
    text = CliRunner().invoke(cli, [*command, "--html", str(page)]).stdout
    document: dict[str, Any] = json.loads(
        CliRunner().invoke(cli, [*command, "--format", "json"]).stdout
    )

    assert "3 versions that are served, asked now" in text
    assert "policy_grace_days" in text
    assert document["standing"]["newly_denied"] == 2
    assert "What is served now" in page.read_text("utf-8")
