"""What relaxed checks would have denied, counted from the record and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mlflow_governance.cli.main import cli
from mlflow_governance.core.dossier import Dossier, Gate, Outcome
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.workflows.rates import Rates, rates
from mlflow_governance.workflows.recorded import Scope
from tests.unit.policy.builders import EVIDENCE, dossier
from tests.unit.workflows.past import Past, relaxed

KINDS = ("provenance", "signature", "canary", "dataset")


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    opened = Past(tmp_path)
    yield opened
    opened.close()


def every_way() -> list[tuple[tuple[bool, ...], str, Dossier]]:
    """Each of the four proved or not, of two models."""
    found = []
    for name, proved in product(("churn", "fraud"), product((True, False), repeat=4)):
        lacking = {
            k: Outcome.missing("none") for k, ok in zip(KINDS, proved, strict=True) if not ok
        }
        subject = replace(dossier(Gate.ACCEPT).subject, ref=VersionRef(name, 1))
        made = dossier(Gate.ACCEPT, subject=subject, evidence=EVIDENCE | lacking)
        found.append((proved, name, made))
    return found


def test_rates_are_what_counting_by_hand_gives(past: Past) -> None:
    ways = every_way()
    past.record((made for _, _, made in ways), relaxed())

    document = rates(past.rows(), Scope()).to_document()

    checks = {(c["code"], c["mode"]): c for c in document["checks"]}
    assert set(checks) == {("A-2", "warn"), ("A-3", "shadow")}
    for place, key in ((1, ("A-2", "warn")), (2, ("A-3", "shadow"))):
        failing = [way for way in ways if not way[0][place]]
        assert checks[key]["asked"] == len(ways)
        assert checks[key]["would_deny"] == len(failing)
        assert checks[key]["only_reason"] == sum(proved[0] for proved, _, _ in failing)
        assert checks[key]["rate"] == 0.5
        assert {m["model"]: m["decisions"] for m in checks[key]["models"]} == Counter(
            name for _, name, _ in failing
        )
    (waiver,) = document["waivers"]
    assert (waiver["waiver"], waiver["code"], waiver["used"]) == ("W-9", "A-4", 16)


def test_parts_add_up_to_the_whole(past: Past) -> None:
    past.record((made for _, _, made in every_way()), relaxed())
    rows = past.rows()
    summed = Rates()
    for start in range(0, len(rows), 7):
        summed.add(rates(rows[start : start + 7], Scope()))

    assert summed.to_document() == rates(rows, Scope()).to_document()


def told(past: Past, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(
        cli, ["policy", "rates", "--backend-store-uri", past.url, *arguments]
    )
    return result.exit_code, result.stdout


def test_the_command_prints_a_table_and_json(past: Past) -> None:
    past.record((made for _, _, made in every_way()), relaxed())

    code, text = told(past)
    assert code == 0
    assert "32 recorded decisions" in text
    assert "accept    A-2       warn           32          16            8   50.0%" in text
    assert "W-9" in text
    document: dict[str, Any] = json.loads(told(past, "--format", "json", "--model", "fr*")[1])
    assert document["decisions"] == 16
    assert document["model"] == "fr*"


def test_nothing_relaxed_is_said_in_words(past: Past) -> None:
    past.record([dossier(Gate.ALIAS)])

    assert "no check was in warn or shadow mode" in told(past)[1]


def test_what_was_changed_is_named_and_not_counted(past: Past) -> None:
    past.record([dossier(Gate.ALIAS), dossier(Gate.ACCEPT)])
    past.database.run("UPDATE governance_decisions SET allow = NOT allow WHERE gate = 'alias'")

    code, text = told(past)

    assert code == 3
    assert "1 recorded decisions" in text
    assert "INTEGRITY ALARM" in text
