"""Which of MLflow's endpoints can get to an artifact repository or to the registry store.

Read from MLflow's source, by name and across its server modules: whoever mentions a function
that gets there gets there, too. That takes in too much rather than too little.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

REPOSITORIES = frozenset(
    {
        "_get_artifact_repo_mlflow_artifacts",
        "_get_artifact_repository_for_uri",
        "get_artifact_repository",
        "send_file",
    }
)
REGISTRY = frozenset({"_get_model_registry_store"})
_BESIDES = ("utils/promptlab_utils.py",)
"""Modules outside the server that its handlers leave such work to."""
_EVERYWHERE = frozenset(
    {
        "get_endpoints",
        "initialize_backend_stores",
        "build_server_info_payload",
        "_get_server_info",
        "create_fastapi_app",
        "create_app",
    }
)
"""Mention every handler, or ask a repository only what kind it is."""


def reaching(goals: Iterable[str]) -> frozenset[str]:
    """Names of functions in MLflow's server that get to one of the goals."""
    reached = set(goals)
    mentions = _mentions()
    while more := {name for name, used in mentions.items() if used & reached} - reached:
        reached |= more
    return frozenset(reached - set(goals))


@cache
def _mentions() -> dict[str, frozenset[str]]:
    import mlflow

    root = Path(mlflow.__file__).parent
    files = [*(root / "server").rglob("*.py"), *(root / name for name in _BESIDES)]
    found: dict[str, set[str]] = {}
    for file in files:
        if "auth" in file.relative_to(root).parts:
            continue  # looks things up to judge a request, and hands out nothing
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.setdefault(node.name, set()).update(_names(node))
    return {name: frozenset(used) for name, used in found.items() if name not in _EVERYWHERE}


def _names(function: ast.AST) -> Iterable[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
