"""`evidence` on the registry's host and from elsewhere."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from mlflow_governance.cli.evidence import evidence
from mlflow_governance.errors import Denied, GovernanceError, InvalidRequest, NotFound
from mlflow_governance.store import tables
from tests.unit.audit.bundle_builders import Audited
from tests.unit.cli.test_client import serving
from tests.unit.web.test_evidence_bundle import Counter
from tests.unit.workflows.builders import SAM


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with the keys of a registry that has lived, whose database is ``mlflow.db``."""
    registry = Audited(tmp_path / "r", url=f"sqlite:///{tmp_path / 'mlflow.db'}")
    registry.approved("churn")
    registry.sessions.dispose()
    keys = tmp_path / "home" / "keys"
    keys.mkdir(parents=True)
    for path in (tmp_path / "r").glob("*.p*"):
        path.rename(keys / path.name)
    (tmp_path / "home" / "trust.yaml").write_text("version: 1\nsigners: []\n")
    (tmp_path / "home" / "config.yaml").write_text("registry_name: test\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def files() -> set[Path]:
    """What lies here, but for what SQLite keeps beside its file."""
    return {path for path in Path().iterdir() if not path.name.startswith("mlflow.db")}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(evidence, [*arguments], catch_exceptions=False)


def test_the_archive_stands_there_complete_and_for_its_owner_alone(home: Path) -> None:
    result = run("churn/1", "--home", str(home), "--reason", "yearly audit")

    path = Path("evidence-churn-1.zip")
    assert result.output.startswith("Yes: churn/1 is Approved since")
    assert "recorded in ledger entry" in result.output
    assert f"python verify.py bundle {path} --key VKEY" in result.output
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("manifest.json"))["registry"] == "test"
        assert b"registry:test" in archive.read("trust.yaml")


def test_a_period_is_written_from_to(home: Path) -> None:
    run("--period", "2026-11-01..2026-12-01", "-o", "november.zip", "--home", str(home))

    assert zipfile.is_zipfile("november.zip")


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ((), InvalidRequest),
        (("churn/1", "--period", "2026-11-01..2026-12-01"), InvalidRequest),
        (("--period", "2026-11-01"), InvalidRequest),
        (("churn",), InvalidRequest),
        (("nobody/1",), NotFound),
        (("churn/1", "-o", "absent/x.zip"), InvalidRequest),
    ],
)
def test_what_cannot_be_written_leaves_nothing(
    arguments: tuple[str, ...], refusal: type[GovernanceError], home: Path
) -> None:
    before = files()

    with pytest.raises(refusal):
        run(*arguments, "--home", str(home))

    assert files() == before


def test_a_file_that_is_there_stays(home: Path) -> None:
    Path("evidence-churn-1.zip").write_text("mine")

    with pytest.raises(InvalidRequest, match="already"):
        run("churn/1", "--home", str(home))

    assert Path("evidence-churn-1.zip").read_text() == "mine"


def test_a_changed_row_leaves_no_file(home: Path) -> None:
    engine = sa.create_engine("sqlite:///mlflow.db")
    with engine.begin() as connection:
        connection.execute(sa.update(tables.versions).values(stage="Revoked"))
    engine.dispose()
    before = files()

    with pytest.raises(GovernanceError, match="integrity alarm: churn/1") as alarm:
        run("churn/1", "--home", str(home))

    assert alarm.value.exit_code == 3
    assert files() == before


def test_from_elsewhere_the_server_says_who_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = Counter(tmp_path)
    monkeypatch.chdir(tmp_path)
    with serving(counter.client.application) as base:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", base)
        run("churn/1", "--from-server", "-o", "got.zip")
        counter.actor = SAM
        with pytest.raises(Denied, match="role auditor"):
            run("churn/1", "--from-server")

    assert zipfile.is_zipfile("got.zip")
    assert not Path("evidence-churn-1.zip").exists()
