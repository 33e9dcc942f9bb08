"""A bundle from a real server: signed evidence, people with passwords, and an auditor's walk."""

from __future__ import annotations

import io
import json
import re
import zipfile

import pytest

from mlflow_governance.core.digest import of_bytes
from mlflow_governance.ledger.note import NoteKey
from mlflow_governance.ledger.proof import InclusionProof
from tests.integration.world import World

PATH = "/api/2.0/mlflow-governance/evidence-bundle"
SHIPPED = {"name": "audited", "version": 1}


@pytest.fixture(scope="module")
def audited(world: World) -> World:
    world.approved("audited", seed=71)
    world.add_user("audrey", "auditor")
    return world


def test_an_auditor_takes_a_version_home(audited: World) -> None:
    answer = audited.ask("audrey", "GET", PATH, params={**SHIPPED, "reason": "ISO audit"})

    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    listed = json.loads(files["manifest.json"])["files"]
    rest = {p: of_bytes(data) for p, data in files.items() if not p.startswith("manifest.")}
    assert listed == rest

    key = NoteKey.parse(files["keys/ledger.vkeys"].decode())
    for path, data in files.items():
        if match := re.fullmatch(r"ledger/entries/(\d+)\.json", path):
            proof = InclusionProof.parse(files[f"ledger/proofs/{match[1]}.tlog-proof"].decode())
            proof.verify(data, key)

    page = files["report.html"].decode()
    assert "Yes: audited/1 is Approved since" in page
    assert "approved by pia (product) and sam (security)" in page
    assert "audrey" in page
    assert "ISO audit" in page
    evidence = {p for p in files if p.startswith("versions/audited/1/evidence/")}
    assert any("signatures" in path or path.endswith(".sig") for path in evidence)
    assert any("sbom" in path for path in evidence)
    assert files["report.pdf"].startswith(b"%PDF")


def test_others_do_not_and_the_ledger_tells(audited: World) -> None:
    answer = audited.ask("alice", "GET", PATH, params=SHIPPED)

    assert answer.status_code == 403
    assert "role auditor" in answer.json()["message"]
    timeline = audited.show("audited")["timeline"]
    acts = [(entry["act"], entry["actor"]) for entry in timeline]
    assert ("evidence.exported", "audrey") in acts
    assert acts[-1] == ("request.refused", "alice")
    assert audited.ledger_verifies()


def test_from_elsewhere_with_the_command(audited: World) -> None:
    said = audited.here("audrey", "evidence", "audited/1", "--from-server", "-o", "home.zip")

    assert "home.zip" in said
    assert zipfile.is_zipfile(audited.folder / "home.zip")
