"""Instants, written one way everywhere: UTC, RFC 3339, microseconds, ``Z``."""

from __future__ import annotations

from datetime import UTC, datetime

from mlflow_governance.errors import InvalidRequest


def to_text(moment: datetime) -> str:
    """``2026-11-21T03:04:05.000006Z``; a naive datetime is a programmer's error."""
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse(text: object) -> datetime:
    """Read an RFC 3339 instant.

    Raises:
        InvalidRequest: not an instant with a time zone.
    """
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError as error:
        raise InvalidRequest(f"not an RFC 3339 instant: {str(text)[:60]!r}") from error
    if moment.tzinfo is None:
        raise InvalidRequest(f"the instant {str(text)[:60]!r} has no time zone")
    return moment.astimezone(UTC)


def now() -> datetime:
    """The clock of the process; workflows take it as a port so that tests can set it."""
    return datetime.now(UTC)
