"""What the operator says about retention, checked when the settings are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from mlflow_governance.errors import ConfigurationError

LEAST_YEARS = 1
_MOST_YEARS = 100
_DAYS = 366
"""Of a year: so none is too short."""
_LEAST_EVENTS_DAYS = 7
"""Longer than a receiver may be away before its deliveries are given up."""
_MOST_EVENTS_DAYS = 36_600


@dataclass(frozen=True)
class Retention:
    """How long the record is kept.

    ``years`` is how long at least each entry is kept with what it names. ``holds`` lists patterns
    of model names about which nothing is deleted, however old: a legal hold. ``churn*`` holds
    models of every workspace, ``team-a:*`` a whole workspace. ``events_days`` is how long a
    delivery of an event can be repeated, and how far back a new receiver is told.

    Raises:
        ConfigurationError: less than a year, or a pattern that is none.
    """

    years: float = 7.0
    holds: tuple[str, ...] = ()
    events_days: float = 30.0

    def __post_init__(self) -> None:
        if not LEAST_YEARS <= self.years <= _MOST_YEARS:
            raise ConfigurationError(f"retention: years is {LEAST_YEARS} to {_MOST_YEARS}")
        if not all(hold.strip() for hold in self.holds):
            raise ConfigurationError("retention: holds is a list of patterns of model names")
        if not _LEAST_EVENTS_DAYS <= self.events_days <= _MOST_EVENTS_DAYS:
            raise ConfigurationError(
                f"retention: events_days is {_LEAST_EVENTS_DAYS} to {_MOST_EVENTS_DAYS}"
            )

    @property
    def period(self) -> timedelta:
        """How long each entry is kept at least."""
        return timedelta(days=self.years * _DAYS)

    def held(self, workspace: str, name: str) -> bool:
        """True when a legal hold names the model; upper and lower case are one to it."""
        return any(holds(hold, workspace, name) for hold in self.holds)


def holds(hold: str, workspace: str, name: str) -> bool:
    """True when this pattern names the model."""
    pattern = hold.strip().lower()
    return any(fnmatchcase(one.lower(), pattern) for one in (name, f"{workspace}:{name}"))


def read_retention(value: Any) -> Retention:
    """Read the setting ``retention``.

    Raises:
        ConfigurationError: it has other members, or one of a wrong type.
    """
    known = {field.name for field in fields(Retention)}
    if not isinstance(value, Mapping) or set(value) - known:
        raise ConfigurationError(f"retention has {', '.join(sorted(known))}, and nothing else")
    numbers = {}
    for name in ("years", "events_days"):
        number = value.get(name, getattr(Retention, name))
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ConfigurationError(f"retention: {name} is a number")
        numbers[name] = float(number)
    patterns = value.get("holds", [])
    if not isinstance(patterns, list) or not all(isinstance(one, str) for one in patterns):
        raise ConfigurationError("retention: holds is a list of patterns of model names")
    return Retention(holds=tuple(patterns), **numbers)
