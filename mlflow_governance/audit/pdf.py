"""A report as PDF, from the tree the HTML is made of. The same report gives the same bytes."""

from __future__ import annotations

import io
import threading
import unicodedata
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from mlflow_governance.audit import content
from mlflow_governance.audit.content import Block, Cell, Facts, Mark, Report, Section, Table
from mlflow_governance.errors import ConfigurationError

_INK, _QUIET, _LINE = "#1c2430", "#5b6675", "#cfd5dd"
_TONES = {
    "good": ("#1d6b3c", "#e3f3e8"),
    "bad": ("#a4262c", "#fbe9e9"),
    "warn": ("#7a5200", "#fbf0d9"),
    "plain": ("#1f568c", "#e3eefa"),
}
_MARGIN = 42.0
_PADDING = 6.0
"""Of reportlab's frames, which tables do not keep to."""
_WIDTH = 595.27 - 2 * _MARGIN
_FONTS = {
    "Report": ("DejaVuSans.ttf", "Vera.ttf"),
    "Report-Bold": ("DejaVuSans-Bold.ttf", "VeraBd.ttf"),
    "Report-Mono": ("DejaVuSansMono.ttf", "Vera.ttf"),
}
_ONE_AT_A_TIME = threading.Lock()
"""reportlab keeps fonts and their subsets in the process."""


def render(report: Report) -> bytes:
    """The document, A4.

    Raises:
        ConfigurationError: the package that writes PDF is not installed.
    """
    try:
        from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate
    except ImportError as error:
        raise ConfigurationError(
            "a report as PDF needs the package reportlab", advice="pip install reportlab"
        ) from error
    with _ONE_AT_A_TIME:
        _fonts()
        out = io.BytesIO()
        document = BaseDocTemplate(
            out, invariant=1, title=report.title, subject=report.answer, lang="en",
            creator="mlflow-governance",
            leftMargin=_MARGIN - _PADDING, rightMargin=_MARGIN - _PADDING,
            topMargin=_MARGIN, bottomMargin=_MARGIN + 14,
        )  # fmt: skip
        frame = Frame(document.leftMargin, document.bottomMargin, document.width, document.height)
        # The foot is drawn last, so that whoever has the page read to them hears the answer first.
        page = PageTemplate(frames=[frame], onPageEnd=_foot(_set(report.foot)))
        document.addPageTemplates([page])
        document.build(_story(report))
    return out.getvalue()


def _foot(text: str) -> Callable[[Any, Any], None]:
    def draw(canvas: Any, document: Any) -> None:
        canvas.saveState()
        canvas.setFont("Report", 7)
        canvas.setFillColor(_QUIET)
        canvas.drawString(_MARGIN, 28, text[:120])
        canvas.drawRightString(_MARGIN + _WIDTH, 28, f"page {document.page}")
        canvas.restoreState()

    return draw


def _story(report: Report) -> list[Any]:
    from reportlab.platypus import Spacer

    story = [_paragraph(report.title, "over"), Spacer(1, 4), _answer(report), Spacer(1, 10)]
    for section in report.sections:
        story += _section(section)
    if any("⟨U+" in _set(text) for text in _texts(report)):
        story += [Spacer(1, 8), _paragraph(
            "Characters this document has no letters for are written as their number, like "
            "⟨U+4E2D⟩; so is whatever is written from right to left. report.html shows them.",
            "quiet",
        )]  # fmt: skip
    return story


def _answer(report: Report) -> Any:
    from reportlab.platypus import Table as Flow

    ink, ground = _TONES[report.tone]
    rows = [
        _paragraph(report.answer, "answer", ink),
        *(_paragraph(f"•  {said}", "ground") for said in report.grounds),
        _rich(
            f"This archive verifies without the registry: {_font(report.command, 'Report-Mono')}",
            "ground",
        ),
    ]
    box = Flow([[row] for row in rows], colWidths=[_WIDTH], splitInRow=1, hAlign="LEFT")
    box.setStyle([
        ("BACKGROUND", (0, 0), (-1, -1), ground), ("LINEBEFORE", (0, 0), (0, -1), 5, ink),
        ("LEFTPADDING", (0, 0), (-1, -1), 14), ("TOPPADDING", (0, 0), (-1, 0), 11),
        ("BOTTOMPADDING", (0, -1), (-1, -1), 11), ("TOPPADDING", (0, 1), (-1, -1), 1),
        ("BOTTOMPADDING", (0, 0), (-1, -2), 1.5),
    ])  # fmt: skip
    return box


def _section(section: Section) -> list[Any]:
    from reportlab.platypus import CondPageBreak, Spacer

    style = "chapter" if section.level == 2 else "heading"
    found: list[Any] = [CondPageBreak(90), _paragraph(section.title, style)]
    for block in section.blocks:
        if isinstance(block, Table):
            found += [CondPageBreak(60), _paragraph(block.about, "quiet")]
        found += [_block(block), Spacer(1, 6)]
    return found


def _block(block: Block) -> Any:
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Facts):
        rows = [(content.quiet(name), said) for name, said in block.rows]
        return _grid([[_cell(c) for c in row] for row in rows], (24, 76), head=False)
    return _cell(block.said, "said")


def _table(table: Table) -> Any:
    head = [_paragraph(name, "head") for name in table.head]
    rows = [[_cell(said) for said in row] for row in table.rows]
    return _grid([head, *rows], table.widths, head=True)


def _grid(rows: list[list[Any]], widths: tuple[int, ...], *, head: bool) -> Any:
    from reportlab.platypus import LongTable, Spacer

    if not rows:
        return Spacer(1, 0)
    shares = [_WIDTH * width / sum(widths) for width in widths]
    # A row higher than a page is split, too: nothing anybody wrote may stop the report.
    grid = LongTable(
        rows, colWidths=shares, repeatRows=int(head), splitInRow=1, hAlign="LEFT",
    )  # fmt: skip
    grid.setStyle([
        ("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 7), ("TOPPADDING", (0, 0), (-1, -1), 2.2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.6),
        *([("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE)] if head else []),
    ])  # fmt: skip
    return grid


def _cell(said: Cell, style: str = "cell") -> Any:
    return _rich(" ".join(map(_inline, said)), style)


def _inline(part: Any) -> str:
    if isinstance(part, Mark):
        ink = _TONES[part.tone][0] if part.tone != "plain" else _QUIET
        return f'<font color="{ink}">{_font(f"{part.sign} {part.words}", "Report-Bold")}</font>'
    if part.style == "code":
        return _font(part.words, "Report-Mono", size=7)
    if part.style == "quiet":
        return f'<font color="{_QUIET}">{_escaped(part.words)}</font>'
    return _font(part.words, "Report-Bold") if part.style == "strong" else _escaped(part.words)


def _font(text: str, name: str, size: float | None = None) -> str:
    sized = f' size="{size}"' if size else ""
    return f'<font name="{name}"{sized}>{_escaped(text)}</font>'


def _escaped(text: str) -> str:
    return escape(_set(text))


def _set(text: str) -> str:
    """A text with what the font has no letter for, or would set in the wrong order, in numbers."""
    if text.isascii():
        return text
    letters = _letters()
    return "".join(
        c
        if ord(c) in letters and unicodedata.bidirectional(c) not in ("R", "AL", "AN")
        else content.number(c)
        for c in text
    )


def _texts(report: Report) -> list[str]:
    found = [report.title, report.answer, *report.grounds]
    for section in report.sections:
        found.append(section.title)
        for block in section.blocks:
            found += [part.words for said in _cells(block) for part in said]
    return found


def _cells(block: Block) -> list[Cell]:
    if isinstance(block, Table):
        return [said for row in block.rows for said in row]
    return [said for _, said in block.rows] if isinstance(block, Facts) else [block.said]


def _paragraph(text: str, style: str, ink: str = "") -> Any:
    words = _escaped(text)
    return _rich(f'<font color="{ink}">{words}</font>' if ink else words, style)


def _rich(markup: str, style: str) -> Any:
    from reportlab.platypus import Paragraph as Flow

    return Flow(markup, _styles()[style])


@cache
def _styles() -> dict[str, Any]:
    from reportlab.lib.styles import ParagraphStyle

    def style(name: str, size: float, **more: Any) -> ParagraphStyle:
        font = {"fontName": "Report", "textColor": _INK, "splitLongWords": 1}
        return ParagraphStyle(name, **{**font, "fontSize": size, "leading": size * 1.35, **more})

    return {
        "over": style("over", 8.5, textColor=_QUIET),
        "answer": style("answer", 15, fontName="Report-Bold", leading=19),
        "ground": style("ground", 9),
        "chapter": style("chapter", 12, fontName="Report-Bold", spaceBefore=10, spaceAfter=4),
        "heading": style("heading", 10, fontName="Report-Bold", spaceBefore=7, spaceAfter=3),
        "said": style("said", 8.5),
        "quiet": style("quiet", 7.5, textColor=_QUIET),
        "head": style("head", 7.5, textColor=_QUIET),
        "cell": style("cell", 8),
    }


@cache
def _fonts() -> None:
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    for name, (wanted, other) in _FONTS.items():
        found = _dejavu() / wanted
        pdfmetrics.registerFont(TTFont(name, str(found) if found.is_file() else other))


@cache
def _letters() -> frozenset[int]:
    # What every face has: a text may stand in each of them.
    from reportlab.pdfbase import pdfmetrics

    faces = [set(pdfmetrics.getFont(name).face.charToGlyph) for name in _FONTS]
    return frozenset(set.intersection(*faces))


def _dejavu() -> Path:
    # MLflow brings matplotlib, and that the DejaVu fonts; importing it would cost a second.
    found = find_spec("matplotlib")
    origin = Path(found.origin) if found and found.origin else Path()
    return origin.parent / "mpl-data" / "fonts" / "ttf"
