"""YAML from outside: bounded in size, depth, nodes and aliases, and without tags of its own."""

from __future__ import annotations

import re
from typing import Any

import yaml

from mlflow_governance.errors import VerificationError

MAX_BYTES = 4 * 1024 * 1024
MAX_EVENTS = 200_000
MAX_DEPTH = 40
MAX_ALIASES = 200
_CORE = "tag:yaml.org,2002:"
_CORE_TAGS = frozenset(
    _CORE + kind for kind in ("str", "int", "float", "bool", "null", "map", "seq", "timestamp")
)

_BROKEN = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""What PyYAML lets out of a value that is none of the kind it says: ``!!bool maybe``, ``!!int ''``,
a float of many sixties."""
_NUMBER = re.compile(r"[-+]?[0-9][0-9_:.]*")
_MAX_NUMBER = 400
"""Characters of a number: YAML 1.1 counts in sixties (``1:59:59``), PyYAML in quadratic time."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# libyaml reads a document about ten times faster; both yield the same events.


def load(data: bytes) -> Any:
    """The one document in ``data``, as plain values.

    An alias stands for the same value, never for a copy, so that what is returned is no larger
    than what was written; whoever walks it must still count (``texts``).

    Raises:
        VerificationError: too large, too deep, several documents, a tag that makes something,
            or no YAML.
    """
    check(data)
    try:
        return yaml.load(data, Loader=_Loader)  # noqa: S506 - the safe loader, in C where it is
    except (yaml.YAMLError, RecursionError, *_BROKEN) as error:
        raise VerificationError(_first_line(error)) from None


def check(data: bytes) -> None:
    """Hold a document to the bounds without building anything of it.

    Raises:
        VerificationError: as :func:`load`.
    """
    if len(data) > MAX_BYTES:
        raise VerificationError(f"{len(data)} bytes of YAML; at most {MAX_BYTES} are read")
    depth = aliases = documents = 0
    try:
        text = data.decode("utf-8")
        if "\ufeff" in text[1:]:
            # libyaml leaves it out where a line begins, PyYAML's own reader makes it part of a key.
            raise VerificationError("a byte order mark inside YAML")
        for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
            depth += _deeper(event)
            aliases += isinstance(event, yaml.AliasEvent)
            documents += isinstance(event, yaml.DocumentStartEvent)
            if count > MAX_EVENTS or depth > MAX_DEPTH or aliases > MAX_ALIASES or documents > 1:
                raise VerificationError("YAML that is too long, too deep or repeats too much")
            _refuse_special(event)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise VerificationError(_first_line(error)) from None


def _deeper(event: object) -> int:
    if isinstance(event, yaml.CollectionStartEvent):
        return 1
    return -1 if isinstance(event, yaml.CollectionEndEvent) else 0


def _refuse_special(event: object) -> None:
    tag = getattr(event, "tag", None)
    if tag is not None and tag not in _CORE_TAGS and tag != "!":
        raise VerificationError(f"the tag {tag}")
    if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
        # Merging copies: a few lines of it could fill the memory.
        raise VerificationError("YAML that merges mappings")
    if isinstance(event, yaml.ScalarEvent) and len(event.value) > _MAX_NUMBER:
        tagged = tag not in (None, "!", _CORE + "str")
        if tagged or _NUMBER.fullmatch(event.value):
            raise VerificationError(f"a number of {len(event.value)} characters")


def _first_line(error: Exception) -> str:
    return f"not YAML: {str(error).splitlines()[0] if str(error) else type(error).__name__}"[:200]


def texts(value: Any, limit: int = 100_000) -> list[str]:
    """Every text in a value, keys included.

    Raises:
        VerificationError: more than ``limit`` values, each alias counted again.
    """
    found: list[str] = []
    pending = [value]
    count = 0
    while pending:
        count += 1
        if count > limit:
            raise VerificationError(f"more than {limit} values")
        node = pending.pop()
        if isinstance(node, str):
            found.append(node)
        elif isinstance(node, dict):
            pending.extend(node.keys())
            pending.extend(node.values())
        elif isinstance(node, list | tuple | set):
            pending.extend(node)
    return found
