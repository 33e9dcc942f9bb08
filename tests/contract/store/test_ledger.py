"""The ledger in the database: what is recorded, how it is proved, and the tamper matrix."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlflow_governance.core.event import Act
from mlflow_governance.errors import InvalidRequest, LedgerError, NotFound
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.entry import read_entry
from mlflow_governance.ledger.merkle import CompactRange, Growing, leaf_hash, verify_consistency
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.store.outbox_queue import OutboxQueue
from mlflow_governance.store.unit_of_work import SqlStore
from tests.contract.store.test_queues import ALL
from tests.unit.ledger.builders import signer
from tests.unit.store.builders import AT, Database, event

SIZE = 8
ENTRIES = "governance_ledger_entries"
HEAD = "governance_ledger_head"


@pytest.fixture
def filled(database: Database) -> Database:
    database.fill(SIZE)
    return database


def test_entries_are_numbered_and_the_head_is_signed(filled: Database) -> None:
    entries = list(filled.ledger.entries())

    assert [index for index, _ in entries] == list(range(SIZE))
    assert [read_entry(data)["index"] for _, data in entries] == list(range(SIZE))
    tree = Growing()
    for _, data in entries:
        tree.append(leaf_hash(data))
    assert checkpoint.verify(filled.ledger.head(), filled.key).root == tree.root
    with filled.store.read() as reading:
        assert reading.ledger_size() == SIZE


def test_several_acts_of_one_transaction_follow_each_other(database: Database) -> None:
    with database.store.begin() as uow:
        assert [uow.record(event()) for _ in range(3)] == [0, 1, 2]

    assert database.ledger.verify(database.key).size == 3


def test_a_part_of_the_ledger_can_be_read(filled: Database) -> None:
    assert [index for index, _ in filled.ledger.entries(2, 3)] == [2, 3, 4]
    assert [index for index, _ in filled.ledger.entries(6)] == [6, 7]
    assert list(filled.ledger.entries(SIZE, 5)) == []


def test_an_event_leaves_with_its_place_in_the_ledger(database: Database) -> None:
    told = event(decision_id="d1", allowed=False, reason="weil 🚀")
    with database.store.begin() as uow:
        uow.record(told)

    document = database.told(0)
    assert document["id"] == told.event_id
    assert document["actor"] == "ann"
    assert document["reason"] == "weil 🚀"
    assert document["ledger_index"] == 0
    root = checkpoint.parse(database.ledger.head()).root.hex()
    assert document["ledger_root"] == root
    assert document["subject"] == told.subject


def test_the_timeline_of_a_version_names_people_and_reasons(database: Database) -> None:
    with database.store.begin() as uow:
        uow.record(event(person="ann", reason="first"))
        uow.record(event(subject={"uid": "u2"}))
        uow.record(event(act=Act.VERSION_REVOKED, person="bob", reason=""))

    with database.store.read() as reading:
        first, second = reading.timeline("u1")
        assert reading.timeline("nobody") == []
    assert (first["actor"], first["reason"], first["index"]) == ("ann", "first", 0)
    assert (second["actor"], second["reason"], second["act"]) == ("bob", None, "version.revoked")


def test_an_erased_person_is_gone_and_the_proof_stays(database: Database) -> None:
    with database.store.begin() as uow:
        uow.record(event(person="ann", reason="because"))
        uow.record(event(person="bob"))

    name = database.erase("ann")

    with database.store.read() as reading:
        timeline = reading.timeline("u1")
    assert [(e["actor"], e["reason"]) for e in timeline] == [(name, None), ("bob", "tests passed")]
    assert database.ledger.verify(database.key).size == 3
    actor, reason = (timeline[0]["commitments"][key] for key in ("actor", "reason"))
    assert database.ledger.private([actor, reason]) == {actor: name}
    bob = timeline[1]["commitments"]["actor"]
    assert database.ledger.private([bob]) == {bob: "bob"}


def test_a_name_put_in_the_place_of_another_is_found(filled: Database) -> None:
    filled.run("UPDATE governance_private SET text = 'mallory' WHERE text = 'ann'")

    with pytest.raises(LedgerError), filled.store.read() as reading:
        reading.timeline("u1")


def test_texts_no_database_keeps_are_recorded_all_the_same(database: Database) -> None:
    with database.store.begin() as uow:
        uow.record(event(person="a\0b", reason="\ud800 and \0"))

    with database.store.read() as reading:
        assert reading.timeline("u1")[0]["actor"] == "a\ufffdb"
    assert database.ledger.verify(database.key).size == 1


@pytest.mark.parametrize("facts", [{"n": 2**60}, {"x": float("nan")}, {"\ud800": 1}, {"b": b""}])
def test_what_is_not_json_is_refused_and_nothing_recorded(
    database: Database, facts: dict[str, object]
) -> None:
    with pytest.raises(InvalidRequest), database.store.begin() as uow:
        uow.record(event(facts=facts))

    assert database.ledger.head() == ""


def test_every_entry_can_be_proved_without_the_database(filled: Database) -> None:
    for index, data in filled.ledger.entries():
        proof = InclusionProof.parse(filled.ledger.inclusion_proof(index).encode())
        assert proof.verify(data, filled.key).size == SIZE
    for index in (-1, SIZE):
        with pytest.raises(NotFound):
            filled.ledger.inclusion_proof(index)


def test_there_is_no_proof_in_a_ledger_that_was_never_used(database: Database) -> None:
    with pytest.raises(NotFound):
        database.ledger.inclusion_proof(0)
    with pytest.raises(LedgerError):
        database.ledger.verify(database.key)


def test_a_later_ledger_is_proved_to_continue_an_earlier(filled: Database) -> None:
    old = checkpoint.parse(filled.ledger.head())
    filled.fill(5)
    new = checkpoint.parse(filled.ledger.head())

    proof = filled.ledger.consistency_proof(old.size, new.size)

    verify_consistency((old.size, old.root), (new.size, new.root), proof)
    for wrong in ((0, 3), (5, 4), (5, 99)):
        with pytest.raises(LedgerError):
            filled.ledger.consistency_proof(*wrong)


def test_checkpoints_are_kept_once_and_ascending(filled: Database) -> None:
    later = filled.ledger.head()
    earlier = checkpoint.make(0, CompactRange().root, filled.signer)
    for note in (later, earlier, later):
        filled.ledger.add_checkpoint(note)

    assert filled.ledger.checkpoints() == [earlier, later]
    assert filled.ledger.verify(filled.key, [later]).checkpoints == 3
    with pytest.raises(LedgerError):
        filled.ledger.add_checkpoint("no note")


def rehash(filled: Database, position: int) -> None:
    filled.run(
        f"UPDATE {ENTRIES} SET leaf_hash = :leaf WHERE position = :p",
        leaf=leaf_hash(filled.entry(position)), p=position,
    )  # fmt: skip


def edit(filled: Database) -> None:
    filled.write_entry(3, filled.entry(3).replace(b"Staging", b"Revoked"))


def edit_with_leaf_hash(filled: Database) -> None:
    edit(filled)
    rehash(filled, 3)


def edit_leaf_hash(filled: Database) -> None:
    filled.run(f"UPDATE {ENTRIES} SET leaf_hash = :leaf WHERE position = 3", leaf=bytes(32))


def hide_from_its_version(filled: Database) -> None:
    filled.run(f"UPDATE {ENTRIES} SET version_uid = 'u9' WHERE position = 3")


def rename_act(filled: Database) -> None:
    filled.run(f"UPDATE {ENTRIES} SET act = 'version.revoked' WHERE position = 3")


def drop(filled: Database) -> None:
    filled.run(f"DELETE FROM {ENTRIES} WHERE position = 3")


def drop_and_renumber(filled: Database) -> None:
    drop(filled)
    for position in range(4, SIZE):
        filled.run(f"UPDATE {ENTRIES} SET position = :q WHERE position = :p", p=position,
                   q=position - 1)  # fmt: skip


def reorder(filled: Database) -> None:
    for old, new in ((3, 99), (4, 3), (99, 4)):
        filled.run(f"UPDATE {ENTRIES} SET position = {new} WHERE position = {old}")


def insert_at_the_end(filled: Database) -> None:
    copy(filled, SIZE)


def insert_before_the_start(filled: Database) -> None:
    copy(filled, -1)


def copy(filled: Database, position: int) -> None:
    filled.run(
        f"INSERT INTO {ENTRIES} SELECT {position}, entry, leaf_hash, act, version_uid, at "
        f"FROM {ENTRIES} WHERE position = 3"
    )


def truncate(filled: Database) -> None:
    filled.run(f"DELETE FROM {ENTRIES} WHERE position >= 3")


@pytest.mark.parametrize(
    ("tamper", "index"),
    [
        (edit, 3),
        (edit_with_leaf_hash, 0),
        (edit_leaf_hash, 3),
        (hide_from_its_version, 3),
        (rename_act, 3),
        (drop, 3),
        (drop_and_renumber, 3),
        (reorder, 3),
        (insert_at_the_end, SIZE),
        (insert_before_the_start, 0),
        (truncate, 3),
    ],
)
def test_tampering_with_entries_is_found(filled: Database, tamper: object, index: int) -> None:
    tamper(filled)  # type: ignore[operator]

    with pytest.raises(LedgerError) as caught:
        filled.ledger.verify(filled.key)

    assert caught.value.details["index"] == index


def test_a_checkpoint_inside_narrows_an_edit_down(filled: Database) -> None:
    tree = Growing()
    for index, data in filled.ledger.entries(0, 3):
        tree.append(leaf_hash(data))
        filled.ledger.add_checkpoint(checkpoint.make(index + 1, tree.root, filled.signer))
    edit_with_leaf_hash(filled)

    with pytest.raises(LedgerError) as caught:
        filled.ledger.verify(filled.key)

    assert caught.value.details["index"] == 3


def roll_back(filled: Database, size: int) -> None:
    """Put the database back to an earlier state, signed head and all."""
    tree = CompactRange()
    for _, data in filled.ledger.entries(0, size):
        tree = tree.append(leaf_hash(data))
    filled.run(f"DELETE FROM {ENTRIES} WHERE position >= {size}")
    filled.run(
        f"UPDATE {HEAD} SET size = :size, compact_range = :nodes, note = :note",
        size=size, nodes=tree.to_bytes(), note=checkpoint.make(size, tree.root, filled.signer),
    )  # fmt: skip


def test_a_rolled_back_database_is_found_by_a_checkpoint_kept_outside(filled: Database) -> None:
    kept = filled.ledger.head()
    roll_back(filled, 4)

    assert filled.ledger.verify(filled.key).size == 4
    with pytest.raises(LedgerError, match="truncated or rolled back"):
        filled.ledger.verify(filled.key, [kept])


def test_a_rolled_back_ledger_that_went_on_is_a_fork(filled: Database) -> None:
    kept = filled.ledger.head()
    roll_back(filled, 4)
    another_process(filled).fill(SIZE)

    assert filled.ledger.verify(filled.key).size == 4 + SIZE
    with pytest.raises(LedgerError, match="fork"):
        filled.ledger.verify(filled.key, [kept])


def another_process(filled: Database) -> Database:
    return replace(filled, store=SqlStore(filled.sessions, ledger_signer=filled.signer))


def test_what_is_recorded_after_a_rollback_is_told(filled: Database) -> None:
    """Where the entries alone were restored, and not how far receivers are."""
    queue = OutboxQueue(filled.sessions, lambda: AT)
    assert queue.enqueue_missing([ALL]) == SIZE
    roll_back(filled, 4)

    assert queue.enqueue_missing([ALL]) == 0
    another_process(filled).fill(2)
    assert queue.enqueue_missing([ALL]) == 2


def test_a_process_appends_nothing_behind_what_it_has_seen_committed(filled: Database) -> None:
    roll_back(filled, SIZE - 1)

    with pytest.raises(LedgerError, match=f"ends at {SIZE - 1} entries, and {SIZE} were there"):
        filled.fill(1)

    assert checkpoint.parse(filled.ledger.head()).size == SIZE - 1


def test_a_process_appends_nothing_to_another_ledger_of_the_same_size(filled: Database) -> None:
    """Even where somebody has the ledger's key and went on from an older state."""
    roll_back(filled, SIZE - 1)
    another_process(filled).fill(1)

    with pytest.raises(LedgerError, match="rolled back"):
        filled.fill(1)


def test_a_change_that_was_undone_is_no_loss(filled: Database) -> None:
    with pytest.raises(InvalidRequest), filled.store.begin() as uow:  # noqa: PT012
        uow.record(event())
        uow.record(event(facts={"n": float("nan")}))

    filled.fill(1)

    assert filled.ledger.verify(filled.key).size == SIZE + 1


def forge_signature(filled: Database) -> None:
    size_and_root = checkpoint.parse(filled.ledger.head())
    forged = checkpoint.make(size_and_root.size, size_and_root.root, signer())
    filled.run(f"UPDATE {HEAD} SET note = :note", note=forged)


def forge_range(filled: Database) -> None:
    filled.run(f"UPDATE {HEAD} SET compact_range = :nodes", nodes=bytes(32))


def forge_size(filled: Database) -> None:
    filled.run(f"UPDATE {HEAD} SET size = size - 1")


def empty_head(filled: Database) -> None:
    filled.run(f"UPDATE {HEAD} SET note = ''")


@pytest.mark.parametrize("forge", [forge_signature, forge_range, forge_size, empty_head])
def test_nothing_is_appended_to_a_head_that_was_not_signed(filled: Database, forge: object) -> None:
    forge(filled)  # type: ignore[operator]
    another_worker = SqlStore(filled.sessions, ledger_signer=filled.signer)

    for store in (filled.store, another_worker):
        with pytest.raises(LedgerError), store.begin() as uow:
            uow.record(event())
    assert filled.count(ENTRIES) == SIZE


def test_another_worker_goes_on_where_the_last_one_ended(filled: Database) -> None:
    another = SqlStore(filled.sessions, ledger_signer=filled.signer)
    for store in (another, filled.store, another):
        with store.begin() as uow:
            uow.record(event())

    assert filled.ledger.verify(filled.key).size == SIZE + 3


def test_another_key_does_not_sign_on(filled: Database) -> None:
    foreign = SqlStore(filled.sessions, ledger_signer=signer("registry.example.org/ledger"))
    with pytest.raises(LedgerError, match="not signed"), foreign.begin() as uow:
        uow.record(event())


def test_moments_are_kept_to_the_microsecond(filled: Database) -> None:
    assert filled.run(f"SELECT at FROM {ENTRIES} LIMIT 1")[0][0] == "2026-11-21T03:04:05.000006Z"
    assert AT.microsecond == 6
