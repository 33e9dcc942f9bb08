"""``mlflow-governance advisories``: taken in, looked at, and judged by."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mlflow_governance.bootstrap import prepare_home
from mlflow_governance.cli import advisories as module
from mlflow_governance.cli.main import cli
from mlflow_governance.config import Settings
from mlflow_governance.core import canonical
from mlflow_governance.core.digest import of_bytes
from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.event import Act
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import (
    ConfigurationError,
    Conflict,
    Denied,
    GovernanceError,
    InvalidRequest,
    NotFound,
)
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.store.ledger import SqlLedger
from mlflow_governance.store.migrate import upgrade
from mlflow_governance.store.sessions import session_factory_for
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import transition
from tests.unit.evidence.bom_builders import advisory
from tests.unit.workflows.builders import ALICE, InProcessRegistry
from tests.unit.workflows.test_rejudge import NAMED, SEVERE


@pytest.fixture
def home(tmp_path: Path) -> Path:
    prepare_home(Settings(tmp_path / "home"))
    upgrade(database(tmp_path / "home"))
    return tmp_path / "home"


def database(home: Path) -> str:
    return f"sqlite:///{home}.db"


def run(home: Path, *words: str | Path) -> Result:
    arguments = ["advisories", *map(str, words), "--home", str(home)]
    if words[0] != "show":
        arguments += ["--backend-store-uri", database(home)]
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    if result.exception is not None and not isinstance(
        result.exception, GovernanceError | SystemExit
    ):
        raise result.exception
    return result


def archive(path: Path, *names: str, **more: Any) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for name in names:
            out.writestr(f"{name}.json", json.dumps(advisory("torch", id=name, **more)))
    return path


def test_an_archive_is_taken_in_and_shown(home: Path, tmp_path: Path) -> None:
    taken = run(home, "update", archive(tmp_path / "all.zip", "PYSEC-1", "PYSEC-2"))
    more = run(home, "update", archive(tmp_path / "all.zip", "PYSEC-1", "PYSEC-2", "PYSEC-3"))
    shown = run(home, "show")

    assert "2 advisories about PyPI packages, as of 2026-01-01T00:00Z" in taken.output
    assert "3 (+1) advisories" in more.output
    assert "advisories rejudge" in more.output
    assert "3 advisories about PyPI packages" in shown.output
    assert "that is old" in shown.output
    assert "0 vulnerabilities known to be exploited" in shown.output


def told(home: Path) -> list[dict[str, Any]]:
    entries = SqlLedger(session_factory_for(database(home))).entries()
    return [canonical.decode_object(data) for _, data in entries]


def test_each_update_is_an_entry(home: Path, tmp_path: Path) -> None:
    file = archive(tmp_path / "all.zip", "PYSEC-1", "PYSEC-2")
    run(home, "update", file)
    run(home, "update", archive(tmp_path / "old.zip", "PYSEC-1"), "--force")

    first, second = told(home)
    assert (first["act"], first["allowed"]) == (Act.ADVISORIES_CHANGED, True)
    assert first["facts"] == {"files": {"advisories": of_bytes(file.read_bytes())}, "forced": False}
    assert first["after"]["advisories"]["count"] == 2
    assert second["before"]["advisories"] == first["after"]["advisories"]
    assert second["facts"]["forced"] is True


def test_what_is_refused_changes_nothing_and_is_no_entry(home: Path, tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_text("no archive")
    assert run(home, "update", tmp_path / "no.zip").exception is not None

    assert told(home) == []


def test_nothing_is_taken_in_that_could_not_be_recorded(home: Path, tmp_path: Path) -> None:
    Path(f"{home}.db").unlink()
    refused = run(home, "update", archive(tmp_path / "all.zip", "PYSEC-1")).exception

    assert isinstance(refused, NotFound)
    assert "0 advisories" in run(home, "show").output


def test_what_is_shown_can_be_read_by_programs(home: Path, tmp_path: Path) -> None:
    run(home, "update", archive(tmp_path / "all.zip", "PYSEC-1"))
    (home / "advisories" / "own.json").write_text(json.dumps(advisory(id="ACME-1")))

    assert json.loads(run(home, "show", "--json").output) == {
        "advisories": {"count": 1, "newest": "2026-01-01T00:00:00.000000Z"},
        "kev": {"count": 0, "newest": None},
        "epss": {"count": 0, "newest": None},
        "own": {"count": 1, "newest": "2026-01-01T00:00:00.000000Z"},
    }


def test_an_older_archive_needs_force(home: Path, tmp_path: Path) -> None:
    run(home, "update", archive(tmp_path / "a.zip", "PYSEC-1", modified="2026-02-01T00:00:00Z"))
    old = archive(tmp_path / "b.zip", "PYSEC-1")

    assert isinstance(run(home, "update", old).exception, Conflict)
    assert run(home, "update", old, "--force").exception is None


def test_nothing_is_made_where_no_installation_is(tmp_path: Path) -> None:
    for words in (("update", "x.zip"), ("show",), ("rejudge",)):
        assert isinstance(run(tmp_path / "nowhere", *words).exception, NotFound)
    assert not (tmp_path / "nowhere").exists()


def test_an_update_of_nothing_says_what_to_name(home: Path) -> None:
    assert isinstance(run(home, "update").exception, InvalidRequest)


def test_an_empty_installation_says_what_to_do(home: Path) -> None:
    assert "none: mlflow-governance advisories update ARCHIVE" in run(home, "show").output
    error = run(home, "rejudge").exception
    assert isinstance(error, ConfigurationError)
    assert "advisories update" in error.advice


@pytest.fixture
def judging(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Result, InProcessRegistry]]:
    """Judges a registry with one version at Staging again, by what is known now."""
    run(home, "update", archive(tmp_path / "all.zip", "PYSEC-1"))
    registry = InProcessRegistry(tmp_path / "registry")
    ref = registry.accepted("churn")
    transition(registry.ports, Request(ALICE, ref), Stage.STAGING)
    monkeypatch.setattr(module, "_ports", lambda settings, backend: registry.ports)

    def judge(*words: str, known: tuple[dict[str, Any], ...] = ()) -> Any:
        outcome = Outcome.passed(vulnerabilities=list(known))
        registry.outcomes.spoiled = {Kind.VULNERABILITIES: outcome}
        return run(home, "rejudge", *words), registry

    return judge


def test_where_nothing_blocks_the_code_is_0(judging: Callable[..., Any]) -> None:
    result, _ = judging()

    assert result.exception is None
    assert "churn/1" in result.output
    assert result.output.split()[1:] == ["Staging", "ok"]


def test_where_something_blocks_the_command_is_told_and_the_code_is_4(
    judging: Callable[..., Any],
) -> None:
    result, registry = judging(known=(SEVERE,))

    assert isinstance(result.exception, Denied)
    assert result.exception.exit_code == 4
    assert "quarantine proposed" in result.output
    assert "proposed: mlflow-governance quarantine churn/1 --reason 'known vulner" in result.output
    assert NAMED in result.output
    assert registry.record(registry_ref(registry)).stage is Stage.STAGING


def registry_ref(registry: InProcessRegistry) -> Any:
    with registry.ports.store.read() as reading:
        (record,) = reading.versions()
    return record.ref


def test_programs_get_one_document(judging: Callable[..., Any]) -> None:
    result, _ = judging("--json", "--stage", "Staging", known=(SEVERE,))
    (version,) = json.loads(result.output)["versions"]

    assert result.exit_code == 4
    assert version["name"] == "churn"
    assert (version["now"], version["vulnerabilities"]) == ("quarantine proposed", [NAMED])
    assert version["reasons"][0]["code"] == "PRO-008"
    assert version["command"].startswith("mlflow-governance quarantine churn/1 --reason ")


def test_stages_nobody_is_at_are_said_to_be_empty(judging: Callable[..., Any]) -> None:
    result, _ = judging("--stage", "Approved", known=(SEVERE,))

    assert (result.exception, result.output) == (None, "no version is at these stages\n")
