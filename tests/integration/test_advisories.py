"""A new advisory on a real server: told, proposed, and acted upon by hand."""

from __future__ import annotations

import json
import shlex
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.local_server import LocalServer
from mlflow_governance.errors import Denied
from tests.integration.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with LocalServer(tmp_path_factory.mktemp("advised")) as server:
        world = World(server)
        world.populate()
        yield world


def archive(path: Path, **more: Any) -> Path:
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]
    affected = [{"package": {"ecosystem": "PyPI", "name": "scikit-learn"}, "ranges": ranges}]
    document = {
        "id": "PYSEC-2026-99",
        "aliases": ["CVE-2026-99999"],
        "modified": "2026-01-01T00:00:00Z",
        "affected": affected,
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
        **more,
    }
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("PYSEC-2026-99.json", json.dumps(document))
    return path


def test_what_stands_is_proposed_for_quarantine_and_moved_by_a_person(world: World) -> None:
    home, backend = ("--home", str(world.server.home)), world.server.backend
    where = (*home, "--backend-store-uri", backend)
    judge = ("advisories", "rejudge", *where, "--json")
    world.candidate("churn")
    world.move("churn", 1, "Staging")
    harmless = archive(world.folder / "harmless.zip", affected=[
        {"package": {"ecosystem": "PyPI", "name": "leftpad"}, "versions": ["1.0"]}
    ])  # fmt: skip
    world.here("admin", "advisories", "update", str(harmless), *where)
    before = world.command("admin", *judge, check=False)
    assert before.returncode == 0, before.stderr
    assert [v["now"] for v in json.loads(before.stdout)["versions"]] == ["ok"]

    all_zip = archive(world.folder / "all.zip", modified="2026-02-01T00:00:00Z")
    world.here("admin", "advisories", "update", str(all_zip), *where)
    after = world.command("admin", *judge, check=False)

    assert after.returncode == Denied.exit_code, after.stderr
    (found,) = json.loads(after.stdout)["versions"]
    assert found["now"] == "quarantine proposed"
    assert found["vulnerabilities"][0].startswith("PYSEC-2026-99 in pkg:pypi/scikit-learn@")
    told = world.show("churn")
    assert told["stage"] == "Staging"
    assert told["timeline"][-1]["act"] == "quarantine.proposed"
    assert told["missing"][0]["code"] == "PRO-008"

    world.here("sam", *shlex.split(found["command"])[1:])
    assert world.show("churn")["stage"] == "Quarantined"
    assert world.ledger_verifies()["size"] == told["timeline"][-1]["index"] + 2
