"""What a request may say: one small table per route, read strictly and shown in OpenAPI."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mlflow_governance.core import canonical
from mlflow_governance.core.model_ref import DEFAULT_WORKSPACE, VersionRef, check_name
from mlflow_governance.errors import InvalidRequest

_MAX_DEPTH = 8
_INTEGER = re.compile(r"[0-9]{1,16}")  # as many as 2**53 - 1 has
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class Field:
    """One parameter or member of a body.

    Args:
        name: as written in the query or the JSON object.
        about: one sentence for the OpenAPI document.
        kind: JSON type.
        default: what it is when left out; None makes it required.
        longest: for strings, characters.
        least: for integers, the smallest value.
        most: for integers, the largest value.
        choices: for strings, the only values there are.
    """

    name: str
    about: str
    kind: Literal["string", "integer"] = "string"
    default: str | int | None = None
    longest: int = 2000
    least: int = 0
    most: int = 2**31 - 1
    choices: tuple[str, ...] = ()

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of this field."""
        if self.kind == "integer":
            shape: dict[str, Any] = {"minimum": self.least, "maximum": self.most}
        elif self.choices:
            shape = {"enum": list(self.choices)}
        else:
            shape = {"maxLength": self.longest}
        default = {} if self.default is None else {"default": self.default}
        return {"type": self.kind, "description": self.about, **shape, **default}

    def check(self, value: object) -> str | int:
        """The value, if it fits.

        Raises:
            InvalidRequest: it does not.
        """
        if self.kind == "integer":
            return self._integer(value)
        if not isinstance(value, str):
            raise InvalidRequest(f"{self.name} is not a string")
        if len(value) > self.longest:
            raise InvalidRequest(f"{self.name} has more than {self.longest} characters")
        if _CONTROL.search(value):
            raise InvalidRequest(f"{self.name} holds control characters")
        if self.choices and value not in self.choices:
            raise InvalidRequest(f"{self.name} is one of: {', '.join(self.choices)}")
        return value

    def _integer(self, value: object) -> int:
        # bool is an int in Python and not one in JSON
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidRequest(f"{self.name} is not an integer")
        if not self.least <= value <= self.most:
            raise InvalidRequest(f"{self.name} is not between {self.least} and {self.most}")
        return value


@dataclass(frozen=True)
class Values:
    """The checked fields of one request."""

    items: Mapping[str, str | int] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """A string field."""
        return str(self.items[name])

    def number(self, name: str) -> int:
        """An integer field."""
        return int(self.items[name])

    def ref(self) -> VersionRef:
        """The version that ``name``, ``version`` and ``workspace`` name.

        Raises:
            InvalidRequest: they name none.
        """
        workspace = self.text("workspace")
        check_name(workspace)
        return VersionRef(self.text("name"), self.number("version"), workspace)


VERSION = (
    Field("name", "The registered model.", longest=256),
    Field("version", "Its version number.", "integer", least=1),
    Field("workspace", "MLflow's workspace.", default=DEFAULT_WORKSPACE, longest=256),
)
"""The fields that name a version."""


def read_query(fields: Sequence[Field], pairs: Sequence[tuple[str, str]]) -> Values:
    """Check a query string, split into pairs.

    Raises:
        InvalidRequest: a field is unknown, missing, given twice or malformed.
    """
    if len({name for name, _ in pairs}) != len(pairs):
        raise InvalidRequest("a parameter is given twice")
    given: dict[str, object] = dict(pairs)
    for wanted in fields:
        text = given.get(wanted.name)
        if wanted.kind == "integer" and isinstance(text, str) and _INTEGER.fullmatch(text):
            given[wanted.name] = int(text)
    return _checked(fields, given)


def read_body(fields: Sequence[Field], data: bytes, max_bytes: int) -> Values:
    """Check a JSON body.

    Raises:
        InvalidRequest: it is not a JSON object within the bounds, or a field does not fit.
    """
    document = canonical.decode_object(data, max_bytes=max_bytes, max_depth=_MAX_DEPTH)
    return _checked(fields, document)


def _checked(fields: Sequence[Field], given: Mapping[str, object]) -> Values:
    known = [wanted.name for wanted in fields]
    foreign = sorted(set(given) - set(known))
    if foreign:
        raise InvalidRequest(
            f"unknown field: {foreign[0][:80]!r}",
            advice=f"Known fields: {', '.join(known) or 'none'}.",
        )
    values: dict[str, str | int] = {}
    for wanted in fields:
        if wanted.name in given:
            values[wanted.name] = wanted.check(given[wanted.name])
        elif wanted.default is not None:
            values[wanted.name] = wanted.default
        else:
            raise InvalidRequest(f"{wanted.name} is missing")
    return Values(values)
