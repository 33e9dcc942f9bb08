"""The tamper matrix: whatever is done to a ledger is found, and the first entry is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.merkle import leaf_hash, range_root
from tests.unit.ledger.builders import SmallLedger, encoded, signer, small_ledger, verify_ledger

SIZE = 9


@pytest.fixture
def ledger() -> SmallLedger:
    return small_ledger(SIZE)


def test_an_untouched_ledger_verifies(ledger: SmallLedger) -> None:
    report = verify_ledger(ledger.entries, ledger.notes[-1], ledger.notes, ledger.key)

    assert report.to_document() == {
        "origin": ledger.key.name,
        "size": SIZE,
        "root": range_root(ledger.leaves).hex(),
        "checkpoints": SIZE + 1,
        "read_from": 0,
        "deleted": 0,
    }


def test_an_empty_ledger_verifies_when_its_head_is_signed() -> None:
    empty = small_ledger(0)

    assert verify_ledger([], empty.notes[0], [], empty.key).size == 0


def edit(ledger: SmallLedger) -> None:
    ledger.entries[4] = (4, encoded(4, reason="another reason"))


def edit_with_other_length(ledger: SmallLedger) -> None:
    ledger.entries[4] = (4, ledger.entries[4][1] + b" ")


def drop(ledger: SmallLedger) -> None:
    del ledger.entries[4]


def drop_and_renumber_rows(ledger: SmallLedger) -> None:
    del ledger.entries[4]
    ledger.entries[:] = [(n, data) for n, (_, data) in enumerate(ledger.entries)]


def reorder_rows(ledger: SmallLedger) -> None:
    ledger.entries[4], ledger.entries[5] = ledger.entries[5], ledger.entries[4]


def swap_contents(ledger: SmallLedger) -> None:
    four, five = ledger.entries[4][1], ledger.entries[5][1]
    ledger.entries[4:6] = [(4, five), (5, four)]


def insert_row(ledger: SmallLedger) -> None:
    ledger.entries.insert(4, (3, encoded(3)))


def insert_before_the_first(ledger: SmallLedger) -> None:
    ledger.entries.insert(0, (-1, encoded(-1)))


def insert_and_renumber_rows(ledger: SmallLedger) -> None:
    ledger.entries.insert(4, (4, encoded(4)))
    ledger.entries[5:] = [(n + 1, data) for n, data in ledger.entries[5:]]


def append_unsigned(ledger: SmallLedger) -> None:
    ledger.entries.append((SIZE, encoded(SIZE)))


def truncate_rows(ledger: SmallLedger) -> None:
    del ledger.entries[7:]


@pytest.mark.parametrize(
    ("tamper", "index"),
    [
        (edit, 4),
        (edit_with_other_length, 4),
        (drop, 4),
        (drop_and_renumber_rows, 4),
        (reorder_rows, 4),
        (swap_contents, 4),
        (insert_row, 4),
        (insert_before_the_first, 0),
        (insert_and_renumber_rows, 5),
        (append_unsigned, SIZE),
        (truncate_rows, 7),
    ],
)
def test_tampering_is_found_and_the_first_entry_named(
    ledger: SmallLedger, tamper: Callable[[SmallLedger], None], index: int
) -> None:
    leaves = ledger.leaves
    tamper(ledger)
    beside = leaves if tamper in (edit, edit_with_other_length) else None

    with pytest.raises(LedgerError) as caught:
        verify_ledger(ledger.entries, ledger.notes[-1], [], ledger.key, leaves=beside)

    assert caught.value.details["index"] == index
    assert caught.value.advice


def test_an_edit_with_its_leaf_hash_is_narrowed_down_by_checkpoints(ledger: SmallLedger) -> None:
    edit(ledger)

    with pytest.raises(LedgerError, match="between 3 and 5") as caught:
        verify_ledger(
            ledger.entries,
            ledger.notes[-1],
            [ledger.notes[3], ledger.notes[6]],
            ledger.key,
            leaves=ledger.leaves,
        )

    assert caught.value.details["index"] == 3


def test_an_edit_that_was_signed_again_is_a_fork_of_older_checkpoints(ledger: SmallLedger) -> None:
    kept = ledger.notes[5]
    edit(ledger)
    forged_head = checkpoint.make(SIZE, range_root(ledger.leaves), ledger.signer)

    assert verify_ledger(ledger.entries, forged_head, [], ledger.key).size == SIZE
    with pytest.raises(LedgerError, match="fork"):
        verify_ledger(ledger.entries, forged_head, [kept], ledger.key)


def test_a_rolled_back_ledger_is_found_by_a_larger_checkpoint(ledger: SmallLedger) -> None:
    older = ledger.entries[:6]

    assert verify_ledger(older, ledger.notes[6], [], ledger.key).size == 6
    with pytest.raises(LedgerError, match="truncated or rolled back"):
        verify_ledger(older, ledger.notes[6], [ledger.notes[8]], ledger.key)


def test_two_checkpoints_of_one_size_that_differ_cannot_both_be_continued(
    ledger: SmallLedger,
) -> None:
    other = checkpoint.make(5, bytes(32), ledger.signer)

    with pytest.raises(LedgerError, match="fork"):
        verify_ledger(ledger.entries, ledger.notes[-1], [ledger.notes[5], other], ledger.key)


def forged_by_another_key(ledger: SmallLedger) -> str:
    return checkpoint.make(SIZE, range_root(ledger.leaves), signer())


def with_another_size(ledger: SmallLedger) -> str:
    return ledger.notes[-1].replace(f"\n{SIZE}\n", f"\n{SIZE - 1}\n")


def with_a_signature_of_another_head(ledger: SmallLedger) -> str:
    return ledger.notes[-1].rpartition("\n\n")[0] + "\n\n" + ledger.notes[-2].rpartition("\n\n")[2]


def of_another_ledger(ledger: SmallLedger) -> str:
    return checkpoint.make(SIZE, range_root(ledger.leaves), signer("other.example"))


def absent(ledger: SmallLedger) -> str:
    return ""


@pytest.mark.parametrize(
    "head",
    [
        forged_by_another_key,
        with_another_size,
        with_a_signature_of_another_head,
        of_another_ledger,
        absent,
    ],
)
def test_a_head_that_does_not_verify_is_refused_as_head_and_as_checkpoint(
    ledger: SmallLedger, head: Callable[[SmallLedger], str]
) -> None:
    note = head(ledger)

    with pytest.raises(LedgerError, match="the head of the ledger"):
        verify_ledger(ledger.entries, note, [], ledger.key)
    with pytest.raises(LedgerError, match="a checkpoint"):
        verify_ledger(ledger.entries, ledger.notes[-1], [note], ledger.key)


def test_missing_leaf_hashes_do_not_shorten_the_verification(ledger: SmallLedger) -> None:
    with pytest.raises(LedgerError):
        verify_ledger(ledger.entries, ledger.notes[-1], [], ledger.key, leaves=ledger.leaves[:-1])


@given(st.integers(0, SIZE - 1), st.data())
def test_any_changed_byte_of_any_entry_is_found(index: int, data: st.DataObject) -> None:
    ledger = small_ledger(SIZE)
    raw = bytearray(ledger.entries[index][1])
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    leaves = ledger.leaves
    ledger.entries[index] = (index, bytes(raw))

    with pytest.raises(LedgerError) as caught:
        verify_ledger(ledger.entries, ledger.notes[-1], [], ledger.key, leaves=leaves)
    assert caught.value.details["index"] == index
    with pytest.raises(LedgerError):
        verify_ledger(ledger.entries, ledger.notes[-1], [], ledger.key)


def test_leaf_hashes_are_those_of_the_bytes(ledger: SmallLedger) -> None:
    assert ledger.leaves[0] == leaf_hash(ledger.entries[0][1])
