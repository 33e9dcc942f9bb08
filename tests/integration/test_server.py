"""The server command: one command starts it, and it starts governed or not at all."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from examples.local_server import free_port
from mlflow_governance.cli.main import cli
from mlflow_governance.errors import ConfigurationError, InvalidRequest
from tests.integration.world import World


def test_the_first_start_makes_keys_secrets_and_an_administrator(world: World) -> None:
    log = world.server.log.read_text()
    keys = world.server.home / "keys"

    assert log.count("created on this first start:") == 1
    for name in ("ledger.pem", "registry.pem", "admin.password"):
        assert str(keys / name) in log
    for name in ("ledger.pem", "registry.pem", "admin.password", "flask.key"):
        assert stat.S_IMODE((keys / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert (keys / "ledger.pem").read_bytes() != (keys / "registry.pem").read_bytes()
    assert (keys / "admin.password").read_text() not in log
    assert world.ask("admin", "GET", "/api/2.0/mlflow/users/current").status_code == 200


def test_the_first_entry_of_the_ledger_says_under_what_the_registry_started(world: World) -> None:
    answer = world.ask(
        "rita", "GET", "/api/2.0/mlflow-governance/ledger/entries", params={"count": 3}
    )

    in_force, trust, entry = (found["entry"] for found in answer.json()["entries"])
    assert '"act":"policy.changed"' in in_force
    assert '"act":"trust.changed"' in trust
    assert '"act":"registry.started"' in entry
    policy = world.ask("rita", "GET", "/api/2.0/mlflow-governance/policy").json()
    assert policy["policy_digest"] in entry


def test_mlflows_own_flags_are_passed_on(world: World) -> None:
    # The shared server was started with --x-frame-options DENY; SAMEORIGIN is the default.
    assert world.ask("", "GET", "/health").headers["X-Frame-Options"] == "DENY"


def test_stock_pages_and_calls_of_mlflow_go_on(world: World) -> None:
    assert world.ask("rita", "GET", "/").status_code == 200
    with world.speaking_as("rita") as client:
        run = client.create_run(client.create_experiment("of-rita")).info.run_id
        client.log_metric(run, "loss", 0.1)
        client.log_text(run, "hello", "note.txt")
        assert [item.path for item in client.list_artifacts(run)] == ["note.txt"]
        client.create_registered_model("empty")
        client.set_registered_model_tag("empty", "team", "blue")
        client.rename_registered_model("empty", "still-empty")
        client.delete_registered_model("still-empty")


@pytest.mark.parametrize(
    "flags",
    [
        ("--registry-store-uri", "sqlite:///x.db"),
        ("--registry-store-uri=sqlite:///x.db",),
        ("--app-name", "basic-auth"),
        ("--app-name=basic-auth",),
        ("--no-serve-artifacts",),
        ("--artifacts-only",),
        ("--serve-artifacts", "--no-serve-artifacts"),
    ],
)
def test_flags_that_would_undo_governance_are_refused(flags: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest, match="set by mlflow-governance itself"):
        cli.main(["server", *flags], standalone_mode=False)


@pytest.mark.parametrize("uri", ["governance+sqlite:///x.db", "x.db", "./mlruns"])
def test_a_backend_that_is_no_plain_database_is_refused(uri: str, tmp_path: Path) -> None:
    command = ["server", "--backend-store-uri", uri, "--home", str(tmp_path / "home")]

    with pytest.raises(ConfigurationError, match="plain database URI"):
        cli.main(command, standalone_mode=False)
    assert not (tmp_path / "home").exists()


@pytest.fixture(scope="module")
def by_hand(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `mlflow server --app-name governance` said before it ended, by what was wrong."""
    governed = ("--registry-store-uri", "governance+sqlite:///mlflow.db")
    folders = {name: tmp_path_factory.mktemp(name) for name in ("registry", "artifacts")}
    started = {
        "registry": start_by_hand(world, folders["registry"]),
        "artifacts": start_by_hand(world, folders["artifacts"], *governed),
    }
    return {name: process.communicate(timeout=120)[0] for name, process in started.items()}


def start_by_hand(world: World, folder: Path, *flags: str) -> subprocess.Popen[str]:
    # The database last: no server starts on one older than what its home vouches for.
    shutil.copytree(world.server.home, folder / "home")
    with (
        closing(sqlite3.connect(world.folder / "mlflow.db")) as live,
        closing(sqlite3.connect(folder / "mlflow.db")) as copy,
    ):
        live.backup(copy)
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", "sqlite:///mlflow.db"),
        *("--artifacts-destination", f"file://{folder}/artifacts"),
        *("--app-name", "governance", "--workers", "1", "--port", str(free_port()), *flags),
    ]
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "_MLFLOW"))}
    variables = {
        "MLFLOW_GOVERNANCE_HOME": "home",
        "MLFLOW_GOVERNANCE_AUTH": "none",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**plain, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_it_does_not_start_on_a_registry_that_is_not_ours(by_hand: dict[str, str]) -> None:
    said = by_hand["registry"]

    assert "the live registry store is SqlAlchemyStore, not a governed one" in said
    assert "Start the server with: mlflow-governance server" in said
    assert "Application startup complete" not in said


def test_it_does_not_start_on_artifacts_that_are_not_guarded(by_hand: dict[str, str]) -> None:
    said = by_hand["artifacts"]

    assert "is not guarded" in said
    assert "--artifacts-destination governance+file://" in said
    assert "Application startup complete" not in said
