"""``privacy``: on the host, with a home folder, a database of logins, and interruptions."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlflow_governance.cli import privacy as commands
from mlflow_governance.cli.privacy import privacy
from mlflow_governance.config import AUTH_VARIABLE
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import (
    ConfigurationError,
    Conflict,
    Denied,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from mlflow_governance.evidence.interface import EvidenceItem
from mlflow_governance.store.tables import metadata
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.attach import attach
from mlflow_governance.workflows.ports import Request
from tests.unit.workflows.builders import PIA, SAM, InProcessRegistry

CONFIG = "registry_name: test\nauth: none\n"


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lived")
    registry = InProcessRegistry(folder)
    ref = registry.accepted("churn")
    approve(registry.ports, Request(SAM, ref, "read it"), "security", "approve")
    registry.sessions.dispose()
    keys = folder / "home" / "keys"
    keys.mkdir(parents=True)
    for name in ("ledger", "registry"):
        for ending in ("pem", "pub"):
            shutil.copy(folder / f"{name}.{ending}", keys)
    (folder / "home" / "config.yaml").write_text(CONFIG)
    return folder


@pytest.fixture
def place(lived: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(lived, tmp_path / "r")
    monkeypatch.setattr(commands, "operator", lambda: Actor("os:ops"))
    return tmp_path / "r"


def arguments(place: Path) -> list[str]:
    return ["--backend-store-uri", f"sqlite:///{place / 'registry.db'}", "--home",
            str(place / "home")]  # fmt: skip


def run(place: Path, *words: str) -> Result:
    result = CliRunner().invoke(privacy, [*words, *arguments(place)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def erase(place: Path, *more: str, name: str = "alice") -> Result:
    return run(place, "erase", name, "--reason", "request 17", *more)


def names(place: Path, name: bytes = b"alice") -> bool:
    return any(name in path.read_bytes().lower() for path in place.glob("registry.db*"))


def test_a_person_is_shown_first_and_then_erased(place: Path) -> None:
    trial = erase(place, "--dry-run")
    assert trial.exit_code == 0
    assert trial.output.startswith("nothing was changed; erasing would replace")
    assert "1  governance_versions.submitter" in trial.output
    assert names(place)

    result = erase(place)

    assert result.exit_code == 0
    assert "erased in ledger entry" in result.output
    assert "no table names them any more" in result.output
    assert "not within reach of this command: backups" in result.output
    assert not names(place)


def test_the_operators_own_files_are_named(place: Path) -> None:
    trust = place / "home" / "trust.yaml"
    trust.write_text("version: 1\nsigners: []  # Alice left\n")

    assert f"left to do: {trust} names them" in erase(place).output


def test_the_outcome_is_json_for_a_program(place: Path) -> None:
    done = json.loads(erase(place, "--json", name="Sam").output)

    assert done["remains"] == done["left_to_do"] == []
    assert done["replaced"]["governance_approvals.person"] == 1
    assert done["pseudonym"].startswith("erased-")
    assert done["entry"] > 0
    assert "sam" not in json.dumps(done).lower().replace("same", "")


def test_what_is_left_is_named_and_the_exit_code_says_so(place: Path) -> None:
    registry = InProcessRegistry(place)
    item = EvidenceItem("attestations/review.intoto.json", b'{"reviewer": "Alice"}')
    attach(registry.ports, Request(SAM, VersionRef("churn", 1), "see"), item)
    registry.sessions.dispose()

    for _ in range(2):  # asked again, nothing of ours is left, and the same still names them
        result = erase(place)
        assert result.exit_code == 3
        assert "governance_blobs.data churn/1 attachment attestations/review" in result.output
        assert "signed or written by others" in result.output


def test_what_may_be_the_name_is_counted_and_is_no_failure(place: Path) -> None:
    registry = InProcessRegistry(place)
    request = Request(PIA, VersionRef("churn", 1), "thanks to mary.alice and xalicex")
    approve(registry.ports, request, "product", "approve")
    registry.sessions.dispose()

    result = erase(place)

    assert result.exit_code == 0
    assert "perhaps naming them" in result.output
    assert "1  governance_approvals.reason" in result.output


def test_files_that_the_worker_has_still_to_write_are_told(place: Path) -> None:
    registry = InProcessRegistry(place)
    uid = registry.record(VersionRef("churn", 1)).uid
    with registry.ports.store.begin() as uow:
        uow.add_task("mirror", uid)
    registry.sessions.dispose()

    assert "left to do: files beside 1 version" in erase(place).output


def test_no_table_of_the_registry_is_to_be_changed_in_mlflow() -> None:
    places = [f"{name}.x" for name in metadata.tables]

    assert not [p for p in places if p.startswith("governance_") and "MLflow" in commands._mend(p)]
    assert "MLflow" in commands._mend("tags.value")


def test_who_can_log_in_is_not_erased(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(AUTH_VARIABLE, raising=False)
    home = place / "home"
    (home / "config.yaml").write_text("registry_name: test\n")
    with pytest.raises(ConfigurationError):
        erase(place)
    (home / "basic_auth.ini").write_text(
        f"[mlflow]\ndatabase_uri = sqlite:///{place / 'registry.db.auth'}\n"
    )
    with sqlite3.connect(place / "registry.db.auth") as auth:
        auth.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, username TEXT)")
        auth.execute("INSERT INTO users (username) VALUES ('Alice'), ('admin')")
    auth.close()

    with pytest.raises(Conflict) as refused:
        erase(place)
    assert refused.value.advice == "mlflow-governance users remove Alice"

    with sqlite3.connect(place / "registry.db.auth") as auth:
        auth.execute("DELETE FROM users WHERE username = 'Alice'")
    auth.close()
    assert names(place)
    assert erase(place).exit_code == 0
    assert not names(place)  # the database of logins among them


def test_a_hold_is_heeded(place: Path) -> None:
    (place / "home" / "config.yaml").write_text(CONFIG + "privacy: {holds: [ALICE]}\n")

    with pytest.raises(Denied):
        erase(place)
    with pytest.raises(Denied):
        erase(place, "--dry-run")
    assert names(place)


def test_who_is_nowhere_is_not_found(place: Path) -> None:
    with pytest.raises(NotFound):
        erase(place, name="zoe")
    with pytest.raises(InvalidRequest):
        run(place, "erase", "alice", "--reason", "alice wants it")
    with pytest.raises(NotFound):
        run(place, "export", "zoe")


def test_an_interrupted_erasure_is_finished_by_repeating_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = sqlite3.connect(place / "registry.db")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM governance_versions").fetchone()
    monkeypatch.setattr("mlflow_governance.store.sessions.BUSY_TIMEOUT_MS", 200)
    with pytest.raises(Unavailable) as busy:
        erase(place)
    assert "repeat" in busy.value.advice.lower()
    assert names(place)
    reader.close()

    result = erase(place)

    assert result.exit_code == 0
    assert result.output.startswith("nothing was left to replace; the files were cleaned")
    assert not names(place)
    with pytest.raises(NotFound):
        erase(place)


def test_an_erasure_killed_before_the_files_are_clean_is_finished_by_repeating_it(
    place: Path,
) -> None:
    script = (
        "import os, signal; from mlflow_governance.store import scrub; "
        "from mlflow_governance.cli import main, privacy; "
        "from mlflow_governance.core.actor import Actor; "
        "privacy.operator = lambda: Actor('os:ops'); "
        "scrub.scrub = lambda url: os.kill(os.getpid(), signal.SIGKILL); main.main()"
    )
    words = ["privacy", "erase", "alice", "--reason", "request 17", *arguments(place)]
    done = subprocess.run(
        [sys.executable, "-c", script, *words], timeout=120, check=False, env=os.environ.copy()
    )
    assert done.returncode == -signal.SIGKILL
    assert names(place)

    assert erase(place).output.startswith("nothing was left to replace")
    assert not names(place)


def test_everything_that_is_kept_is_written_for_the_person(place: Path) -> None:
    out = place / "alice.json"

    told = run(place, "export", "Alice", "-o", str(out)).output

    assert out.stat().st_mode & 0o777 == 0o600
    document = json.loads(out.read_text())
    assert document["person"] == "alice"
    assert f"{len(document['acts'])} acts" in told
    assert any(s["where"] == "governance_versions.submitter" for s in document["kept"])
    with pytest.raises(InvalidRequest, match="there already"):
        run(place, "export", "alice", "-o", str(out))
    assert json.loads(run(place, "export", "alice").output)["person"] == "alice"
