from __future__ import annotations

import json

import pytest

from benchmarks.hashing import parse_speed
from benchmarks.measure import Samples
from benchmarks.report import Row, Spread, latency, number, overhead, table, times, write_json

SLOW, FAST = Samples((0.004,) * 4), Samples((0.002,) * 4)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0987, "0.099"), (1.2345, "1.23"), (12.345, "12.3"), (-3.5, "-3.50"), (123456.7, "123,457")],
)
def test_numbers_keep_the_digits_that_matter(value, text):
    assert number(value) == text


def test_a_rate_names_the_slower_end_last():
    spread = Spread.rate(Samples((1.0, 1.0, 2.0)), 100)

    assert spread.p50 == 100
    assert spread.p95 is not None
    assert spread.p95 < 60


def test_an_aim_over_stock_is_for_the_slowest_calls():
    assert overhead("download", SLOW, FAST, at_most=2.1).met is True
    assert overhead("download", SLOW, FAST, at_most=1.9).met is False
    assert overhead("download", SLOW, FAST).met is None


def test_a_latency_is_held_to_its_median():
    assert latency("decide", SLOW, at_most=4).met is True
    assert latency("decide", SLOW, at_most=3.9).met is False
    assert latency("decide", SLOW, beside=FAST).compared == "2.00x"


def test_a_ratio_is_taken_between_neighbours():
    assert times("read", SLOW, FAST, at_most=2).met is True
    assert times("read", SLOW, FAST, at_most=1.9).met is False
    assert times("read", SLOW, FAST, at_most=2).compared == "2.00x"


def test_the_table_is_aligned_and_ends_in_a_verdict():
    rows = [
        overhead("download", SLOW, FAST, at_most=1),
        latency("decide", FAST, at_most=3),
        Row.absent("opa", "no opa on PATH"),
    ]

    lines = table(rows).splitlines()

    column = lines[0].index("ours p50/p95")
    assert lines[2][column:].startswith("4.00/4.00")
    assert lines[3][column:].startswith("2.00/2.00")
    assert lines[2].endswith("NO")
    assert "not measured: no opa on PATH" in lines[4]
    assert lines[-1] == "1 of 2 aims met; missed: download"


def test_the_json_holds_every_row_and_what_was_measured_on(tmp_path):
    path = tmp_path / "new" / "run.json"
    write_json(path, [latency("decide", FAST, at_most=3)], {"quick": True})

    document = json.loads(path.read_text("utf-8"))

    assert document["quick"] is True
    [row] = document["rows"]
    assert (row["what"], row["ours"]["p50"], row["met"]) == ("decide", 2.0, True)


def test_the_speed_of_several_processes_is_their_sum_on_the_last_line():
    output = (
        "Forked child 0\nGot: +F:25:sha256:782663680.00 from 0\n"
        "Got: +F:25:sha256:1204207616.00 from 1\n+F:25:sha256:1986871296.00\n"
    )

    assert parse_speed(output) == 1986871296.0
    with pytest.raises(ValueError, match="no figure"):
        parse_speed("nothing\n")
