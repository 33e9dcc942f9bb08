"""What our schemas say beyond JSON Schema; a reader that does not know these words skips them.

``{"format": "instant"}``: a text that is an RFC 3339 instant, the 31st of February is none.
``{"uniqueBy": ["name"]}``: no two members of a list agree in these fields.
``{"inOrder": [["window", "from"], ["window", "to"]]}``: instants at these places do not go back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlflow_governance.core import moment
from mlflow_governance.errors import InvalidRequest


def _is_instant(text: str) -> bool:
    try:
        moment.parse(text)
    except InvalidRequest:
        return False
    return True


class _UniqueBy:
    def __init__(self, parent: Mapping[str, Any], fields: Sequence[str], path: object) -> None:
        self._fields = tuple(fields)

    def validate(self, instance: object) -> None:
        """Raises ValueError, as jsonschema_rs asks."""
        met: set[tuple[str, ...]] = set()
        for entry in instance if isinstance(instance, list) else ():
            named = [entry.get(word) for word in self._fields] if isinstance(entry, dict) else []
            key = tuple(text for text in named if isinstance(text, str))
            if len(key) != len(self._fields):
                continue  # it breaks the schema anyhow
            if key in met:
                raise ValueError(f"{' '.join(key)[:120]!r} is there twice")
            met.add(key)


class _InOrder:
    def __init__(
        self, parent: Mapping[str, Any], places: Sequence[Sequence[str]], path: object
    ) -> None:
        self._places = tuple(map(tuple, places))

    def validate(self, instance: object) -> None:
        """Raises ValueError, as jsonschema_rs asks."""
        texts = [_at(instance, place) for place in self._places]
        if all(isinstance(text, str) and _is_instant(text) for text in texts):
            instants = [moment.parse(text) for text in texts]
            if instants != sorted(instants):
                told = ", ".join(".".join(place) for place in self._places)
                raise ValueError(f"these instants are not in order: {told}")


def _at(value: object, place: Sequence[str]) -> object:
    for word in place:
        value = value.get(word) if isinstance(value, dict) else None
    return value


FORMATS = {"instant": _is_instant}
KEYWORDS: dict[str, type[Any]] = {"uniqueBy": _UniqueBy, "inOrder": _InOrder}
