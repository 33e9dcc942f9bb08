"""What the ledger tells of a model or a version, on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from mlflow_governance.core.event import Act
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.workflows.chronicle import About
from tests.unit.ledger.builders import event
from tests.unit.store.builders import Database, version


def of(
    uid: str, name: str = "churn", number: int = 1, workspace: str = "default"
) -> dict[str, Any]:
    return {"name": name, "version": number, "workspace": workspace, "uid": uid}


@pytest.fixture
def told(database: Database) -> Database:
    """``churn/1`` was there before, is there again, and has a neighbour and a namesake."""
    first = version(uid="first", ref=VersionRef("churn", 1), stage=Stage.NONE)
    others = (
        version(uid="again", ref=VersionRef("churn", 1), stage=Stage.NONE),
        version(uid="two", ref=VersionRef("churn", 2), stage=Stage.NONE),
        version(uid="namesake", ref=VersionRef("churn", 1, "lab"), stage=Stage.NONE),
    )
    moved = {"facts": {"action": {"alias": "a", "from_version": 1, "to_version": 2}}}
    other = {"facts": {"action": {"alias": "a", "from_version": 2, "to_version": 2}}}
    with database.store.begin() as uow:
        uow.add_version(first)
        uow.record(event(0, subject=of("first")))
        uow.remove_version(first)
        for record in others:
            uow.add_version(record)
        uow.record(event(1, subject=of("again")))
        uow.record(event(2, subject=of("namesake", workspace="lab")))
        uow.record(event(3, subject=of("two", number=2)))
        uow.record(event(4, act=Act.ALIAS_MOVED, subject=of("two", number=2), **moved))
        uow.record(event(5, act=Act.ALIAS_MOVED, subject=of("two", number=2), **other))
        uow.record(event(6, act=Act.POLICY_CHANGED, subject={}))
        uow.record(event(7, act=Act.MODEL_RENAMED, subject={"name": "old", "workspace": "default"},
                         facts={"new_name": "churn"}))  # fmt: skip
    return database


def indices(database: Database, about: About, after: int = -1, count: int = 100) -> list[int]:
    with database.store.read() as reading:
        return [entry["index"] for entry in reading.history(about, after, count).entries]


def test_a_version_has_its_past_and_the_aliases_that_left_it(told: Database) -> None:
    assert indices(told, About("default", "churn", 1)) == [0, 1, 4, 7]
    assert indices(told, About("lab", "churn", 1)) == [2]
    assert indices(told, About("default", "churn", 3)) == [7]


def test_a_model_has_all_its_versions_and_what_was_done_to_its_name(told: Database) -> None:
    assert indices(told, About("default", "churn")) == [0, 1, 3, 4, 5, 7]
    assert indices(told, About("default", "old")) == [7]
    assert indices(told, About("default", "nobody")) == []


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_pages_leave_nothing_out_and_say_nothing_twice(told: Database, count: int) -> None:
    about, found, after = About("default", "churn", 1), [], -1
    with told.store.read() as reading:
        while after is not None:
            page = reading.history(about, after, count)
            found += [entry["index"] for entry in page.entries]
            after = page.after
    assert found == [0, 1, 4, 7]


def test_entries_about_the_registry_are_found_by_their_act(told: Database) -> None:
    with told.store.read() as reading:
        (found,) = reading.of_registry(Act.POLICY_CHANGED)
        assert (found["index"], found["actor"]) == (6, "ann")
        assert reading.of_registry(Act.TRUST_CHANGED) == []
