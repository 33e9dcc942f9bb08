"""The report opens with the answer, says the same twice, and lets nobody's words become more."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mlflow_governance.audit import content, html, pdf
from mlflow_governance.audit.content import Facts, Paragraph, Report, Section, Table
from mlflow_governance.audit.outcomes import verdict
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import GovernanceError
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import transition
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.audit.bundle_builders import CHURN, NOVEMBER, Audited, Bundle
from tests.unit.workflows.builders import ALICE, PIA, SAM

HOSTILE = "<script>alert('x')<\u202egnp.模型 & שלום"
MALLORY = Actor("<img src=x onerror=alert(1)>", ("security",), authenticated=True)
_VOID = {"meta", "link", "br", "col", "img", "input", "hr"}


class Page(HTMLParser):
    """Tags in order, and whether they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    made = Audited(tmp_path_factory.mktemp("report"))
    made.approved("churn")
    return made


@pytest.fixture(scope="module")
def approved(registry: Audited) -> Bundle:
    return registry.take(CHURN)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    made = Audited(tmp_path_factory.mktemp("hostile"))
    ref = made.accepted(HOSTILE, location="place")
    transition(made.ports, Request(ALICE, ref), Stage.STAGING)
    approve(
        made.ports, Request(MALLORY, ref, "<b>" + "long " * 700 + "\u202e"), "security", "reject"
    )
    return made.take(ref, by=replace(MALLORY, admin=True))


def words(report: Report) -> list[str]:
    return [report.title, report.answer, *report.grounds, *pdf._texts(report)]


def test_the_answer_stands_first(approved: Bundle) -> None:
    assert approved.made.answer.startswith("Yes: churn/1 is Approved since 2026-11-21")
    body = approved.html[approved.html.index("<main>") :]
    text = " ".join(re.sub(r"<[^>]+>", " ", body).split())
    assert text.index(approved.made.answer) < 100
    assert approved.pdf.index(approved.made.answer) < 100
    for said in ("approved by pia (product) and sam (security)", "Submitted by alice",
                 "16 of 16 checks passed", "python verify.py bundle ."):  # fmt: skip
        assert said in text[:900]
        assert said in approved.pdf[:900]


@pytest.mark.parametrize(
    ("stage", "answer", "ground"),
    [
        (Stage.REVOKED, "No. churn/1 is Revoked since", "Withdrawn by sam"),
        (Stage.QUARANTINED, "No. churn/1 is Quarantined since", "Before that it was released"),
        (Stage.DEPRECATED, "Yes, on its way out: churn/1 was released", "approved by pia"),
    ],
)
def test_each_stage_has_its_answer(stage: Stage, answer: str, ground: str, tmp_path: Path) -> None:
    registry = Audited(tmp_path)
    registry.approved("churn")
    if stage is Stage.DEPRECATED:
        transition(registry.ports, Request(PIA, CHURN), stage)
    else:
        withdraw(registry.ports, Request(SAM, CHURN, "a leak"), stage)

    found = registry.take(CHURN)

    assert found.made.answer.startswith(answer)
    assert ground in found.html


def test_a_version_on_its_way_says_what_it_lacks(tmp_path: Path) -> None:
    registry = Audited(tmp_path)
    ref = registry.accepted("churn")
    transition(registry.ports, Request(ALICE, ref), Stage.STAGING)
    with pytest.raises(Exception, match="PRO-012"):
        transition(registry.ports, Request(PIA, ref), Stage.APPROVED)

    found = registry.take(ref)

    assert found.made.answer.startswith("No. churn/1 is Staging")
    assert "PRO-012: risk tier high needs the approval" in found.html


def test_the_page_is_whole_and_fetches_nothing(approved: Bundle, hostile: Bundle) -> None:
    for bundle in (approved, hostile):
        page = Page(bundle.html)
        names = {tag for tag, _ in page.tags}
        assert not names & {"script", "link", "img", "iframe", "form", "object", "base"}
        assert not any(name.startswith("on") or name == "src" for _, a in page.tags for name in a)
        assert {a["href"][:1] for tag, a in page.tags if tag == "a" and a["href"]} == {"#"}
        assert "default-src 'none'" in bundle.html


def test_the_page_can_be_read_without_seeing_it(approved: Bundle) -> None:
    page = Page(approved.html)
    ids = [a["id"] for _, a in page.tags if "id" in a]

    assert len(ids) == len(set(ids))
    assert next(a for tag, a in page.tags if tag == "html")["lang"] == "en"
    assert sum(tag == "h1" for tag, _ in page.tags) == 1
    for tag, attributes in page.tags:
        if tag == "section":
            assert attributes["aria-labelledby"] in ids
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
    assert sum(tag == "table" for tag, _ in page.tags) == sum(
        tag == "caption" for tag, _ in page.tags
    )


def test_what_somebody_wrote_stays_text(hostile: Bundle) -> None:
    assert "&lt;script&gt;alert" in hostile.html
    assert "&lt;img src=x onerror=alert(1)&gt;" in hostile.html
    assert "<script>alert('x')" in hostile.pdf
    assert "… (cut)" in hostile.html


def test_nothing_turns_the_reading_direction(hostile: Bundle) -> None:
    for text in (hostile.html, hostile.pdf, hostile.files["README.txt"].decode()):
        assert "\u202e" not in text
        assert "⟨U+202E⟩" in text


def test_letters_the_pdf_has_none_for_are_told_as_numbers(hostile: Bundle) -> None:
    squeezed = hostile.pdf.replace(" ", "")

    assert "模型" in hostile.html
    assert "שלום" in hostile.html
    assert "⟨U+6A21⟩⟨U+578B⟩" in squeezed
    assert "⟨U+05E9⟩" in squeezed
    assert "report.html shows them" in hostile.pdf


def test_both_say_the_same(registry: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Report] = []
    monkeypatch.setattr(html, "render", lambda r: seen.append(r) or _HTML(r))  # type: ignore[func-returns-value]

    found = registry.take(CHURN)

    page = "".join(re.sub(r"<[^>]+>", "", found.html).split())
    paper = "".join(found.pdf.split())
    said = {"".join(w.split()) for w in words(seen[0]) if len(w) < 30}
    assert len(said) > 150
    escaped = {w.replace("&", "&amp;").replace("'", "&#39;") for w in said}
    assert not {w for w in escaped if w not in page}
    assert not {w for w in said if w not in paper}


_HTML = html.render


def test_the_same_report_gives_the_same_bytes() -> None:
    report = _report("x")

    assert html.render(report) == html.render(report)
    assert pdf.render(report) == pdf.render(report)


@pytest.mark.parametrize("text", ["x" * 5000, "x " * 5000, "", "<a&b>", "\ud800", "ﷺ" * 400])
def test_no_text_stops_a_report(text: str) -> None:
    report = _report(text)

    assert pdf.render(report).startswith(b"%PDF-")
    assert Page(html.render(report).decode("utf-8")).tags


def test_a_table_of_thousands_of_rows_is_set() -> None:
    row = (content.plain("a"), content.mark("passed", "good"))
    table = Table("many", ("A", "B"), (row,) * 3000, (50, 50))
    report = replace(_report("x"), sections=(Section("Many", (table,), key="s1"),))

    assert pdf.render(report).startswith(b"%PDF-")


def test_an_empty_table_and_an_empty_section_are_set() -> None:
    sections = (
        Section("Nothing", (), key="s1"),
        Section("None", (Table("none", ("A",), (), (100,)), Facts(())), key="s2"),
    )

    assert pdf.render(replace(_report("x"), sections=sections)).startswith(b"%PDF-")


def test_a_report_of_a_period_tells_each_version(tmp_path: Path) -> None:
    registry = Audited(tmp_path)
    registry.approved("churn")
    registry.accepted("fraud")

    found = registry.take(NOVEMBER)

    assert "about 2 versions: 1 release" in found.made.answer
    assert "fraud/1: What was verified" in found.html
    assert "churn/1: Model card" in found.pdf


def _report(text: str) -> Report:
    said = content.visible(text)
    cells = (content.plain(text), content.code(text))
    return Report(
        title=said, answer=said, tone="bad", grounds=(said,), command="python verify.py",
        sections=(
            Section(said, (Paragraph(content.plain(text)),
                           Table("t", ("A", "B"), (cells,), (10, 90))), key="s1"),
        ),
        foot=said,
    )  # fmt: skip


def test_a_version_name_is_no_path() -> None:
    from mlflow_governance.audit.bundle import default_name
    from mlflow_governance.workflows.evidence_export import Asked, OfVersion

    hostile = Asked(ALICE, OfVersion(VersionRef("..<x>\"' é", 1)))

    assert re.fullmatch(r"evidence-[\w.-]+\.zip", default_name(hostile))
    assert default_name(Asked(ALICE, NOVEMBER)) == "evidence-2026-11-01-to-2026-12-01.zip"


def test_that_it_verified_does_not_say_that_it_is_good(tmp_path: Path) -> None:
    registry = Audited(tmp_path)
    registry.outcomes.spoiled = {
        Kind.VULNERABILITIES: Outcome.passed(vulnerabilities=[], advisories=0, advisories_at=None),
        Kind.CANARY: Outcome.passed(result="ROLLBACK", at="2026-11-20T00:00:00Z"),
    }
    ref = registry.register("churn")
    with suppress(GovernanceError):
        registry.settle(ref)

    found = registry.take(ref)

    assert "There were no advisories, so no vulnerability was looked for." in found.pdf
    assert "nothing looked up" in found.html
    assert "ROLLBACK" in found.html
    after = found.html[found.html.index("<bdi>RA-5</bdi>") :]
    assert "not found: evidence:vulnerabilities" in after[: after.index("</tr>")]


@pytest.mark.parametrize(
    ("kind", "facts", "word", "counts"),
    [
        ("test_result", {"result": "FAILED"}, "FAILED", False),
        ("test_result", {"result": "PASSED"}, "passed", True),
        ("malware", {"verdict": "refused"}, "refused", False),
        ("model_card", {"complete": False}, "incomplete", False),
        ("slo", {"met": False}, "not met", False),
        ("reproduction", {"matches": False}, "no match", False),
        ("vulnerabilities", {"advisories_at": "x", "vulnerabilities": [{}]}, "1 known", True),
        ("vulnerabilities", {"advisories_at": "x", "vulnerabilities": []}, "none known", True),
        ("vulnerabilities", {}, "nothing looked up", False),
        ("signature", {}, "passed", True),
    ],
)
def test_a_verdict_is_what_the_facts_say(
    kind: str, facts: dict[str, object], word: str, counts: bool
) -> None:
    found = verdict(kind, {"status": "passed", "facts": facts})

    assert (found.word, found.counts) == (word, counts)
    assert not verdict(kind, {"status": "missing", "facts": {}}).counts
