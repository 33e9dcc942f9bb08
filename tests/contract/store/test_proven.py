"""Entries by their act, the proof that they are the ledger's, and counted denials."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mlflow_governance.core.digest import of_bytes
from mlflow_governance.core.event import Act
from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger.entry import opens, read_entry
from mlflow_governance.workflows.ports import Repeat
from tests.unit.store.builders import AT, Database, event


def about(uid: str) -> dict[str, str]:
    return {"subject": {"name": "churn", "version": 1, "workspace": "default", "uid": uid}}


def filled(database: Database) -> None:
    with database.store.begin() as uow:
        for uid in ("u1", "u2", "u1"):
            uow.record(event(**about(uid)))
            uow.record(event(act=Act.DOWNLOAD_DENIED, **about(uid)))


def test_entries_are_found_by_act_version_and_place(database: Database) -> None:
    filled(database)
    moved = [Act.VERSION_TRANSITIONED]
    with database.store.read() as reading:

        def places(**which: object) -> list[int]:
            return [index for index, _ in reading.entries_of(moved, **which)]

        assert places() == [0, 2, 4]
        assert places(about="u1") == [0, 4]
        assert places(start=1) == [2, 4]
        assert places(newest=2) == [2, 4]
        assert places(limit=2) == [0, 2]
        assert [i for i, _ in reading.entries_of([*moved, Act.DOWNLOAD_DENIED])] == list(range(6))
        assert reading.entries_of([Act.REGISTRY_STARTED]) == []


def test_what_stands_behind_a_commitment_is_told_unless_it_is_gone(database: Database) -> None:
    filled(database)
    with database.store.read() as reading:
        actors = [
            read_entry(data)["actor"] for _, data in reading.entries_of([Act.DOWNLOAD_DENIED])
        ]
    database.run("DELETE FROM governance_private WHERE commitment = :one", one=actors[0])

    with database.store.read() as reading:
        sealed = reading.sealed(actors)
    assert set(sealed) == set(actors[1:])
    assert all(opens(c, salt, name) and name == "ann" for c, (salt, name) in sealed.items())


def test_entries_are_proved_by_what_was_signed(database: Database) -> None:
    filled(database)
    with database.store.read() as reading:
        entries = reading.entries_of([Act.VERSION_TRANSITIONED])

    database.store.prove(entries)
    database.store.prove(entries)
    database.fill(3)
    database.store.prove(entries)

    index, data = entries[1]
    for forged in ((index, data + b" "), (index + 1, data), (999, data), (-1, data)):
        with pytest.raises(LedgerError, match="not in the ledger that was signed"):
            database.store.prove([entries[0], forged])


def test_a_leaf_that_somebody_wrote_proves_nothing(database: Database) -> None:
    filled(database)
    with database.store.read() as reading:
        index, data = reading.entries_of([Act.VERSION_TRANSITIONED])[0]
    forged = data.replace(b"Staging", b"Revoked")
    database.run(
        "UPDATE governance_ledger_entries SET entry = :entry, leaf_hash = :leaf WHERE position = 0",
        entry=forged, leaf=b"\0" * 32,
    )  # fmt: skip

    with pytest.raises(LedgerError):
        database.store.prove([(index, forged)])


def test_a_counted_denial_is_kept_until_it_is_told(database: Database) -> None:
    made = Repeat(of_bytes(b"k"), b"{}", "ann", "d1", 1, 1, first_at=AT, last_at=AT)
    later = replace(made, key=of_bytes(b"l"), first_at=AT + timedelta(minutes=1))
    with database.store.begin() as uow:
        uow.save_repeat(later)
        uow.save_repeat(made)
        uow.save_repeat(replace(made, count=7))

    with database.store.read() as reading:
        assert reading.repeat(made.key) == replace(made, count=7)
        assert reading.repeats_before(AT, 9) == [replace(made, count=7)]
        assert [one.key for one in reading.repeats_before(later.first_at, 9)] == [
            made.key, later.key,
        ]  # fmt: skip
    with database.store.begin() as uow:
        uow.forget_repeat(made.key)
    with database.store.read() as reading:
        assert reading.repeat(made.key) is None


def test_whom_an_act_is_about_is_a_commitment_in_the_entry(database: Database) -> None:
    with database.store.begin() as uow:
        uow.record(event(act=Act.ACCOUNT_CHANGED, subject={}, people={"account": "zora"}))
    with database.store.read() as reading:
        ((_, data),) = reading.entries_of([Act.ACCOUNT_CHANGED])
        commitment = read_entry(data)["facts"]["account"]
        ((salt, name),) = reading.sealed([commitment]).values()

    assert b"zora" not in data
    assert name == "zora"
    assert opens(commitment, salt, "zora")
    assert database.run("SELECT person FROM governance_private WHERE text = 'zora'")[0][0] == "zora"
    assert database.told(0)["facts"]["account"] == "zora"
