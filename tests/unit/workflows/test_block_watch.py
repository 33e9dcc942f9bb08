"""What was withdrawn is blocked, whoever takes it off the list."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from mlflow_governance.core import canonical
from mlflow_governance.core.event import Act
from mlflow_governance.core.stage import Stage
from mlflow_governance.store.tables import blocked
from mlflow_governance.workflows import block_watch
from mlflow_governance.workflows.block_watch import BlockWatch
from mlflow_governance.workflows.ports import Request, VersionRecord
from mlflow_governance.workflows.promote import transition
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.workflows.builders import SAM
from tests.unit.workflows.watched import Watched


@pytest.fixture
def registry(tmp_path: Path) -> Watched:
    made = Watched(tmp_path)
    for name, stage in (("churn", Stage.REVOKED), ("fraud", Stage.QUARANTINED)):
        withdraw(made.ports, Request(SAM, made.accepted(name), "a leak"), stage)
    return made


def listed(registry: Watched) -> dict[str, str]:
    with registry.ports.store.read() as reading:
        return {str(digest): stage for digest, stage, _ in reading.blocked()}


def alarms(registry: Watched) -> list[str]:
    with registry.ports.store.read() as reading:
        found = reading.entries_of([Act.REGISTRY_ALARMED])
    return [canonical.decode_object(data)["facts"]["found"] for _, data in found]


def test_a_list_that_is_whole_is_left_alone(registry: Watched) -> None:
    before = listed(registry)
    assert BlockWatch(registry.ports).look() == []
    assert (listed(registry), alarms(registry)) == (before, [])


@pytest.mark.parametrize(
    "statement",
    [
        sa.delete(blocked),
        sa.update(blocked).where(blocked.c.stage == "Revoked").values(stage="Quarantined"),
    ],
    ids=["taken off", "weakened"],
)
def test_what_was_taken_off_is_put_back_and_told(
    registry: Watched, statement: sa.Executable
) -> None:
    before, watch = listed(registry), BlockWatch(registry.ports)
    watch.look()
    registry.run(statement)

    missing = watch.look()

    assert missing
    assert listed(registry) == before
    assert len(alarms(registry)) == len(missing)
    assert watch.look() == []
    registry.settled()
    assert registry.findings() == []


def test_what_was_restored_stays_off(registry: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_watch, "_STEP", 2)  # the ledger is read in several steps
    watch = BlockWatch(registry.ports)
    watch.look()
    (fraud,) = [r for r in _versions(registry) if r.ref.name == "fraud"]
    transition(registry.ports, Request(SAM, fraud.ref, "cleared"), Stage.CANDIDATE)

    assert watch.look() == []
    assert fraud.digest not in listed(registry)


def test_a_digest_somebody_else_withdrew_is_blocked_for_both(registry: Watched) -> None:
    registry.model("again", "weights of churn 1")
    ref = registry.register("again", location="again")
    registry.settle(ref)
    registry.run(sa.delete(blocked))

    BlockWatch(registry.ports).look()

    assert registry.record(ref).digest in listed(registry)


def _versions(registry: Watched) -> list[VersionRecord]:
    with registry.ports.store.read() as reading:
        return reading.versions()
