"""Instants, written one way everywhere: UTC, RFC 3339, microseconds, ``Z``."""

from __future__ import annotations

from datetime import UTC, datetime

from mlflow_governance.errors import InvalidRequest


def to_text(moment: datetime) -> str:
    """``2026-11-21T03:04:05.000006Z``; a naive datetime is a programmer's error."""
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    # Not strftime: it writes the year 999 with three digits, which sorts after every other.
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def parse(text: object) -> datetime:
    """Read an RFC 3339 instant.

    Raises:
        InvalidRequest: not an instant with a time zone.
    """
    try:
        moment = datetime.fromisoformat(str(text))
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:  # a day before the first year in UTC
        raise InvalidRequest(f"not an RFC 3339 instant: {str(text)[:60]!r}") from error
    raise InvalidRequest(f"the instant {str(text)[:60]!r} has no time zone")


def now() -> datetime:
    """The clock of the process; workflows take it as a port so that tests can set it."""
    return datetime.now(UTC)
