"""What ``explain --output`` writes, a real OPA decides to the very same document."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Denied
from mlflow_governance.workflows.admit import admit
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.withdraw import withdraw
from tests.contract.policy.binary import OPA, needs_opa
from tests.unit.workflows.builders import NOBODY, SAM
from tests.unit.workflows.test_reconstruct import asked
from tests.unit.workflows.watched import Watched

pytestmark = needs_opa
_SAID = ("allow", "checks", "warnings", "obligations", "details", "modes", "waived")


def _said(document: dict[str, Any]) -> dict[str, Any]:
    # Into the words of a reason the registry sets the names it is about.
    reasons = {(reason["code"], reason["path"]) for reason in document["reasons"]}
    return {name: document[name] for name in _SAID} | {"reasons": reasons}


@pytest.mark.parametrize("gate", ["accept", "promote", "withdraw", "download", "alias"])
def test_opa_says_the_same_of_what_was_written(tmp_path: Path, gate: str) -> None:
    registry = Watched(tmp_path)
    registry.approved("churn")
    young = registry.accepted("young")
    with pytest.raises(Denied):
        admit(registry.ports, Request(NOBODY, young), "registry")
    withdraw(registry.ports, Request(SAM, young, "a leak"), Stage.REVOKED)
    entries = [json.loads(data) for _, data in registry.ledger.entries()]
    ids = {entry["facts"].get("gate"): entry["decision_id"] for entry in entries}
    folder = tmp_path / "why"
    told = asked(registry, ids[gate], "--output", folder)
    assert told.exit_code == 0, told.exception

    command = [OPA, "eval", "-b", str(folder / "policy.tar.gz"), "-i",
               str(folder / "dossier.json"), "--format", "raw",
               f"data.registry.{gate}.decision"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    assert " ".join(command[1:6]) in told.stderr
    theirs, ours = json.loads(done.stdout), json.loads((folder / "decision.json").read_bytes())
    assert _said(theirs) == _said(ours)
