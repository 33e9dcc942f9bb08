"""No server, worker or replica starts on a database that is behind what was signed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlflow_governance.cli.main import cli
from mlflow_governance.errors import LedgerError
from mlflow_governance.plugin.registry_store import build
from tests.unit.plugin.builders import Governed


@contextmanager
def restored_afterwards(governed: Governed, folder: Path) -> Iterator[None]:
    """A backup is made first; at the end it is what the database file holds."""
    backup = folder / "backup.db"
    with closing(sqlite3.connect(folder / "mlflow.db")) as live:
        live.execute("VACUUM INTO ?", (str(backup),))
    yield
    governed.store.engine.dispose()
    for end in ("-wal", "-shm"):
        (folder / f"mlflow.db{end}").unlink(missing_ok=True)
    backup.replace(folder / "mlflow.db")


def test_a_server_does_not_start_on_an_older_database(governed: Governed, tmp_path: Path) -> None:
    governed.candidate()
    with restored_afterwards(governed, tmp_path):
        governed.candidate("2/models/m-2/artifacts")
        governed.store.governance.anchoring.gather()
    size = governed.store.governance.ledger.head()

    with pytest.raises(LedgerError, match="were signed before") as caught:
        build(f"governance+{governed.database}")

    assert "ledger recover --reason" in caught.value.advice
    assert governed.store.governance.ledger.head() == size, "nothing was recorded on top of it"


def test_after_a_recovery_it_starts_and_the_record_says_what_was_lost(
    governed: Governed, tmp_path: Path
) -> None:
    governed.candidate()
    with restored_afterwards(governed, tmp_path):
        governed.candidate("2/models/m-2/artifacts")
        governed.store.governance.anchoring.gather()
    flags = ["--home", str(tmp_path / "home"), "--backend-store-uri", governed.database]
    doctor = CliRunner().invoke(cli, ["doctor", *flags], env={"MLFLOW_TRACKING_URI": ""})
    assert "FAILED   checkpoints: the database is not the ledger that was signed" in doctor.output

    done = CliRunner().invoke(cli, ["ledger", "recover", "--reason", "the disk failed", *flags])

    assert "acknowledged as lost" in done.output, done.exception
    again = build(f"governance+{governed.database}")
    (told,) = again.governance.ledger.recoveries(again.governance.anchoring.key)
    assert told.size > told.went_on
    again.engine.dispose()
    governed.agrees()


def test_a_running_server_changes_nothing_on_an_older_database(
    governed: Governed, tmp_path: Path
) -> None:
    governed.candidate()
    with restored_afterwards(governed, tmp_path):
        governed.candidate("2/models/m-2/artifacts")

    governed.model("3/models/m-3/artifacts")
    with pytest.raises(Exception, match="rolled back"):
        governed.register("3/models/m-3/artifacts")
