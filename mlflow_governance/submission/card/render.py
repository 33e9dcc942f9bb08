"""The model card for people, as Markdown and as one self-contained HTML page.

The same card gives the same bytes. Texts of the author and of MLflow are texts: they can bring
neither HTML nor Markdown along, nor characters that show a reader another order than was signed.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from html import escape

from jinja2 import Environment, PackageLoader, StrictUndefined

from mlflow_governance.core.digest import Digest
from mlflow_governance.submission.card.author import AuthorCard
from mlflow_governance.submission.card.sections import sections
from mlflow_governance.submission.facts import Facts

_INLINE = re.compile(r"([\\`*_\[\]|~$])")
_AT_START = re.compile(r"^([#=]|[-+](?=[\s-]|$)|\d{1,9}(?=[.)](\s|$)))")
_BIDIRECTIONAL = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_UNSEEN = ("Cc", "Cs")  # control characters, lone surrogates
_REPLACED = "\N{REPLACEMENT CHARACTER}"


def markdown(name: str, model: Digest | str, author: AuthorCard, facts: Facts) -> str:
    """The card as Markdown (CommonMark with tables); ``model`` may be empty in a draft."""
    return _rendered("card.md", name, model, author, facts)


def html(name: str, model: Digest | str, author: AuthorCard, facts: Facts) -> str:
    """The card as an HTML page without scripts, links or anything fetched."""
    return _rendered("card.html", name, model, author, facts)


def plain(value: object) -> str:
    """A text as one line of visible characters."""
    line = " ".join(str(value).split())
    if line.isascii() and line.isprintable():
        return line
    return "".join(
        _REPLACED if c in _BIDIRECTIONAL or unicodedata.category(c) in _UNSEEN else c for c in line
    )


def escaped(value: object) -> str:
    """A text that means itself in Markdown: in a paragraph, a list entry and a table cell."""
    text = _INLINE.sub(r"\\\1", escape(plain(value), quote=False))
    start = _AT_START.match(text)
    if start is None:
        return text
    # "1." opens a list by its dot, which is what a backslash may stand before.
    at = start.end() if text[0].isdigit() else 0
    return f"{text[:at]}\\{text[at:]}"


def _rendered(template: str, name: str, model: str, author: AuthorCard, facts: Facts) -> str:
    page = _environment(template).get_template(template)
    return page.render(name=name, about=_about(model, author), sections=sections(author, facts))


def _about(model: str, author: AuthorCard) -> str:
    parts = {
        "content": model,
        "owned by": author.owner,
        "risk tier": author.risk_tier,
        "licence": author.licence,
    }
    line = ", ".join(f"{word} {text}" for word, text in parts.items() if text)
    return f"{line[:1].upper()}{line[1:]}"


@cache
def _environment(template: str) -> Environment:
    # ``finalize`` meets every value a template prints: what autoescape is for HTML.
    for_html = template.endswith(".html")
    return Environment(
        loader=PackageLoader("mlflow_governance.submission.card"),
        autoescape=for_html,  # noqa: S701  (Markdown has its own escaping, below)
        finalize=plain if for_html else escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
