"""A person is given one bundle at a time, whole, and nothing is left behind."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from mlflow_governance.audit.bundle import Made
from mlflow_governance.audit.desk import Desk
from mlflow_governance.core.digest import of_bytes
from mlflow_governance.errors import Conflict, Denied
from mlflow_governance.workflows.evidence_export import Asked, OfVersion
from tests.unit.audit.bundle_builders import AUDREY, CHURN
from tests.unit.workflows.builders import ROOT

ASKED = Asked(AUDREY, OfVersion(CHURN))
_HOLD = """
import sys
from pathlib import Path
from mlflow_governance.audit.desk import _locked
with _locked(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


class Maker:
    """Makes the same archive for everybody."""

    def __init__(self, work: Callable[[], None] = lambda: None) -> None:
        self.work = work

    def export(self, asked: Asked, to: IO[bytes]) -> Made:
        self.work()
        to.write(b"PK" * 300_000)
        return Made(1, 1, of_bytes(b""), "Yes.")


def desk(tmp_path: Path, maker: Maker | None = None) -> Desk:
    return Desk(lambda: maker or Maker(), tmp_path / "evidence.lock")  # type: ignore[arg-type, return-value]


def test_a_bundle_arrives_whole_and_in_pieces(tmp_path: Path) -> None:
    spool = desk(tmp_path).bundle(ASKED)

    pieces = list(spool)

    assert b"".join(pieces) == b"PK" * 300_000
    assert len(pieces) > 1
    assert spool.size == 600_000
    assert spool.name == "evidence-churn-1.zip"


def test_nobody_is_given_two_at_once_and_others_are(tmp_path: Path) -> None:
    open_desk = desk(tmp_path)
    first = open_desk.bundle(ASKED)

    with pytest.raises(Conflict, match="already"):
        open_desk.bundle(ASKED)
    open_desk.bundle(Asked(ROOT, ASKED.of)).close()
    first.close()

    open_desk.bundle(ASKED).close()


def test_a_reader_that_goes_away_does_not_lock_itself_out(tmp_path: Path) -> None:
    open_desk = desk(tmp_path)
    pieces = iter(open_desk.bundle(ASKED))
    next(pieces)
    del pieces

    assert list(open_desk.bundle(ASKED))


def test_a_refusal_frees_the_person(tmp_path: Path) -> None:
    def refuse() -> None:
        raise Denied("no")

    maker = Maker(refuse)
    open_desk = desk(tmp_path, maker)
    with pytest.raises(Denied):
        open_desk.bundle(ASKED)

    maker.work = lambda: None
    open_desk.bundle(ASKED).close()


def test_another_process_of_the_server_knows_of_it(tmp_path: Path) -> None:
    lock = tmp_path / "evidence.lock"
    command = [sys.executable, "-c", _HOLD, str(lock), AUDREY.person]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(Conflict):
            desk(tmp_path).bundle(ASKED)
        desk(tmp_path).bundle(Asked(ROOT, ASKED.of)).close()
        other.kill()
        other.wait()

    desk(tmp_path).bundle(ASKED).close()


def test_the_lock_names_nobody_and_is_nobody_elses(tmp_path: Path) -> None:
    desk(tmp_path).bundle(ASKED).close()

    lock = tmp_path / "evidence.lock"
    assert lock.read_bytes() == b""
    assert stat.S_IMODE(os.stat(lock).st_mode) == 0o600
    assert os.listdir(tmp_path) == ["evidence.lock"]


def test_a_bundle_that_ends_frees_nobody_else(tmp_path: Path) -> None:
    lock = tmp_path / "evidence.lock"
    first = desk(tmp_path).bundle(ASKED)
    with closing(first):
        desk(tmp_path).bundle(Asked(ROOT, ASKED.of)).close()
        with pytest.raises(Conflict):  # another desk of this process
            desk(tmp_path).bundle(ASKED)

        command = [sys.executable, "-c", _HOLD, str(lock), AUDREY.person]
        other = subprocess.run(command, input="", capture_output=True, text=True, check=False)

    assert "you are being given" in other.stderr
    assert other.stdout == ""
