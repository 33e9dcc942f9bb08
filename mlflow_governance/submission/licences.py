"""The licence of an installed distribution, as CycloneDX wants it.

Packages have said it in four ways over the years. They are asked in this order: the header
``License-Expression`` (PEP 639), the header ``License`` where it is a name and not a whole text,
the trove classifiers, and, where there is nothing or only "BSD License", which may be either of
two, the licence's own words. What is on no list stays a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from email.message import Message
from typing import Any

from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import licence_expression

_MAX_NAME = 100
_MAX_TEXT = 64 * 1024
_CLASSIFIER = "License ::"
_VAGUE = frozenset({"OSI Approved", "DFSG approved", "License", "Other/Proprietary License"})
_USUAL_FILES = (
    "LICENSE",
    "LICENSE.txt",
    "LICENSE.rst",
    "LICENSE.md",
    "COPYING",
    "licenses/LICENSE",
)
_MIT_WORDS = (
    "permission is hereby granted, free of charge, to any person obtaining a copy",
    "this permission notice shall be included in all copies",
)
_BSD_THIRD_CLAUSE = (
    "neither the name",
    "may not be used to endorse",
    "the names of its contributors",
)

Choices = list[dict[str, Any]]
ReadText = Callable[[str], str | None]


def choices(*texts: str) -> Choices:
    """CycloneDX ``licenses`` for texts that all apply: one expression, or names where one has none.

    CycloneDX 1.6 has room for one expression or for several licences, not for both.
    """
    said = [text.strip() for text in texts if text.strip()]
    expressions = [_expression(text) for text in said]
    if not all(expressions):
        return [{"license": {"name": text}} for text in said]
    if len(expressions) > 1:
        expressions = [" AND ".join(f"({e})" if " " in e else e for e in expressions)]
    return [{"expression": e} for e in expressions]


def of_distribution(about: Message, read_text: ReadText) -> Choices:
    """The licences a distribution states; empty where it states none.

    Args:
        about: its core metadata.
        read_text: a file below its ``.dist-info``, None where there is none.
    """
    expression = str(about.get("License-Expression") or "")
    header = str(about.get("License") or "").strip()
    name = header if len(header) <= _MAX_NAME and "\n" not in header else ""
    classified = [c for c in _classified(about) if c not in _VAGUE]
    if expression:
        return choices(expression)
    if _expression(name):
        return choices(name)
    if classified and all(map(_expression, classified)):
        return choices(*classified)
    if "BSD" in name or "BSD License" in classified or not (name or classified):
        variant = next(filter(None, map(_by_its_words, _texts(about, header, read_text))), "")
        if variant:
            others = [c for c in classified if c != "BSD License"]
            return choices(variant, *others)
    if licence_expression.parse(name).choices:
        return choices(name)
    return choices(*classified)


def _expression(text: str) -> str:
    try:
        return licence_expression.parse(text).expression
    except VerificationError:
        return ""


def _classified(about: Message) -> Iterable[str]:
    for classifier in about.get_all("Classifier") or []:
        if str(classifier).startswith(_CLASSIFIER):
            yield str(classifier).rsplit("::", 1)[-1].strip()


def _texts(about: Message, header: str, read_text: ReadText) -> Iterator[str]:
    if "\n" in header:
        yield header[:_MAX_TEXT]
    named = [str(name) for name in about.get_all("License-File") or []]
    for name in (*named, *(f"licenses/{name}" for name in named), *_USUAL_FILES):
        text = read_text(name) if ".." not in name else None
        if text:
            yield text[:_MAX_TEXT]


def _by_its_words(text: str) -> str:
    words = " ".join(text.split()).lower()
    if all(phrase in words for phrase in _MIT_WORDS) and "redistribution and use" not in words:
        return "MIT"
    if "redistribution and use in source and binary forms" not in words:
        return ""
    if "all advertising materials" in words:
        return "BSD-4-Clause"
    named = any(phrase in words for phrase in _BSD_THIRD_CLAUSE)
    return "BSD-3-Clause" if named else "BSD-2-Clause"
