"""Serving hosts: the guard and the verified loader against the real server, and without it."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from examples.local_server import COMMAND
from mlflow_governance.errors import EvidenceMissing, GovernanceError, VerificationError
from mlflow_governance.serving import ServingSettings, load_model
from mlflow_governance.serving.fetch import LiveFetcher
from mlflow_governance.serving.verify import Connections
from tests.integration.world import World, sample

LIST_DIRECTORY = [sys.executable, "-c", "import os,sys; print(sorted(os.listdir(sys.argv[1])))"]


@pytest.fixture(scope="module")
def served(world: World) -> str:
    """A version at Approved, read by everybody and changed by no test."""
    return world.approved("served", seed=70)


class Host:
    """A serving host of its own: a trust policy and a cache."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.variables = {
            "MLFLOW_GOVERNANCE_TRUST": str(folder / "trust.yaml"),
            "MLFLOW_GOVERNANCE_CACHE": str(folder / "cache"),
        }
        world.here("rita", "trust", "export", "-o", str(folder / "trust.yaml"))

    def settings(self, **more: str) -> ServingSettings:
        return ServingSettings.from_env(
            {"MLFLOW_TRACKING_URI": self.world.server.uri, **self.variables, **more}
        )

    def load(self, uri: str, **more: str) -> object:
        """Load as code of a serving application does; ``more`` are further variables."""
        with self.world.speaking_as("rita"):
            return load_model(uri, settings=self.settings(**more))

    def guard(
        self, *arguments: str, check: bool = False, **more: str
    ) -> subprocess.CompletedProcess[str]:
        variables = {**self.variables, **more}
        return self.world.command("rita", "guard", *arguments, check=check, **variables)


@pytest.fixture
def host(world: World, served: str, tmp_path: Path) -> Host:
    return Host(world, tmp_path)


@pytest.mark.parametrize("form", ["1", "Approved", "latest"])
def test_a_released_version_loads_and_predicts(host: Host, form: str) -> None:
    model = host.load(f"models:/served/{form}")

    assert len(model.predict(sample())) == 2  # type: ignore[attr-defined]


def test_the_guard_runs_the_command_on_the_verified_copy(host: Host) -> None:
    done = host.guard("models:/served/Approved", "--", *LIST_DIRECTORY, "{model}", check=True)

    assert "'MLmodel'" in done.stdout
    assert "governance" not in done.stdout


def test_the_commands_exit_code_is_the_guards(host: Host) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit(41)", "{model}"]

    assert host.guard("models:/served/1", "--", *command).returncode == 41


def test_one_flipped_byte_ends_the_guard_with_3_and_names_the_file(
    world: World, host: Host
) -> None:
    with flipped(world, world.approved("flipped", seed=71)) as name:
        done = host.guard("models:/flipped/1", "--", *LIST_DIRECTORY, "{model}")
        with pytest.raises(VerificationError, match=name):
            host.load("models:/flipped/1")

    assert done.returncode == 3
    assert name in done.stderr
    assert done.stdout == ""
    assert host.load("models:/flipped/1") is not None


def test_an_added_file_is_noticed_too(world: World, host: Host) -> None:
    added = world.artifacts / world.location(world.approved("grown", seed=72)) / "sitecustomize.py"
    added.write_text("print('hello')")

    with pytest.raises(VerificationError, match=r"sitecustomize\.py"):
        host.load("models:/grown/1")


def test_a_version_that_is_not_released_is_not_served(world: World, host: Host) -> None:
    world.candidate("too-early", seed=73)

    for user in ("rita", "eve"):  # even where the registry lets an evaluator have the bytes
        with world.speaking_as(user), pytest.raises(GovernanceError, match="Candidate"):
            load_model("models:/too-early/1", settings=host.settings())


def test_a_revoked_version_is_not_served_from_the_cache_either(world: World, host: Host) -> None:
    world.approved("withdrawn", seed=74)
    assert host.load("models:/withdrawn/1") is not None

    world.here("sam", "revoke", "withdrawn/1", "--reason", "leaks personal data")

    with pytest.raises(GovernanceError, match="DLD-001"):
        host.load("models:/withdrawn/1")
    assert host.guard("models:/withdrawn/1", "--", "true", "{model}").returncode in (3, 4)
    # The host now has the list that names it; without the registry it goes on refusing.
    assert host.load("models:/served/1") is not None
    with pytest.raises(VerificationError, match="Revoked"):
        host.load("models:/withdrawn/1", MLFLOW_GOVERNANCE_OFFLINE="true")


def test_a_running_command_is_stopped_when_its_model_is_revoked(world: World, host: Host) -> None:
    world.approved("running", seed=75)
    sleeping = [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(120)"]
    command = ["guard", "--refresh", "0.5", "models:/running/1", "--", *sleeping, "{model}"]
    environment = {**os.environ, **world.server.environment("rita")}
    process = subprocess.Popen(
        [*COMMAND, *command],
        env={**environment, **host.variables},
        cwd=world.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        world.here("sam", "revoke", "running/1", "--reason", "leaks personal data")
        _, said = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "the command is stopped" in said


def test_without_the_registry_the_verified_copy_goes_on(host: Host) -> None:
    assert host.load("models:/served/1") is not None
    away = {"MLFLOW_GOVERNANCE_OFFLINE": "true", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}

    assert len(host.load("models:/served/1", **away).predict(sample())) == 2  # type: ignore[attr-defined]
    done = host.guard("models:/served/1", "--", *LIST_DIRECTORY, "{model}", **away)
    assert done.returncode == 0, done.stderr


def test_without_the_registry_nothing_unknown_is_loaded(host: Host) -> None:
    with pytest.raises(EvidenceMissing):
        host.load("models:/served/1", MLFLOW_GOVERNANCE_OFFLINE="true")


def test_without_the_registry_the_copy_may_be_used_as_long_as_the_revocation_list_is_valid(
    host: Host,
) -> None:
    assert host.load("models:/served/1") is not None
    settings = host.settings(MLFLOW_GOVERNANCE_OFFLINE="true")

    def in_hours(count: float) -> Connections:
        return Connections(
            None, LiveFetcher(settings), lambda: datetime.now(UTC) + timedelta(hours=count)
        )

    assert load_model("models:/served/1", settings=settings, connections=in_hours(23))
    with pytest.raises(VerificationError, match="expired"):
        load_model("models:/served/1", settings=settings, connections=in_hours(25))


def test_a_revocation_list_brought_by_hand_counts(world: World, host: Host, tmp_path: Path) -> None:
    world.approved("island", seed=76)
    assert host.load("models:/island/1") is not None
    world.here("sam", "revoke", "island/1", "--reason", "leaks personal data")
    brought = tmp_path / "revocations.json"
    brought.write_bytes(world.ask("", "GET", "/api/2.0/mlflow-governance/revocations").content)

    with pytest.raises(VerificationError, match="Revoked"):
        host.load(
            "models:/island/1",
            MLFLOW_GOVERNANCE_OFFLINE="true",
            MLFLOW_GOVERNANCE_REVOCATIONS=str(brought),
        )


def test_a_host_may_insist_on_a_policy(world: World, host: Host) -> None:
    current = world.ask("rita", "GET", "/api/2.0/mlflow-governance/policy").json()["policy_digest"]

    assert host.load("models:/served/1", MLFLOW_GOVERNANCE_POLICY_DIGESTS=current) is not None
    with pytest.raises(VerificationError, match="which does not count"):
        host.load("models:/served/1", MLFLOW_GOVERNANCE_POLICY_DIGESTS="sha256:" + "0" * 64)


def test_who_does_not_trust_the_registry_loads_nothing(host: Host) -> None:
    trust = Path(host.variables["MLFLOW_GOVERNANCE_TRUST"])
    signers = trust.read_text().split("- name: registry:")[0]
    trust.write_text(signers)

    with pytest.raises(VerificationError):
        host.load("models:/served/1")


class flipped:  # noqa: N801  (reads as a phrase after "with")
    """One bit of the model's largest file changed on the registry's own disk, for a while."""

    def __init__(self, world: World, uri: str) -> None:
        root = world.artifacts / world.location(uri)
        self._path = max(root.glob("model.*"), key=lambda path: path.stat().st_size)
        self._original = self._path.read_bytes()

    def __enter__(self) -> str:
        changed = self._original[:-1] + bytes([self._original[-1] ^ 1])
        self._path.write_bytes(changed)
        return self._path.name

    def __exit__(self, *_: object) -> None:
        self._path.write_bytes(self._original)
