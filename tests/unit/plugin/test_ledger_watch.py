"""The worker reads the whole ledger, and tells of what nobody asked about."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from mlflow_governance.core.event import Act
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Unavailable
from mlflow_governance.plugin.ledger_watch import LedgerWatch
from mlflow_governance.store.tables import ledger_entries
from tests.unit.plugin.builders import Governed


def watch(governed: Governed, naps: list[float] | None = None) -> LedgerWatch:
    assembly = governed.store.governance
    return LedgerWatch(assembly.ports, assembly.verify, ([] if naps is None else naps).append)


def alarms(governed: Governed) -> list[str]:
    with governed.store.governance.ports.store.read() as reading:
        found = reading.entries_of([Act.REGISTRY_ALARMED])
    return [json.loads(data)["facts"]["found"] for _, data in found]


def test_a_ledger_that_holds_is_read_gently_and_raises_no_alarm(governed: Governed) -> None:
    governed.candidate()
    naps: list[float] = []

    assert watch(governed, naps).look() == ""
    assert alarms(governed) == []
    assert naps
    assert all(nap >= 0 for nap in naps)


@pytest.mark.parametrize(
    "change",
    [
        sa.update(ledger_entries).values(version_uid="another"),
        sa.update(ledger_entries).values(act=Act.DOWNLOAD_DENIED.value),
        sa.update(ledger_entries).values(entry=b"", act="expired", version_uid=""),
        sa.delete(ledger_entries),
    ],
    ids=["filed under another version", "under another act", "emptied", "taken away"],
)
def test_an_entry_nobody_asked_for_and_somebody_hid_is_an_alarm(
    governed: Governed, change: sa.Update | sa.Delete
) -> None:
    governed.move(governed.candidate(), Stage.STAGING.value)
    moved = ledger_entries.c.act == Act.VERSION_TRANSITIONED.value
    with governed.store.sessions.for_us(False) as session:
        last = session.connection().execute(
            sa.select(sa.func.max(ledger_entries.c.position)).where(moved)
        )
        session.connection().execute(change.where(ledger_entries.c.position == last.scalar_one()))

    found = watch(governed).look()

    assert found
    assert alarms(governed) == [found]


def test_a_database_that_is_away_is_no_alarm(governed: Governed) -> None:
    def away(_: object) -> None:
        raise Unavailable("the database does not answer")

    with pytest.raises(Unavailable):
        LedgerWatch(governed.store.governance.ports, away, float).look()
    assert alarms(governed) == []
