"""The hash of one file of a bundle, as OPA computes it for its signatures.

``.manifest`` and ``data.json`` are hashed as what they mean: keys sorted, no space between,
strings as Go's ``encoding/json`` writes them, and numbers as they were spelled. Every other file
is hashed as it is (OPA documentation, "Bundles: Signature Format"; ``bundle/hash.go``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.errors import InvalidRequest

_STRUCTURED = (".manifest", "data.json")


def file_hash(name: str, data: bytes) -> str:
    """SHA-256 in hexadecimal digits.

    Raises:
        InvalidRequest: a file that must be JSON is not, or can be read in two ways.
    """
    if name.split("/")[-1] in _STRUCTURED:
        data = _canonical(data)
    return hashlib.sha256(data).hexdigest()


class _Number(str):
    """A number as it was spelled, which OPA keeps: ``1.0`` and ``1`` hash differently."""

    __slots__ = ()


def _canonical(data: bytes) -> bytes:
    canonical.decode(data)  # bounds, no key twice, no NaN
    value = json.loads(data.decode("utf-8"), parse_int=_Number, parse_float=_Number)
    try:
        return "".join(_pieces(value)).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidRequest("it holds half of a surrogate pair") from error


def _pieces(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        # By code point, which is the order of the bytes of UTF-8 that Go sorts by.
        for number, key in enumerate(sorted(value)):
            yield "," if number else "{"
            yield f"{_text(key)}:"
            yield from _pieces(value[key])
        yield "}" if value else "{}"
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield "," if number else "["
            yield from _pieces(item)
        yield "]" if value else "[]"
    elif isinstance(value, _Number):
        yield str(value)
    else:
        yield _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    # Go escapes these two wherever they stand, for the sake of JavaScript.
    written = json.dumps(text, ensure_ascii=False)
    return written.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
