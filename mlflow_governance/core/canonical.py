"""Canonical JSON (RFC 8785) out, strict and bounded JSON in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import rfc8785

from mlflow_governance.errors import InvalidRequest

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 64
_MAX_SAFE_INTEGER = 2**53 - 1
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def encode(value: Any) -> bytes:
    """The RFC 8785 form of a JSON value.

    Raises:
        InvalidRequest: NaN, an integer beyond 2**53-1, a lone surrogate, or not JSON at all.
    """
    try:
        if _is_plain(value):
            # The same bytes several times faster: with plain numbers and keys in ASCII, RFC 8785
            # asks for nothing the standard library does not do.
            return _ENCODER.encode(value).encode("utf-8")
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidRequest(f"the document has no canonical JSON form: {error}") from error


def join(members: Mapping[str, bytes]) -> bytes:
    """The RFC 8785 form of an object whose values are in that form already.

    Raises:
        InvalidRequest: a name is no text, or holds a lone surrogate.
    """
    try:
        names = sorted(members, key=lambda name: name.encode("utf-16-be"))
    except (AttributeError, UnicodeEncodeError) as error:
        raise InvalidRequest(f"the document has no canonical JSON form: {error}") from error
    return b"{%s}" % b",".join([_name(name) + members[name] for name in names])


@lru_cache(maxsize=256)
def _name(name: str) -> bytes:
    return encode(name) + b":"


def decode(data: bytes | str, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """Parse JSON from outside: bounded in size and depth, no duplicate keys, no NaN.

    Raises:
        InvalidRequest: anything else than one well-formed JSON value within the bounds.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > max_bytes:
        raise InvalidRequest(f"the document has {len(raw)} bytes; at most {max_bytes} are read")
    _refuse_depth(raw, max_depth)
    try:
        return json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_int=_bounded_int,
        )
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the document is not valid JSON: {error}") from error


def decode_object(
    data: bytes | str, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH
) -> dict[str, Any]:
    """Like :func:`decode`, and the value must be an object."""
    value = decode(data, max_bytes=max_bytes, max_depth=max_depth)
    if not isinstance(value, dict):
        raise InvalidRequest("the document is not a JSON object")
    return value


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-_MAX_SAFE_INTEGER <= value <= _MAX_SAFE_INTEGER)
    if kind is float:  # where Python and ECMAScript write a number alike
        return bool(1e-4 <= abs(value) < 1e16 and not value.is_integer())
    if kind is dict:  # loops: every decision passes here, and most values are texts
        for key, inner in value.items():
            if type(key) is not str or not key.isascii():
                return False
            if type(inner) is not str and not _is_plain(inner):
                return False
        return True
    return (kind is list or kind is tuple) and all(map(_is_plain, value))


def _refuse_depth(raw: bytes, limit: int) -> None:
    # Counted before parsing: the parser itself recurses, and outside bytes choose how deep.
    if raw.count(b"{") + raw.count(b"[") <= limit:
        return
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        if depth > limit:
            raise InvalidRequest(f"the document nests deeper than {limit} levels")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object names the same key twice")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _bounded_int(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) > _MAX_SAFE_INTEGER:
        raise ValueError("an integer is beyond 2**53-1")
    return int(digits)
