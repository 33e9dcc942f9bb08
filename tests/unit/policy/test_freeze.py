"""Weekly freeze windows against the calendar: no engine has a function for weekdays in common."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from mlflow_governance.core import moment
from mlflow_governance.core.dossier import Gate
from mlflow_governance.policy.embedded import EmbeddedEngine
from tests.unit.policy.builders import configured, document

DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


def frozen(engine: EmbeddedEngine, now: datetime) -> bool:
    value = document(Gate.PROMOTE)
    value["now"] = moment.to_text(now)
    checks = engine.evaluate(Gate.PROMOTE, json.dumps(value).encode())["checks"]
    return checks["LIB-012"] is False


def covered(entry: dict[str, Any], now: datetime) -> bool:
    """The same in Python: windows that began yesterday, today or tomorrow, as clocks there say."""
    offset = entry.get("utc_offset", "Z")
    sign = -1 if offset[0] == "-" else 1
    hours, minutes = (0, 0) if offset == "Z" else (int(offset[1:3]), int(offset[4:]))
    zone = timezone(sign * timedelta(hours=hours, minutes=minutes))
    there = now.astimezone(zone)
    for shift in (-1, 0, 1):
        day = (there + timedelta(days=shift)).date()
        if DAYS[day.weekday()] not in entry["weekdays"]:
            continue
        begin = datetime.fromisoformat(f"{day}T{entry['from']}:00").replace(tzinfo=zone)
        end = datetime.fromisoformat(f"{day}T{entry['to']}:00").replace(tzinfo=zone)
        if begin <= there < (end if begin < end else end + timedelta(days=1)):
            return True
    return False


def some_entry(source: random.Random) -> dict[str, Any]:
    def clock() -> str:
        return f"{source.randrange(24):02}:{source.choice((0, 15, 30, 59)):02}"

    entry = {
        "weekdays": source.sample(DAYS, source.randint(1, 4)), "from": clock(), "to": clock(),
        "reason": "frozen",
    }  # fmt: skip
    offset = source.choice(["", "Z", "+00:00", "-03:00", "+14:00", "-12:00", "+05:45"])
    return entry | ({"utc_offset": offset} if offset else {})


@pytest.mark.parametrize("seed", range(12))
def test_a_weekly_window_is_what_the_calendar_says(seed: int) -> None:
    source = random.Random(seed)
    entry = some_entry(source)
    engine = EmbeddedEngine(configured(library={"freeze": [entry]}))

    for _ in range(60):
        now = datetime(2004, 1, 1, tzinfo=UTC) + timedelta(
            minutes=source.choice((1, 5, 15)) * source.randrange(3_000_000), microseconds=-1
        )
        for instant in (now, now + timedelta(microseconds=1)):
            assert frozen(engine, instant) is covered(entry, instant), (entry, instant)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-12-24T11:59:59.999999Z", False),
        ("2026-12-24T12:00:00.000000Z", True),
        ("2027-01-02T11:59:59.999999Z", True),
        ("2027-01-02T12:00:00.000000Z", False),
    ],
)
def test_a_window_between_two_instants_has_its_first_and_not_its_last(
    now: str, expected: bool
) -> None:
    entry = {"from": "2026-12-24T09:00:00-03:00", "to": "2027-01-02T12:00:00Z", "reason": "feast"}

    assert frozen(EmbeddedEngine(configured(library={"freeze": [entry]})), moment.parse(now)) is (
        expected
    )
