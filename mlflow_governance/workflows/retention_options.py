"""What the operator says about retention, checked when the settings are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from mlflow_governance.errors import ConfigurationError

LEAST_YEARS = 1
_MOST_YEARS = 100
_DAYS = 365.25


@dataclass(frozen=True)
class Retention:
    """How long the record is kept.

    ``years`` is how long at least each entry is kept with what it names. ``holds`` lists patterns
    of model names (``churn*``) about which nothing is deleted, however old: a legal hold.

    Raises:
        ConfigurationError: less than a year, or a pattern that is none.
    """

    years: float = 7.0
    holds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not LEAST_YEARS <= self.years <= _MOST_YEARS:
            raise ConfigurationError(f"retention: years is {LEAST_YEARS} to {_MOST_YEARS}")
        if not all(hold.strip() for hold in self.holds):
            raise ConfigurationError("retention: holds is a list of patterns of model names")

    def before(self, now: datetime) -> datetime:
        """Whatever is older than this may go."""
        return now - timedelta(days=self.years * _DAYS)

    def held(self, name: str) -> bool:
        """True when a legal hold names the model."""
        return any(fnmatchcase(name, hold) for hold in self.holds)


def read_retention(value: Any) -> Retention:
    """Read the setting ``retention``.

    Raises:
        ConfigurationError: it has other members, or one of a wrong type.
    """
    known = {field.name for field in fields(Retention)}
    if not isinstance(value, Mapping) or set(value) - known:
        raise ConfigurationError("retention has years and holds, and nothing else")
    years, holds = value.get("years", 7.0), value.get("holds", [])
    if isinstance(years, bool) or not isinstance(years, int | float):
        raise ConfigurationError("retention: years is a number")
    if not isinstance(holds, list) or not all(isinstance(hold, str) for hold in holds):
        raise ConfigurationError("retention: holds is a list of patterns of model names")
    return Retention(float(years), tuple(holds))
