"""What the validator reads is the same on every database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.store import mlflow_tables as theirs
from mlflow_governance.store import tables as ours
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.workflows.builders import SAM
from tests.unit.workflows.watched import Watched

CHURN = VersionRef("churn", 1)


@pytest.fixture
def registry(url: str, tmp_path: Path) -> Iterator[Watched]:
    registry = Watched(tmp_path, url=url)
    registry.approved("churn")
    registry.accepted("spam")
    withdraw(registry.ports, Request(SAM, VersionRef("spam", 1), "odd"), Stage.QUARANTINED)
    registry.settled()
    yield registry
    registry.sessions.dispose()


def test_a_registry_nobody_touched_is_clean(registry: Watched) -> None:
    assert registry.findings() == []


def planted(code: str, subject: str, statement: sa.Executable) -> tuple[str, str, sa.Executable]:
    return (code, subject, statement)


@pytest.mark.parametrize(
    ("code", "subject", "statement"),
    [
        planted("VAL-013", "churn/1", sa.update(ours.versions).values(stage="Staging")),
        planted(
            "VAL-020", "churn/1", sa.update(theirs.model_versions).values(current_stage="None")
        ),
        planted("VAL-030", "churn@champion", sa.update(theirs.model_aliases).values(version=7)),
        planted("VAL-054", "churn/1:manifest", sa.update(ours.blobs).values(data=b"x")),
        planted(
            "VAL-058", "product approval of churn/1",
            sa.update(ours.approvals).values(withdrawn=False),
        ),
        planted(
            "VAL-001",
            "entry 2",
            sa.update(ours.ledger_entries)
            .where(ours.ledger_entries.c.position == 2)
            .values(entry=b"{}"),
        ),
    ],
)  # fmt: skip
def test_what_was_planted_is_named(
    registry: Watched, code: str, subject: str, statement: sa.Executable
) -> None:
    assert registry.run(statement) >= 1

    assert (code, subject) in {(found.code, found.subject) for found in registry.findings()}


@pytest.mark.parametrize("size", [1, 2, 7])
def test_documents_and_decisions_are_read_whole_in_chunks_of_any_size(
    registry: Watched, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflow_governance.store.books._CHUNK", size)
    books = registry.books()

    kept = [row.decision_id for row in books.decisions(books.look().last_decision)]
    assert len(kept) == len(set(kept)) == registry_count(registry, ours.decisions)
    assert registry.findings() == []

    registry.run(sa.update(ours.blobs).values(data=b"forged"))
    assert len(list(books.changed_documents())) == registry_count(registry, ours.blobs)


def registry_count(registry: Watched, table: sa.Table) -> int:
    with registry.sessions.engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
