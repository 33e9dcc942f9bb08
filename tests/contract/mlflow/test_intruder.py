"""The whole governed application refuses what a plugin puts into it after its start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

KINDS = [(auth, server) for auth in ("basic", "none") for server in ("uvicorn", "gunicorn")]
_Answers = Mapping[str, tuple[int, str]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, str], _Answers]:
    """What each kind of application answers, by path."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "_MLFLOW"))}
    command = [sys.executable, "-m", "tests.contract.mlflow.intruder"]
    running = {}
    for kind in KINDS:
        arguments = [*command, str(tmp_path_factory.mktemp("intruder")), *kind]
        running[kind] = subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE)
    return {kind: json.loads(process.communicate()[0]) for kind, process in running.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_an_intruder_is_refused(answers: Mapping[Any, _Answers], kind: Any) -> None:
    status, body = answers[kind]["/intruder"]

    assert status == 403
    assert "does not know the route GET /intruder" in json.loads(body)["message"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_intruder_past_flask_is_refused_where_it_can_be(
    answers: Mapping[Any, _Answers], kind: Any
) -> None:
    status, body = answers[kind]["/intruder-in-fastapi"]

    # Without uvicorn nothing but Flask answers.
    assert status == (403 if kind[1] == "uvicorn" else 404)
    assert "secret" not in body


@pytest.mark.parametrize("kind", KINDS)
def test_everything_else_is_served(answers: Mapping[Any, _Answers], kind: Any) -> None:
    assert answers[kind]["/version"][0] == 200
    assert answers[kind]["/api/2.0/mlflow-governance/health"][0] == 200
