"""What must be kept of people: the setting ``privacy``, checked when the settings are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mlflow_governance.core import moment
from mlflow_governance.core.person import Person
from mlflow_governance.errors import Denied

_KEYS = frozenset({"holds", "keep_days"})
_MOST_DAYS = 36_500


@dataclass(frozen=True)
class Holds:
    """Why personal data are kept although somebody asks for their erasure (GDPR, art. 17(3)).

    ``people`` are named in a legal claim; what anybody did within the last ``keep_days`` days is
    kept under a legal duty.
    """

    people: tuple[str, ...] = ()
    keep_days: int = 0

    def refuse(self, person: Person, acts: Sequence[str], now: datetime) -> None:
        """Refuse to erase what must be kept.

        Args:
            person: whose data.
            acts: when they did something.
            now: the moment of the erasure.

        Raises:
            Denied: there is such a duty; it says until when.
        """
        if any(person.is_(held) for held in self.people):
            raise Denied(
                "a legal hold keeps what is known of this person",
                advice="Lift it in config.yaml when the claim is settled: privacy, holds.",
            )
        newest = max(map(moment.parse, acts), default=None)
        if newest is None or not self.keep_days:
            return
        until = newest + timedelta(days=self.keep_days)
        if now < until:
            raise Denied(
                f"what this person did on {newest.date()} is kept for {self.keep_days} days "
                f"under a legal duty, until {until.date()}",
                advice="Repeat it then; the duty is the setting keep_days under privacy.",
            )


NOBODY_HELD = Holds()


def read_holds(_: Path, document: Any) -> Holds:
    """``{holds: [person…], keep_days: N}``; both may be left out.

    Raises:
        TypeError, ValueError: a key is unknown or has a wrong type.
        InvalidRequest: a hold names nobody.
    """
    if not isinstance(document, dict) or set(document) - _KEYS:
        raise TypeError(f"privacy has the keys {', '.join(sorted(_KEYS))}")
    people, days = document.get("holds", []), document.get("keep_days", 0)
    # A hold that names nobody must not pass for one that holds.
    if not isinstance(people, list) or not all(isinstance(one, str) for one in people):
        raise TypeError("privacy: holds is a list of people")
    if type(days) is not int or not 0 <= days <= _MOST_DAYS:
        raise ValueError(f"privacy: keep_days is a number from 0 to {_MOST_DAYS}")
    return Holds(tuple(Person.known_as(one).name for one in people), days)
