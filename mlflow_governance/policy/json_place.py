"""Where in a JSON text a value stands, so that a finding about data has a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')

Path = tuple[str | int, ...]


def place(text: str, path: Path) -> tuple[int, int]:
    """Line and column, from 1, of the value at a path; of the nearest one above if it is not there.

    The text is JSON that has been read before; of anything else the place is the beginning.
    """
    best, depth = 0, -1
    try:
        for found, offset in _values(_TOKEN.finditer(text), ()):
            if len(found) > depth and path[: len(found)] == found:
                best, depth = offset, len(found)
    except (StopIteration, RuntimeError, ValueError, RecursionError):
        best = 0
    line = text.count("\n", 0, best) + 1
    return line, best - (text.rfind("\n", 0, best) + 1) + 1


def _values(tokens: Iterator[re.Match[str]], path: Path) -> Iterator[tuple[Path, int]]:
    token = next(tokens)
    yield path, token.start()
    yield from _inside(tokens, path, token[0])


def _inside(tokens: Iterator[re.Match[str]], path: Path, opened: str) -> Iterator[tuple[Path, int]]:
    if opened not in ("{", "["):
        return
    index = 0
    for token in tokens:
        if token[0] in ("}", "]"):
            return
        if token[0] == ",":
            continue
        if opened == "{":
            key = (*path, json.loads(token[0]))
            yield key, token.start()
            next(tokens)  # the colon
            yield from _inside(tokens, key, next(tokens)[0])
        else:
            key = (*path, index)
            yield key, token.start()
            yield from _inside(tokens, key, token[0])
            index += 1
