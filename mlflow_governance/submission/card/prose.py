"""Texts below the headings of a Markdown page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import unescape

_HEADING = re.compile(r"#{1,6}\s")
_FENCE = re.compile(r"\s{0,3}(```|~~~)")
_ENTRY = re.compile(r"\s{0,3}(?:[-*+]|\d{1,9}[.)])\s+(.*)")
_BACKSLASH = re.compile(r"\\([!-/:-@\[-`{-~])")
_NOTHING = {"_not stated_", "[more information needed]"}


def sections(page: str) -> dict[str, list[str]]:
    """Heading, in lower case and without its number → its paragraphs and list entries.

    What stands before the first heading is left out, and so are code, tables and quotes. Of two
    headings that read alike the texts are joined.
    """
    found: dict[str, list[list[str]]] = {}
    texts: list[list[str]] = []
    fenced = going_on = False
    for line in _without_comments(page).splitlines():
        if _FENCE.match(line):
            fenced, going_on = not fenced, False
        elif fenced:
            continue
        elif _HEADING.match(line):
            texts, going_on = found.setdefault(heading_key(line.strip("# \t")), []), False
        elif not line.strip() or line.lstrip().startswith(("|", ">", "<")):
            going_on = False
        elif entry := _ENTRY.fullmatch(line):
            texts.append([entry[1]])
            going_on = True
        elif going_on:
            texts[-1].append(line.strip())
        elif not line.startswith(("    ", "\t")):
            texts.append([line.strip()])
            going_on = True
    return {heading: _said(" ".join(lines) for lines in texts) for heading, texts in found.items()}


def unescaped(text: str) -> str:
    """A text without the escapes of Markdown and HTML."""
    return unescape(_BACKSLASH.sub(r"\1", text))


def _without_comments(page: str) -> str:
    before, *after = page.split("<!--")
    return before + "".join(part.partition("-->")[2] for part in after)


def _said(texts: Iterable[str]) -> list[str]:
    return [unescaped(text) for text in texts if text.strip().lower() not in _NOTHING]


def heading_key(heading: str) -> str:
    """A heading as :func:`sections` names it: lower case, without number and punctuation."""
    words = re.sub(r"^\d+\.\s*", "", unescaped(heading)).casefold()
    return " ".join(re.sub(r"[^\w\s-]", " ", words).split())
