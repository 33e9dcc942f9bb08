"""Where a stored value names a person: plain text, JSON, what JSON or an envelope encloses.

A database holds names in more than one writing: ``\\u00e9`` in JSON, base64 in a signed envelope or
a certificate, gzip in an archive. Whoever looks for a name has to look into these.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from mlflow_governance.core.person import Person

_BASE64 = re.compile(r"[A-Za-z0-9+/_\-]{16,}={0,2}")
_DIGEST = re.compile(r"[0-9a-f]+")
_GZIP = b"\x1f\x8b"
_MOST_UNPACKED = 64 * 1024 * 1024
_DEEPEST = 4
_SHOWN = 4000
"""Characters of a text that are told: as many as a reason has at most."""


class Mention(NamedTuple):
    """A place inside a value (``actor.id``; empty: the value itself), and what stands there."""

    path: str
    text: str


def mentions(person: Person, value: object, depth: int = 0) -> Iterator[Mention]:
    """Every place where a value of the database names somebody.

    Args:
        person: who.
        value: text or bytes; anything else names nobody.
        depth: how many enclosures it was taken out of.
    """
    if isinstance(value, str):
        yield from _in_text(person, value, depth)
    elif isinstance(value, bytes | bytearray | memoryview):
        yield from _in_bytes(person, bytes(value), depth)
    elif isinstance(value, dict | list):  # a JSON column
        yield from _in_json(person, value, "", depth)


def _in_bytes(person: Person, data: bytes, depth: int) -> Iterator[Mention]:
    if data.startswith(_GZIP):
        if depth < _DEEPEST:
            for inner in mentions(person, _unpacked(data), depth + 1):
                yield Mention(_joined("(gzip)", inner.path), inner.text)
        return
    yield from _in_text(person, data.decode("utf-8", "replace"), depth)


def _in_text(person: Person, text: str, depth: int) -> Iterator[Mention]:
    named = person.in_(text)
    # Behind an escape (``by\\nAnn`` in JSON) a name has a letter before it that is none.
    if "\\" not in text and not named and next(_enclosed(person, text, "", depth), None) is None:
        return  # most values name nobody, and need not be taken apart to know that
    document = _document(text)
    if document is not None:
        yield from _in_json(person, document, "", depth)
    else:
        if named:
            yield Mention("", text[:_SHOWN])
        yield from _enclosed(person, text, "", depth)


def _document(text: str) -> Any:
    if text[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _in_json(person: Person, value: Any, path: str, depth: int) -> Iterator[Mention]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if person.in_(key):
                yield Mention(_joined(path, "(name of a member)"), key[:_SHOWN])
            yield from _in_json(person, inner, _joined(path, key), depth)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _in_json(person, inner, _joined(path, str(number)), depth)
    elif isinstance(value, str):
        if person.in_(value):
            yield Mention(path, value[:_SHOWN])
        elif "\\" in value and depth < _DEEPEST and (inner := _document(value)) is not None:
            yield from _in_json(person, inner, path, depth + 1)
            return
        yield from _enclosed(person, value, path, depth)


def _enclosed(person: Person, text: str, path: str, depth: int) -> Iterator[Mention]:
    if depth >= _DEEPEST:
        return
    for found in _BASE64.findall(text):
        data = b"" if _DIGEST.fullmatch(found) else _decoded(found.encode())
        # What is no base64 decodes to noise, in which nobody is named by chance.
        if data:
            for inner in mentions(person, data, depth + 1):
                yield Mention(_joined(path, _joined("(base64)", inner.path)), inner.text)


def _decoded(text: bytes) -> bytes:
    plain = text.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    plain = plain[: len(plain) - (len(plain) % 4 == 1)]
    try:
        return base64.b64decode(plain + b"=" * (-len(plain) % 4))
    except (binascii.Error, ValueError):
        return b""


def _unpacked(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, _MOST_UNPACKED)
    except zlib.error:
        return b""


def _joined(path: str, step: str) -> str:
    return f"{path}.{step}" if path and step else path or step
