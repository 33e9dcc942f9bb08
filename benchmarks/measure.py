"""Timing on a machine that is never quiet: what is compared alternates, call by call."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Scale:
    """How much is measured; ``quick`` trades certainty for time."""

    quick: bool = False

    def pick(self, full: int, quick: int) -> int:
        """The size that fits this run."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Samples:
    """Seconds, one a call, in the order of the calls."""

    seconds: tuple[float, ...]

    @property
    def p50(self) -> float:
        """The median."""
        return quantile(self.seconds, 0.5)

    @property
    def p95(self) -> float:
        """What 95 of 100 calls stay below."""
        return quantile(self.seconds, 0.95)

    def per(self, calls: int) -> Samples:
        """Seconds a call, where each sample was a block of so many."""
        return Samples(tuple(value / calls for value in self.seconds))

    def speed_beside(self, limit: Samples) -> float:
        """How near this comes to the limit, 1.0 being as fast: the median over the rounds.

        Each call is compared with its neighbour in time, so that a disturbance hits both.
        """
        pairs = zip(limit.seconds, self.seconds, strict=True)
        return quantile([theirs / ours for theirs, ours in pairs], 0.5)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share lies, interpolated between neighbours.

    Raises:
        ValueError: no values, or a share outside 0 to 1.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError("a quantile needs values, and a share between 0 and 1")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    for left, right in pairwise(ordered[low : low + 2]):
        return left + (right - left) * (place - low)
    return ordered[low]


def alternate(rounds: int, **calls: Callable[[], object]) -> dict[str, Samples]:
    """Time every call once a round, in turns; every other round goes backwards."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls.items())
    for _ in range(rounds):
        for name, call in order:
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
        order.reverse()
    return {name: Samples(tuple(values)) for name, values in seconds.items()}
