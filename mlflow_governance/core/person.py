"""A person in texts: found in every spelling of their name, replaced by a pseudonym.

A login is one person however it is typed (:func:`~mlflow_governance.core.actor.canonical`): "Ann ",
"ANN" and fullwidth letters are all "ann". Where a column or member holds nothing but a person it
is compared as a whole; in free text a name counts where it stands as a word of its own, so that
"ann" is found in "approved by Ann." and neither in "channel" nor in "ann@example.com", which is
another login. Where a script puts no gaps between words, a name needs none either.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlflow_governance.core.actor import ANONYMOUS, Actor
from mlflow_governance.errors import InvalidRequest

PSEUDONYM = re.compile(r"erased-[0-9a-f]{8}")
ERASED = "(erased)"
"""Stands where a person's own words stood."""

_SYSTEM = "system:"
_INSIDE_A_LOGIN = frozenset(".-+@")
_LEAST = 2
_GAPLESS = re.compile(  # Thai, Lao, Burmese, Khmer, Hangul, kana, bopomofo, Han
    r"[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u318f"
    r"\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    r"\U00020000-\U0003ffff]"
)
_PERCENT = re.compile(r"%[0-9a-f]{2}$")
_ESCAPE = re.compile(r"\\(?:[bfnrt]|u[0-9a-f]{4}|x[0-9a-f]{2})$")
_TELLING = 5
"""Characters of a name that is seldom part of another word."""


@dataclass(frozen=True)
class Person:
    """One person under every name they are known by, each in its canonical form.

    ``loose`` finds in texts what may be a name, or part of another word or login: for somebody to
    look at, never to be replaced.
    """

    names: tuple[str, ...]
    loose: bool = False

    @classmethod
    def known_as(cls, name: str, also: Iterable[str] = ()) -> Person:
        """The person of this login, and of these other spellings (an e-mail, a full name).

        Raises:
            InvalidRequest: a name is empty, of one character, or nobody's.
        """
        names = tuple(dict.fromkeys(Actor(text).person for text in (name, *also)))
        for one in names:
            if len(one) < _LEAST or "\0" in one:
                raise InvalidRequest(
                    f"not the name of a person: {one[:80]!r}",
                    advice=f"A name has at least {_LEAST} characters.",
                )
            if one == ANONYMOUS or one.startswith(_SYSTEM) or PSEUDONYM.fullmatch(one):
                raise InvalidRequest(f"{one} is no person")
        return cls(names)

    @property
    def name(self) -> str:
        """The login, canonically."""
        return self.names[0]

    def is_(self, text: str) -> bool:
        """True when this is their name and nothing else."""
        return (text.lower() if text.isascii() else text) in self.names or (
            Actor(text).person in self.names
        )

    def in_(self, text: str) -> bool:
        """True when a text names them."""
        if text.isascii():
            folded = text.lower()
            if not any(name in folded for name in self.names):
                return False
        return next(self._places(text), None) is not None

    def replaced(self, text: str, pseudonym: str) -> str:
        """The text with the pseudonym wherever it names them."""
        parts, end = [], 0
        for start, stop in self._places(text):
            if start >= end:
                parts += [text[end:start], pseudonym]
                end = stop
        return "".join([*parts, text[end:]])

    def _places(self, text: str) -> Iterator[tuple[int, int]]:
        # Start and end in the text as it is; it is searched in its folded form.
        folded, origin = _folded(text)
        found = sorted(
            {
                (start, -(start + len(name)))
                for name in self.names
                for start in _occurrences(folded, name)
                if (_may_stand if self.loose else _stands_alone)(folded, start, start + len(name))
            }
        )
        for start, negative in found:
            yield origin[start], origin[-negative]


def new_pseudonym() -> str:
    """``erased-`` and eight random hexadecimal digits: who it stands for is kept nowhere."""
    return f"erased-{secrets.token_hex(4)}"


def _folded(text: str) -> tuple[str, range | list[int]]:
    # With the place in the text each folded character comes from, and the end.
    if text.isascii():
        return text.lower(), range(len(text) + 1)
    folded, origin, start = [], [], 0
    for end in range(1, len(text) + 1):
        if end < len(text) and unicodedata.combining(text[end]):
            continue  # an accent belongs to the letter before it
        form = unicodedata.normalize("NFKC", text[start:end]).casefold()
        folded.append(form)
        origin += [start] * len(form)
        start = end
    return "".join(folded), [*origin, len(text)]


def _occurrences(text: str, name: str) -> Iterator[int]:
    start = text.find(name)
    while start >= 0:
        yield start
        start = text.find(name, start + 1)


def _stands_alone(text: str, start: int, end: int) -> bool:
    before, behind = text[max(0, start - 3) : start], text[end : end + 2]
    if not _PERCENT.match(before) and _goes_on(text[start], before[::-1]):
        return False
    return not _goes_on(text[end - 1], behind)


def _goes_on(edge: str, beside: str) -> bool:
    """True when a login goes on in these characters, read away from the edge of the name."""
    if not beside:
        return False
    if beside[0].isalpha():
        return not _GAPLESS.match(edge) and not _GAPLESS.match(beside)
    if beside[0].isalnum() or beside[0] == "_":
        return True
    return beside[0] in _INSIDE_A_LOGIN and len(beside) > 1 and beside[1].isalnum()


def _may_stand(text: str, start: int, end: int) -> bool:
    name, before = text[start:end], text[max(0, start - 6) : start]
    if len(name) >= _TELLING or not name.isascii():
        return True
    escaped = _PERCENT.search(before) or _ESCAPE.search(before)
    return (bool(escaped) or not before[-1:].isalnum()) and not text[end : end + 1].isalnum()
