"""Which entries are gone, and who said so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.core import canonical, moment
from mlflow_governance.core.event import Act
from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger import gone
from mlflow_governance.ledger.elapsed import PAUSE, Elapsed
from mlflow_governance.ledger.entry import MAX_BYTES, read_entry
from mlflow_governance.ledger.gone import Deleted, Teller
from tests.unit.ledger.builders import AT, encoded, small_ledger, verify_rows

LATER = AT + timedelta(days=8 * 366)
FACTS: dict[str, Any] = {
    "entries": "1-2,4", "count": 3, "before": moment.to_text(AT + timedelta(days=1)), "years": 7.0,
    "holds": [],
}  # fmt: skip
_positions = st.sets(st.integers(0, 60))


def telling(index: int = 6, **changes: Any) -> dict[str, Any]:
    """An entry that says which were deleted."""
    facts = {**FACTS, **changes.pop("facts", {})}
    return read_entry(encoded(index, act=Act.LEDGER_EXPIRED, at=LATER, facts=facts, **changes))


@given(_positions)
def test_what_was_written_is_read(positions: set[int]) -> None:
    ranges = gone.ranges_of(sorted(positions))

    assert [n for part in ranges for n in part] == sorted(positions)
    if positions:
        assert gone.read(gone.write(ranges)) == ranges


@pytest.mark.parametrize(
    "text",
    ["", "-", "1-", "-1", "01", "1-1", "2-1", "1,1", "3,1", "1-3,4", "1, 3", "1;3", "1-2-3", "x",
     "1" * 20, "1\n", "٣"],
)  # fmt: skip
def test_what_is_no_ranges_is_refused(text: str) -> None:
    with pytest.raises(LedgerError):
        gone.read(text)


def test_the_most_ranges_fit_into_an_entry() -> None:
    far = range(10**9, 10**9 + 3 * gone.MOST_RANGES, 3)
    ranges = gone.ranges_of(n + more for n in far for more in (0, 1))

    assert len(ranges) == gone.MOST_RANGES
    assert len(canonical.encode({"entries": gone.write(ranges)})) < MAX_BYTES - 4096


def test_an_entry_says_which_were_deleted() -> None:
    assert gone.told(6, telling()) == [range(1, 3), range(4, 5)]
    assert gone.told(6, telling(allowed=False)) == []
    assert gone.told(6, read_entry(encoded(6))) == []


@pytest.mark.parametrize(
    "facts",
    [
        {"entries": "6"}, {"entries": "0-9"}, {"entries": ""}, {"entries": [1]}, {"entries": None},
        {"years": 0.5}, {"years": -7}, {"years": True}, {"years": "7"}, {"years": 9.0},
        {"years": 10**9}, {"before": moment.to_text(LATER)}, {"before": "2026"}, {"before": None},
    ],
)  # fmt: skip
def test_what_an_entry_may_not_say_of_the_deleted_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(LedgerError):
        gone.told(6, telling(facts=facts))


@given(st.lists(_positions, max_size=4), _positions)
def test_the_first_of_which_nothing_was_said_is_named(
    said: list[set[int]], missing: set[int]
) -> None:
    tellers = [Teller(100 + n, gone.ranges_of(sorted(one))) for n, one in enumerate(said)]
    known, deleted = set().union(*said), Deleted(tellers)

    untold = deleted.first_untold(gone.ranges_of(sorted(missing)))
    assert untold == min(missing - known, default=None)
    for position in missing:
        assert (deleted.told_by(position) is not None) == (position in known)


def rows(*blank: int) -> list[list[Any]]:
    ledger = small_ledger(8)
    at = moment.to_text(AT)
    return [
        [index, b"" if index in blank else data, leaf, *(
            ("expired", "") if index in blank else (Act.VERSION_TRANSITIONED.value, "u1")), at]
        for (index, data), leaf in zip(ledger.entries, ledger.leaves, strict=True)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value"),
    [(2, b""), (2, bytes(31)), (3, Act.VERSION_TRANSITIONED.value), (3, None), (4, "u1"),
     (4, None), (1, "")],
)  # fmt: skip
def test_a_row_without_bytes_has_nothing_else_but_its_hash(column: int, value: object) -> None:
    ledger, found = small_ledger(8), rows(3)
    found[3][column] = value

    with pytest.raises(LedgerError, match=r"entry 3 (is missing|was edited)"):
        verify_rows(found, ledger.notes[-1], [], ledger.key)


# Time ----------------------------------------------------------------------------------------


def passed(*days: float) -> tuple[float, float]:
    """Days that count, and days that are lost, of entries made on these days."""
    time = Elapsed()
    for day in days:
        time.to(AT + timedelta(days=day))
    return time.total / timedelta(days=1), time.lost / timedelta(days=1)


@pytest.mark.parametrize(
    ("days", "counted", "lost"),
    [
        ((), 0, 0),
        ((0, 10, 20), 20, 0),
        ((0, 60, 120), 120, 0),
        ((0, 61), 0, 61),
        ((0, 3000, 3001), 1, 3000),  # a server started with a clock that was ahead
        ((0, 10, 3000, 20, 30), 20, 2990),  # it was put right
        ((0, 10, -4000, 20, 30), 20, 4020),
        ((0, 10, 9.99, 10.01, 9.99, 10.01, 11), 11, 0),  # two servers
    ],
)
def test_time_passes_as_entries_show_it(days: Sequence[float], counted: float, lost: float) -> None:
    assert passed(*days) == pytest.approx((counted, lost))


@given(st.lists(st.floats(0, 30), max_size=30), st.integers(0, 29), st.floats(-9e3, 9e3))
def test_one_clock_that_is_wrong_once_makes_nothing_older_than_a_pause(
    steps: list[float], place: int, error: float
) -> None:
    days, day = [0.0], 0.0
    for step in steps:
        day += step
        days.append(day)
    wrong = [*days[:place], days[min(place, len(days) - 1)] + error, *days[place:]]

    assert passed(*wrong)[0] <= passed(*days)[0] + PAUSE / timedelta(days=1) + 1e-6
