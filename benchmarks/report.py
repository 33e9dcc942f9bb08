"""One row a figure, one table a run, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Samples


@dataclass(frozen=True)
class Spread:
    """Median and 95th percentile, in the unit of the row; of a rate, the slower end."""

    p50: float
    p95: float | None = None

    @classmethod
    def milliseconds(cls, samples: Samples) -> Spread:
        """Of how long a call took."""
        return cls(samples.p50 * 1000, samples.p95 * 1000)

    @classmethod
    def rate(cls, samples: Samples, amount: float) -> Spread:
        """Of how much was done a second, each call having done ``amount``."""
        return cls(amount / samples.p50, amount / samples.p95)

    def __str__(self) -> str:
        return "/".join(number(v) for v in (self.p50, self.p95) if v is not None)


@dataclass(frozen=True)
class Row:
    """One figure.

    ``beside`` is stock MLflow or a limit; ``compared`` says how ours stands to it; ``met`` is
    None where nothing was aimed at.
    """

    what: str
    unit: str
    ours: Spread | None = None
    beside: Spread | None = None
    compared: str = ""
    aim: str = ""
    met: bool | None = None

    @classmethod
    def absent(cls, what: str, why: str) -> Row:
        """A figure that could not be taken."""
        return cls(what, "", compared=f"not measured: {why}")


def latency(
    what: str, ours: Samples, *, beside: Samples | None = None, at_most: float | None = None
) -> Row:
    """How long a call takes, in milliseconds; the aim is for the median."""
    spread = Spread.milliseconds(ours)
    return Row(
        what,
        "ms",
        spread,
        Spread.milliseconds(beside) if beside else None,
        f"{ours.p50 / beside.p50:.2f}x" if beside else "",
        f"p50 ≤ {at_most:g}" if at_most is not None else "",
        spread.p50 <= at_most if at_most is not None else None,
    )


def overhead(what: str, ours: Samples, stock: Samples, *, at_most: float | None = None) -> Row:
    """What ours costs on top of stock, in milliseconds; the aim is for the 95th percentile."""
    mine, theirs = Spread.milliseconds(ours), Spread.milliseconds(stock)
    more = (ours.p95 - stock.p95) * 1000
    return Row(
        what,
        "ms",
        mine,
        theirs,
        f"{mine.p50 - theirs.p50:+.2f}/{more:+.2f}",
        f"p95 ≤ stock + {at_most:g}" if at_most is not None else "",
        more <= at_most if at_most is not None else None,
    )


def times(what: str, ours: Samples, stock: Samples, *, at_most: float) -> Row:
    """How many times as long as stock ours takes, in milliseconds; the aim is for the median.

    Each call is compared with its neighbour in time.
    """
    ratio = 1 / ours.speed_beside(stock)
    return Row(
        what,
        "ms",
        Spread.milliseconds(ours),
        Spread.milliseconds(stock),
        f"{ratio:.2f}x",
        f"≤ {at_most:g} x stock",
        ratio <= at_most,
    )


def table(rows: Sequence[Row]) -> str:
    """The rows in aligned columns, with a sentence on the aims below."""
    head = ("what", "unit", "stock/limit", "ours p50/p95", "compared", "aim", "met")
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    texts = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
    texts.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*(text.rstrip() for text in texts), "", _verdict(rows)])


def write_json(path: Path, rows: Sequence[Row], about: dict[str, Any]) -> None:
    """The same for programs; ``about`` describes the machine and the run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {**about, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")


def number(value: float) -> str:
    """Three significant digits or all before the point, never an exponent."""
    size = abs(value)
    return f"{value:,.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"


def _cells(row: Row) -> tuple[str, ...]:
    met = {True: "yes", False: "NO", None: ""}[row.met]
    ours, beside = (str(spread) if spread else "" for spread in (row.ours, row.beside))
    return (row.what, row.unit, beside, ours, row.compared, row.aim, met)


def _verdict(rows: Sequence[Row]) -> str:
    aimed = [row for row in rows if row.met is not None]
    missed = [row.what for row in aimed if not row.met]
    verdict = f"{len(aimed) - len(missed)} of {len(aimed)} aims met"
    return f"{verdict}; missed: {'; '.join(missed)}" if missed else verdict
