"""Aliases: swapped atomically, remembered, forgotten with their version."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Conflict
from mlflow_governance.store.mlflow_tables import model_aliases
from mlflow_governance.workflows.ports import AliasRecord, AliasStep
from tests.unit.store.builders import AT, Database, event, version

CHURN = VersionRef("churn", 1)


@pytest.fixture(autouse=True)
def mlflow_rows(database: Database) -> None:
    """MLflow's own table of aliases, empty."""
    with database.store.begin() as uow:
        connection = uow._connection
        model_aliases.create(connection, checkfirst=True)
        connection.execute(sa.delete(model_aliases))


def swap(database: Database, step: AliasStep, model: VersionRef = CHURN) -> None:
    """One swap, and MLflow's own row as MLflow writes it."""
    with database.store.begin() as uow:
        uow.move_alias(model, step, AT)
        key = {"workspace": model.workspace, "name": model.name, "alias": step.alias}
        here = [model_aliases.c[name] == value for name, value in key.items()]
        uow._connection.execute(sa.delete(model_aliases).where(*here))
        if step.after is not None:
            uow._connection.execute(sa.insert(model_aliases), key | {"version": step.after})


def aliases(database: Database, name: str = "churn") -> list[AliasRecord]:
    with database.store.read() as reading:
        return reading.aliases(name, "default")


def test_an_alias_remembers_the_version_before(database: Database) -> None:
    for step in (AliasStep("champion", None, 1), AliasStep("champion", 1, 2)):
        swap(database, step)

    assert aliases(database) == [AliasRecord("champion", 2, 1, AT)]
    swap(database, AliasStep("champion", 2, None))
    assert aliases(database) == [AliasRecord("champion", None, 2, AT)]


def test_pointing_where_it_points_already_forgets_nothing(database: Database) -> None:
    for before, after in ((None, 1), (1, 2), (2, 2)):
        swap(database, AliasStep("champion", before, after))

    assert aliases(database) == [AliasRecord("champion", 2, 1, AT)]


@pytest.mark.parametrize("said", [None, 2, 7])
def test_an_alias_that_points_elsewhere_than_said_stays(
    database: Database, said: int | None
) -> None:
    swap(database, AliasStep("champion", None, 1))

    with pytest.raises(Conflict, match="points at version 1"):
        swap(database, AliasStep("champion", said, 3))

    assert aliases(database) == [AliasRecord("champion", 1, None, AT)]


def test_aliases_differ_by_case_model_and_workspace(database: Database) -> None:
    elsewhere = VersionRef("churn", 1, "team")
    swap(database, AliasStep("champion", None, 1))
    swap(database, AliasStep("Champion", None, 2))
    swap(database, AliasStep("champion", None, 3), VersionRef("Churn", 3))
    swap(database, AliasStep("champion", None, 4), elsewhere)

    assert [(a.alias, a.version) for a in aliases(database)] == [("Champion", 2), ("champion", 1)]
    with database.store.read() as reading:
        assert [a.version for a in reading.aliases("churn", "team")] == [4]


def test_no_alias_returns_to_a_deleted_version(database: Database) -> None:
    for before, after in ((None, 1), (1, 2)):
        swap(database, AliasStep("champion", before, after))
    swap(database, AliasStep("try", None, 1))

    with database.store.begin() as uow:
        uow.forget_aliases(CHURN, AT)

    assert aliases(database) == [
        AliasRecord("champion", 2, None, AT),
        AliasRecord("try", None, None, AT),
    ]


def test_a_number_used_again_goes_on_with_its_history(database: Database) -> None:
    first = database.register(stage=Stage.NONE)
    again, other = version(uid="again"), version(uid="other", ref=VersionRef("churn", 2))
    with database.store.begin() as uow:
        uow.record(event(subject={"uid": first.uid}))
        uow.remove_version(first)
        uow.add_version(again)
        uow.add_version(other)
        uow.record(event(subject={"uid": again.uid}))

    with database.store.read() as reading:
        told = reading.timeline(again.uid)
        assert [entry["subject"]["uid"] for entry in told] == [first.uid, again.uid]
        assert reading.timeline(other.uid) == []
