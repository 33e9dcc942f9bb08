"""How tests are shared out among processes, and what a process does once for all its tests."""

from __future__ import annotations

import ast
import atexit
import gc
import os
from collections.abc import Generator, Iterator
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.policy import syntax

with suppress(ImportError):  # where each minor of MLflow is asked, it is not installed
    from hypothesis import settings

    # The suite gives the same answer twice; whoever hunts gets other examples each time.
    settings.load_profile("default" if "GOVERNANCE_HUNT" in os.environ else "ci")

SERVERS = {"big": "big", "told": "told", "wide": "world", "world": "world"}
"""Fixtures of tests/integration/conftest.py that start a server once in a process, and the group
of files that ask for them; some ask for a wide one and for the world."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each file in one process, as ``--dist loadfile``, and files that share a server in the same.

    Else each process would start all of them.
    """
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return shared_server(config.rootpath / file) or file

    return Together(config, log) if config.getvalue("dist") == "loadfile" else None


@cache
def shared_server(file: Path) -> str:
    """The group of a file of tests that asks for a server others use, too; else empty."""
    if file.parent != Path(__file__).parent / "integration":
        return ""
    own, asked = set(), set()
    for made in ast.parse(file.read_text("utf-8")).body:
        if isinstance(made, ast.FunctionDef):
            fixture = any("fixture" in ast.unparse(d) for d in made.decorator_list)
            if fixture:
                own.add(made.name)
            if fixture or made.name.startswith("test_"):
                asked |= {argument.arg for argument in made.args.args}
    return next((SERVERS[name] for name in sorted((asked - own) & SERVERS.keys())), "")


gc.disable()  # what is imported and collected stays: not to look it over saves seconds
atexit.register(gc.freeze)


def pytest_collection_finish() -> None:
    """Tests make garbage."""
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """A command writes into the environment of its process, which here is that of all tests."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@pytest.fixture(scope="session", autouse=True)
def modules_are_parsed_once() -> Iterator[None]:
    """Nearly every bundle is the shipped one with a module changed; nothing changes a tree."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syntax, "_parsed", lru_cache(256)(syntax._parsed))
        yield
