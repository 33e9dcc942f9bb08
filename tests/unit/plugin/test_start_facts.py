"""What a start records of the configuration: all of it, and no secret."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mlflow_governance import config
from mlflow_governance.config import Settings
from mlflow_governance.core import canonical
from mlflow_governance.core.event import Act
from mlflow_governance.plugin.start_facts import configuration
from mlflow_governance.store import tables
from mlflow_governance.workflows.start import record_start
from tests.unit.workflows.builders import InProcessRegistry

CONFIG = """\
registry_name: example
strict_registration: true
ungoverned_models: [scratch-*]
policies: https://user:hunter2@policies.example.org/bundle.tar.gz?token=hunter2
dashboards: {grafana: "https://grafana.example.org/d?auth=hunter2"}
opa: {url: "https://opa.example.org", token_variable: OPA_TOKEN}
webhooks:
  - {name: serving, url: "https://serving.example.org/events?key=hunter2", secret_variable: HOOK}
decision_log: {file: decisions.jsonl}
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HOOK", "whsec_" + "aHVudGVyMmh1bnRlcjJo" * 2)
    (tmp_path / "config.yaml").write_text(CONFIG)
    return config.load(tmp_path)


def test_every_setting_is_there(settings: Settings) -> None:
    assert set(configuration(settings)) == {f.name for f in fields(Settings)} - {"home"}


def test_no_secret_is(settings: Settings) -> None:
    told = canonical.encode(configuration(settings))

    assert b"hunter2" not in told
    assert b"aHVudGVy" not in told
    assert b"OPA_TOKEN" in told  # the name of a variable is none


def test_the_same_settings_in_another_folder_are_the_same(
    settings: Settings, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "config.yaml").write_text(CONFIG)

    assert configuration(config.load(other)) == configuration(settings)


def started(registry: InProcessRegistry) -> list[dict[str, Any]]:
    with registry.ports.store.read() as reading:
        found = reading.entries_of([Act.REGISTRY_STARTED])
    return [canonical.decode_object(data) for _, data in found]


def test_a_start_names_the_settings_that_changed(settings: Settings, tmp_path: Path) -> None:
    registry = InProcessRegistry(tmp_path / "registry")
    now = configuration(settings)
    record_start(registry.ports, {}, now)
    record_start(registry.ports, {}, now)
    record_start(registry.ports, {}, {**now, "strict_registration": False, "auth": "none"})

    first, same, other = started(registry)
    assert [e["facts"]["changed"] for e in (first, same, other)] == [
        None, [], ["auth", "strict_registration"],
    ]  # fmt: skip
    assert same["before"] == same["after"] == first["after"]
    assert other["before"] != other["after"]
    with registry.ports.store.read() as reading:
        kept = reading.document(first["after"]["configuration_digest"])
    assert kept is not None
    assert canonical.decode_object(kept) == now


def test_a_start_whose_predecessor_was_forgotten_says_so(
    settings: Settings, tmp_path: Path
) -> None:
    registry = InProcessRegistry(tmp_path / "registry")
    record_start(registry.ports, {}, {"auth": "basic"})
    digest = started(registry)[0]["after"]["configuration_digest"]
    with registry.sessions.engine.begin() as connection:
        connection.execute(sa.delete(tables.blobs).where(tables.blobs.c.digest == digest))
    record_start(registry.ports, {}, {"auth": "none"})

    entry = started(registry)[1]
    assert entry["facts"]["changed"] is None
    assert entry["before"] == {"configuration_digest": digest}
