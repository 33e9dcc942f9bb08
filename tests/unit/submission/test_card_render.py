"""The card people read: everything in it, nothing smuggled, the same bytes each time."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_governance.evidence.model_card import ANNEX_IV
from mlflow_governance.submission.card import AuthorCard, html, markdown, parse_card
from mlflow_governance.submission.card.prose import unescaped
from mlflow_governance.submission.card.render import escaped, plain
from mlflow_governance.submission.facts import Dataset
from tests.unit.submission.builders import CARD, DIGEST, FULL_CARD, facts

FULL = parse_card(FULL_CARD.encode())
NASTY = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![](http://tracker.example/x.png)",
    "a\n\n# Approved by the board",
    "a\r\n---\r\n",
    "# heading",
    "- entry",
    "1. entry",
    "> quote",
    "```\ncode",
    "| a | b |",
    "*strong* _em_ ~~gone~~ `code`",
    "[a]: javascript:alert(1)",
    "<javascript:alert(1)>",
    "&lt;script&gt;",
    "\\[x](y)",
    "===",
    "    code",
    "a\u2028# heading",
    "</td></table><h1>x</h1>",
    '" onmouseover="alert(1)',
    "{{ 7*7 }}{% raw %}",
]
_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "ul", "li"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}


class Page(HTMLParser):
    """Collects the tags, attributes and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[Any]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def everywhere(text: str) -> tuple[AuthorCard, Any]:
    """A card and facts that say one text wherever a text can stand."""
    quoted = f"{plain(text)}"
    author = AuthorCard(
        purpose=(quoted,), risks=(quoted,), safeguards=(quoted,), owner=quoted,
        annex_iv={"risk_management": (quoted,)},
    )  # fmt: skip
    return author, facts(
        metrics={text: 1.0},
        parameters={text: text},
        datasets=(Dataset(text, text, source=text),),
        description=text,
    )


def test_everything_is_there() -> None:
    about = facts(inputs=("double age",), architecture="sklearn 1.9", description="A first try.")
    text, page = markdown("churn", DIGEST, FULL, about), html("churn", DIGEST, FULL, about)

    for part in (
        *(
            DIGEST,
            "alice, bob",
            "Apache-2.0 OR MIT",
            "Rank customers for a call.",
            "Drift, weekly.",
        ),
        *("The old are called less.", "no safeguard", "0.912346", "mlflow:abcd1234", "Above 65"),
        *("legitimate\\_interests", "pseudonymised", "1.5 kWh", "double age", "sklearn 1.9"),
        *("A first try.", "Article 9.", "hospital", "elsewhere", *ANNEX_IV.values()),
    ):
        assert part in text
        assert part.replace("\\", "") in page
    assert "&lt;b&gt;" in text
    assert "&lt;b&gt;" in page


def test_what_nobody_said_is_said_to_be_empty() -> None:
    text = markdown("churn", "", AuthorCard(), facts(metrics={}, datasets=(), parameters={}))
    page = html("churn", "", AuthorCard(), facts(metrics={}, datasets=(), parameters={}))

    assert text.count("_not stated_") == page.count('class="empty">not stated') == 12


def test_the_same_card_gives_the_same_bytes() -> None:
    backwards = facts(metrics=dict(reversed(facts().metrics.items())))

    for write in (markdown, html):
        assert write("churn", DIGEST, FULL, facts()) == write("churn", DIGEST, FULL, backwards)


@pytest.mark.parametrize("text", NASTY)
def test_texts_bring_no_markdown_along(text: str) -> None:
    commonmark = pytest.importorskip("markdown_it").MarkdownIt("gfm-like", {"linkify": False})
    harmless, nasty = (markdown("m", DIGEST, *everywhere(said)) for said in ("x", text))

    def shape(page: str) -> list[str]:
        tokens = commonmark.parse(page)
        inner = [child for token in tokens for child in token.children or ()]
        return [token.type for token in [*tokens, *inner] if token.type != "text_special"]

    kept = [kind for kind in shape(nasty) if kind != "text"]
    assert kept == [kind for kind in shape(harmless) if kind != "text"]


@pytest.mark.parametrize("text", NASTY)
def test_texts_bring_no_html_along(text: str) -> None:
    harmless, nasty = (Page(html("m", DIGEST, *everywhere(said))) for said in ("x", text))

    assert nasty.tags == harmless.tags
    assert set(nasty.tags) <= _TAGS
    assert nasty.attributes == {
        *("lang", "charset", "http-equiv", "content", "name", "scope"),
    } | ({"class"} & harmless.attributes)
    assert plain(text) in nasty.texts


def test_the_page_fetches_nothing_and_runs_nothing() -> None:
    page = html("churn", DIGEST, FULL, facts())

    assert "default-src 'none'" in page
    assert "href" not in page
    assert "src=" not in page


def test_characters_that_reorder_a_line_are_shown_as_what_they_are() -> None:
    author = AuthorCard(purpose=("safe \u202eelbisnes\u2069 \x07\ud800",))

    for write in (markdown, html):
        text = write("churn", DIGEST, author, facts())
        assert "safe \ufffdelbisnes\ufffd \ufffd\ufffd" in text
        text.encode("utf-8")


@given(st.text(max_size=40))
@settings(max_examples=300)
def test_an_escaped_text_means_itself(text: str) -> None:
    assert unescaped(escaped(text)) == plain(text)
    assert "\n" not in escaped(text)


def test_a_simple_card_reads_well() -> None:
    text = markdown("tumour", DIGEST, parse_card(CARD.encode()), facts())

    assert text.startswith(
        f"# tumour\n\nContent {DIGEST}, owned by alice, risk tier high\n\n"
        "## Purpose\n\n- Flag tumours that look malignant.\n\n## Audience\n"
    )
    assert "| accuracy | 0.97 | \N{EN DASH} | \N{EN DASH} |\n" in text
