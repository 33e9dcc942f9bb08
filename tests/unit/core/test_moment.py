from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.core import moment
from mlflow_governance.errors import InvalidRequest

ZONES = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)


def test_an_instant_is_written_in_utc_with_microseconds() -> None:
    at = datetime(2026, 11, 21, 3, 4, 5, 6, timezone(timedelta(hours=2)))

    assert moment.to_text(at) == "2026-11-21T01:04:05.000006Z"
    assert moment.to_text(datetime(999, 1, 1, tzinfo=UTC)) == "0999-01-01T00:00:00.000000Z"
    with pytest.raises(ValueError, match="time zone"):
        moment.to_text(datetime(2026, 1, 1))


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES),
       st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES))  # fmt: skip
def test_texts_sort_as_the_instants_do(one: datetime, other: datetime) -> None:
    assert (moment.to_text(one) < moment.to_text(other)) is (one < other)
    assert moment.parse(moment.to_text(one)) == one


@pytest.mark.parametrize(
    "text",
    ["", "x", "2026-11-21", "2026-11-21T00:00:00", "2026-02-30T00:00:00Z", None, 5, "0000-01-01",
     "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"],
)  # fmt: skip
def test_what_is_no_instant_is_refused(text: object) -> None:
    with pytest.raises(InvalidRequest):
        moment.parse(text)
