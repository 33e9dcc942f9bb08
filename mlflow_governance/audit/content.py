"""A report before it is HTML or PDF: sections of paragraphs, facts and tables of inline texts.

Both are rendered from one tree, so that they cannot come to say different things.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Tone = Literal["good", "bad", "warn", "plain"]
_JOINERS = "\u200c\u200d"
_LONGEST = 600
"""Characters of one text: a longer one is cut, and says so. The archive has the whole."""
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


@dataclass(frozen=True, slots=True)
class Text:
    """Some words."""

    words: str
    style: Literal["plain", "code", "quiet", "strong"] = "plain"


@dataclass(frozen=True, slots=True)
class Mark:
    """A status: a word and its tone, told apart by a sign and not by colour alone."""

    words: str
    tone: Tone

    @property
    def sign(self) -> str:
        """What stands before it."""
        return {"good": "✓", "bad": "✕", "warn": "○", "plain": "-"}[self.tone]


Inline = Text | Mark
Cell = tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph."""

    said: Cell


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with what stands for each."""

    rows: tuple[tuple[str, Cell], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table; ``widths`` are shares of the line, one a column. The first column names the row."""

    about: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    widths: tuple[int, ...]


Block = Paragraph | Facts | Table


@dataclass(frozen=True, slots=True)
class Section:
    """A heading over blocks; ``level`` 2 is a chapter."""

    title: str
    blocks: tuple[Block, ...]
    level: int = 2
    key: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The whole report.

    Args:
        title: what it is about.
        answer: the first sentence, and all many readers want to know.
        tone: what kind of answer that is.
        grounds: what the answer rests on, a sentence each.
        command: how to verify the archive.
        sections: the rest.
        foot: at the foot of each page.
    """

    title: str
    answer: str
    tone: Tone
    grounds: tuple[str, ...]
    command: str
    sections: tuple[Section, ...]
    foot: str


def visible(text: object) -> str:
    """A text as one line in which nothing is hidden and nothing turns the reading direction.

    A character that shows nothing, or changes how others are shown, is written as its number.
    """
    line = " ".join(str(text).split())
    if not (line.isascii() and line.isprintable()):
        line = "".join(_seen(c) for c in line)
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "… (cut)"


def _seen(char: str) -> str:
    if char in _JOINERS or unicodedata.category(char) not in _UNSEEN:
        return char
    return number(char)


def number(char: str) -> str:
    """How a character is written that cannot be shown."""
    return f"⟨U+{ord(char):04X}⟩"


def plain(text: object) -> Cell:
    """Plain words."""
    return (Text(visible(text)),)


def code(text: object) -> Cell:
    """Something to be compared letter by letter."""
    return (Text(visible(text), "code"),)


def quiet(text: object) -> Cell:
    """Words of less weight."""
    return (Text(visible(text), "quiet"),)


def strong(text: object) -> Cell:
    """Words of more weight."""
    return (Text(visible(text), "strong"),)


def mark(words: str, tone: Tone) -> Cell:
    """A status."""
    return (Mark(words, tone),)


def listed(names: Iterable[str]) -> str:
    """``a, b and c``."""
    found = list(names)
    return " and ".join(filter(None, [", ".join(found[:-1]), *found[-1:]]))
