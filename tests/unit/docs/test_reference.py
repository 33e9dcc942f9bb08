"""The reference pages say what the code says."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.unit.docs.blocks import DOCS

NAMES = (
    *("commands.md", "settings.md", "rest.md", "policy-checks.md", "events.md", "errors.md"),
    *("environment.md", "routes.md", "validation.md", "conformance.md", "../operations.md"),
)


@pytest.fixture(scope="module")
def reference() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        yield importlib.import_module("reference")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_what_the_code_gives(reference: ModuleType, name: str) -> None:
    written = (reference.OUTPUT / name).read_text("utf-8")

    assert written == reference.PAGES[name](), "run: make docs"


def test_every_page_is_compared(reference: ModuleType) -> None:
    assert set(NAMES) == set(reference.PAGES)
    assert {path.name for path in reference.OUTPUT.iterdir()} == {
        name for name in NAMES if "/" not in name
    }
