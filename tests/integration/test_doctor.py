"""``doctor``: what is wrong, the mending command, and exit code 6."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from mlflow_governance import config
from mlflow_governance.bootstrap import prepare_home
from mlflow_governance.cli.main import cli
from tests.integration.world import World


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder as the first start leaves it."""
    prepare_home(config.load(tmp_path / "home"))
    return tmp_path / "home"


def examined(home: Path, *flags: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", "--home", str(home), *flags], env={
        "MLFLOW_TRACKING_URI": "", "MLFLOW_GOVERNANCE_AUTH": "",
    })  # fmt: skip


def test_a_running_installation_is_healthy(world: World) -> None:
    flags = ("--home", str(world.server.home), "--backend-store-uri", world.server.backend)

    done = world.command("admin", "doctor", *flags)

    assert done.returncode == 0
    assert "FAILED" not in done.stdout
    assert f"ok       server: {world.server.uri} is governed, under sha256:" in done.stdout
    assert "entries verify" in done.stdout
    assert "ok       trust: 3 entries: canary, ci, training" in done.stdout


def test_a_fresh_home_lacks_trust_and_nothing_else_is_wrong(home: Path) -> None:
    done = examined(home)

    assert done.exit_code == 0, done.output
    assert "warning  trust: nobody may sign anything" in done.output
    assert "mend: mlflow-governance trust add NAME" in done.output


def test_without_a_login_the_doctor_says_what_cannot_be_done(home: Path) -> None:
    (home / "config.yaml").write_text("auth: none\n")

    done = examined(home)

    assert done.exit_code == 0
    assert "warning  authentication: nobody is known" in done.output


def _no_home(home: Path) -> None:
    shutil.rmtree(home)


def _no_ledger_key(home: Path) -> None:
    (home / "keys" / "ledger.pem").unlink()


def _one_key_for_both(home: Path) -> None:
    for suffix in ("pem", "pub"):
        shutil.copy(home / "keys" / f"ledger.{suffix}", home / "keys" / f"registry.{suffix}")


def _a_signer_with_the_registrys_key(home: Path) -> None:
    public = (home / "keys" / "registry.pub").read_text().replace("\n", "\n      ")
    (home / "trust.yaml").write_text(
        f"version: 1\nsigners:\n  - name: x\n    key: |\n      {public}\n    for: [signature]\n"
    )


def _readable_key(home: Path) -> None:
    (home / "keys" / "registry.pem").chmod(0o644)


def _broken_key(home: Path) -> None:
    (home / "keys" / "ledger.pem").write_text("-----BEGIN PRIVATE KEY-----\nno\n")


def _broken_trust(home: Path) -> None:
    (home / "trust.yaml").write_text("version: 1\nsigners: [{name: x, key: nonsense}]\n")


def _no_yaml(home: Path) -> None:
    (home / "trust.yaml").write_text("{")


def _unknown_setting(home: Path) -> None:
    (home / "config.yaml").write_text("strict_registrations: true\n")


def _wrong_type(home: Path) -> None:
    (home / "config.yaml").write_text("strict_registration: 'no'\n")


def _no_policies(home: Path) -> None:
    (home / "config.yaml").write_text("policies: nowhere\n")


def _no_policy_server(home: Path) -> None:
    (home / "config.yaml").write_text("opa: {url: 'http://127.0.0.1:1'}\n")


def _webhook_without_a_secret(home: Path) -> None:
    (home / "config.yaml").write_text("webhooks: [{name: x, url: 'http://127.0.0.1:1'}]\n")


@pytest.mark.parametrize(
    ("damage", "said", "mend"),
    [
        (_no_home, "FAILED   home", "mlflow-governance server"),
        (_no_ledger_key, "FAILED   keys", "ledger.pem"),
        (_one_key_for_both, "FAILED   keys: the ledger and the registry use the same", "Move"),
        (_a_signer_with_the_registrys_key, "FAILED   keys: trust.yaml lets 'x' sign", "keys new"),
        (_readable_key, "FAILED   keys", "chmod 600"),
        (_broken_key, "FAILED   keys", "ledger.pem"),
        (_broken_trust, "FAILED   trust", "trust.yaml"),
        (_no_yaml, "FAILED   trust", "trust.yaml"),
        (_unknown_setting, "FAILED   settings", "strict_registrations"),
        (_wrong_type, "FAILED   settings", "strict_registration must be a bool"),
        (_no_policies, "FAILED   policy", "nowhere"),
        (
            _no_policy_server,
            "FAILED   policy server: http://127.0.0.1:1: ENG-UNREACHABLE",
            "opa in",
        ),
        (_webhook_without_a_secret, "FAILED   settings", "has no secret"),
    ],
)
def test_what_is_broken_is_named_with_exit_code_6(
    home: Path, damage: click.Command, said: str, mend: str
) -> None:
    damage(home)

    done = examined(home)

    assert done.exit_code == 6, done.output
    assert said in done.output
    assert mend in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    "damage", [_one_key_for_both, _readable_key, _broken_key, _unknown_setting, _no_policies]
)
def test_the_server_refuses_to_start_on_it(home: Path, damage: click.Command) -> None:
    from mlflow_governance.errors import ConfigurationError

    damage(home)
    database = f"sqlite:///{home.parent / 'mlflow.db'}"
    command = ["server", "--home", str(home), "--backend-store-uri", database, "--auth", "none"]

    done = CliRunner().invoke(cli, command, standalone_mode=False)

    assert isinstance(done.exception, ConfigurationError), done.output


def test_a_server_that_is_not_governed_is_recognised(home: Path) -> None:
    done = CliRunner().invoke(
        cli, ["doctor", "--home", str(home)], env={"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    )

    assert done.exit_code == 6
    assert "FAILED   server: http://127.0.0.1:9 cannot be reached" in done.output
