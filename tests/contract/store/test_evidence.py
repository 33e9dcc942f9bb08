"""What a bundle is collected from, on every database."""

from __future__ import annotations

import pytest

from mlflow_governance.core import moment
from mlflow_governance.core.event import Act, Event
from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger import checkpoint, merkle
from tests.unit.store.builders import Database

AT = moment.parse("2026-11-21T03:00:00Z")
SIZE = 37


def fill(database: Database) -> None:
    with database.store.begin() as uow:
        for n in range(SIZE):
            subject = {"name": "churn", "version": 1 + n % 2, "uid": f"u{n % 3}"}
            act = Act.ALIAS_MOVED if n % 5 == 0 else Act.VERSION_REJUDGED
            uow.record(Event(act, f"p{n}", AT.replace(minute=n), subject))


def test_every_inclusion_path_leads_to_the_signed_root(database: Database) -> None:
    fill(database)

    with database.store.read() as reading:
        signed = checkpoint.parse(reading.head())
        paths = reading.inclusion_paths(range(SIZE), signed.size)
        entries = dict(reading.entries_at(range(SIZE)))

    assert signed.size == SIZE == len(entries)
    for index, data in entries.items():
        leaf = merkle.leaf_hash(data)
        root = merkle.root_from_inclusion(index, SIZE, leaf, paths[index])
        assert root == signed.root


def test_the_paths_of_a_few_are_those_of_all(database: Database) -> None:
    fill(database)

    with database.store.read() as reading:
        every = reading.inclusion_paths(range(SIZE), SIZE)
        few = reading.inclusion_paths([36, 0, 17], SIZE)
        assert reading.inclusion_paths([], SIZE) == {}
        with pytest.raises(LedgerError):
            reading.inclusion_paths([SIZE], SIZE)

    assert few == {index: every[index] for index in (0, 17, 36)}


def test_entries_are_found_by_version_act_and_time(database: Database) -> None:
    fill(database)

    with database.store.read() as reading:
        about = reading.indices_about(["u1", "u2", "unknown"])
        assert about == [n for n in range(SIZE) if n % 3]
        assert reading.indices_about(["u1"], [Act.ALIAS_MOVED]) == [10, 25]
        assert reading.indices_about([]) == []
        assert reading.indices_of([Act.ALIAS_MOVED]) == list(range(0, SIZE, 5))
        between = reading.indices_between(AT.replace(minute=3), AT.replace(minute=6))
        assert between == [3, 4, 5]
        assert reading.decisions_about(["u1"]) == []
        assert [index for index, _ in reading.entries_at([9, 1, 999])] == [1, 9]


def test_what_is_opened_is_who_it_is_about(database: Database) -> None:
    from mlflow_governance.ledger.entry import opens, read_entry

    fill(database)

    with database.store.read() as reading:
        (_, data) = next(iter(reading.entries_at([4])))
        commitment = read_entry(data)["actor"]
        found = reading.openings([commitment, "sha256:" + "0" * 64])

    assert set(found) == {commitment}
    assert (found[commitment].text, found[commitment].person) == ("p4", "p4")
    assert opens(commitment, found[commitment].salt, "p4")
