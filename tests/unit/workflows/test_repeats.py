"""A loop of denials is told and does not bury the record; not one of them is lost."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mlflow_governance.core import canonical
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.event import Act
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import Denied
from mlflow_governance.store import tables
from mlflow_governance.workflows.admit import admit
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.refuse import Refused, refuse
from mlflow_governance.workflows.repeats import FIRST, PERIOD, sum_up
from tests.unit.workflows.builders import EVE, PIA, Clock
from tests.unit.workflows.watched import Watched


@pytest.fixture
def registry(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def denied(registry: Watched, ref: VersionRef, actor: Actor, times: int = 1) -> list[Denied]:
    found = []
    for _ in range(times):
        with pytest.raises(Denied) as refused:
            admit(registry.ports, Request(actor, ref), "artifact")
        found.append(refused.value)
    return found


def told(registry: Watched, act: Act = Act.DOWNLOAD_DENIED) -> list[dict[str, Any]]:
    with registry.ports.store.read() as reading:
        return [canonical.decode_object(data) for _, data in reading.entries_of([act])]


def later(registry: Watched, by: timedelta = PERIOD) -> None:
    clock = registry.ports.clock
    assert isinstance(clock, Clock)
    clock.now += by


def total(entries: list[dict[str, Any]]) -> int:
    return sum(entry["facts"].get("repeats", 1) for entry in entries)


def test_the_first_are_entries_of_their_own_and_the_rest_a_number(registry: Watched) -> None:
    ref = registry.accepted("churn")
    denials = denied(registry, ref, PIA, 20)

    assert len(told(registry)) == FIRST
    assert sum_up(registry.ports) == 0  # not yet over
    later(registry)
    assert sum_up(registry.ports) == 20 - FIRST

    *first, last = told(registry)
    assert total(told(registry)) == 20
    assert last["facts"]["repeats"] == 20 - FIRST
    assert last["facts"]["failed"] == first[0]["facts"]["failed"]
    assert last["subject"] == first[0]["subject"]
    assert (last["allowed"], last["decision_id"]) == (False, "")
    assert last["facts"]["first"] < last["facts"]["last"]
    assert "pia" not in str(last)
    with registry.ports.store.read() as reading:
        assert all(reading.decision(one.details["decision_id"]) for one in denials)
        assert reading.timeline(registry.record(ref).uid)[-1]["actor"] == "pia"
    registry.settled()
    assert registry.findings() == []


def test_another_person_version_or_reason_is_told_by_itself(registry: Watched) -> None:
    churn, fraud = registry.accepted("churn"), registry.accepted("fraud")
    for actor in (PIA, EVE):
        for ref in (churn, fraud):
            for _ in range(9):
                with pytest.raises(Denied):
                    refuse(registry.ports, actor, Refused("read files", {"name": ref.name}), "", "")
    denied(registry, churn, PIA, 9)
    denied(registry, churn, Actor("pia", ("sales",), authenticated=True), 9)

    assert len(told(registry)) == FIRST
    assert len(told(registry, Act.REQUEST_REFUSED)) == 4 * FIRST


def test_a_loop_goes_on_into_the_next_period(registry: Watched) -> None:
    ref = registry.accepted("churn")
    denied(registry, ref, PIA, 8)
    later(registry)
    denied(registry, ref, PIA, 1)  # the worker was away: whoever asks next sums up

    entries = told(registry)
    assert total(entries) == 9
    assert [entry["facts"].get("repeats") for entry in entries] == [None] * FIRST + [5, None]


def test_a_new_registry_on_the_same_database_goes_on_counting(
    registry: Watched, tmp_path: Path
) -> None:
    ref = registry.accepted("churn")
    denied(registry, ref, PIA, 6)
    registry.sessions.dispose()  # as a process that was killed
    again = Watched(tmp_path)
    again.ports = dataclasses.replace(again.ports, clock=registry.ports.clock)
    denied(again, ref, PIA, 6)
    later(again)
    sum_up(again.ports)

    assert total(told(again)) == 12


def test_nothing_of_it_stays(registry: Watched) -> None:
    ref = registry.accepted("churn")
    denied(registry, ref, PIA, 2)
    later(registry)
    assert sum_up(registry.ports) == 0

    with registry.sessions.engine.connect() as connection:
        assert connection.execute(sa.select(tables.repeats)).all() == []
