"""What the pages point at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.docs.blocks import DOCS, ROOT

PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]+)?\)")
_TEST = re.compile(r"`((?:unit|contract|integration)/[\w/]+\.py)::(test_\w+)`")
_MODULE = re.compile(r"`((?:[a-z_]+/)+[a-z_]+\.py)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text("utf-8")):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{target} is not there"
        if anchor:
            assert anchor[1:] in _anchors(path), f"{target}{anchor} is not there"


def test_every_test_the_threat_model_names_exists() -> None:
    named = _TEST.findall((DOCS / "threat-model.md").read_text("utf-8"))

    assert len(named) > 40
    for file, test in named:
        source = (ROOT / "tests" / file).read_text("utf-8")
        assert f"def {test}(" in source, f"{file} has no {test}"


def test_every_module_the_architecture_names_exists() -> None:
    text = (DOCS / "architecture.md").read_text("utf-8")
    for module in _MODULE.findall(text):
        places = [ROOT / "mlflow_governance" / module, ROOT / module]
        assert any(place.is_file() for place in places), f"{module} is not there"


def test_every_room_stands_in_the_architecture() -> None:
    rows = re.findall(r"^\| (`.+?) \|", (DOCS / "architecture.md").read_text("utf-8"), re.M)
    package = ROOT / "mlflow_governance"
    rooms = {path.name for path in package.iterdir() if (path / "__init__.py").is_file()}

    assert rooms <= {word.strip("`") for row in rows for word in row.split(", ")}


def _anchors(page: Path) -> set[str]:
    # As GitHub makes them from headings.
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}
