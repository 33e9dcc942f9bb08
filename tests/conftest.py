"""How tests are shared out among processes, and which examples they take."""

from __future__ import annotations

import ast
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
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
