"""How much time a ledger shows passing: a clock that jumps makes no entry old."""

from __future__ import annotations

from datetime import datetime, timedelta

PAUSE = timedelta(days=60)
"""A longer pause between two entries counts as none: nobody can tell it from a wrong clock."""
_SKEW = timedelta(days=1)
"""Clocks of several servers, and acts that wait their turn, differ by less."""


class Elapsed:
    """Adds up the time between entries, in the order they were appended.

    ``lost`` is the time that was not counted, because it passed in pauses that are too long.
    """

    def __init__(self) -> None:
        self.total = self.lost = timedelta()
        self._at: datetime | None = None

    def to(self, at: datetime) -> timedelta:
        """Go on to the next entry; returns the time from the first one to this.

        A moment a little before that of the entry before it counts as the same. One long before it
        says that the clock was set right: time goes on from there.
        """
        step = at - self._at if self._at is not None else timedelta()
        if timedelta() < step <= PAUSE:
            self.total += step
        elif step > PAUSE:
            self.lost += step
        if self._at is None or step > timedelta() or step < -_SKEW:
            self._at = at
        return self.total
