"""Every route of the installed MLflow is classified, and as what it is.

A failure here after an upgrade is the list of what the new MLflow opened. Look at what each
route reaches, put it into the group of its kind in ``plugin/route_table.py``, and see that the
gate the group names stands behind it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from tests.contract.mlflow.reachable import REGISTRY, REPOSITORIES, reaching

MODES = [("none", ""), ("basic", "/ml")]
LISTINGS = (
    "/api/2.0/mlflow/artifacts/list",
    "/api/2.0/mlflow-artifacts/artifacts",
    "/api/2.0/mlflow/logged-models/<model_id>/artifacts/directories",
)
JOBS = {
    "invoke_genai_evaluate",
    "invoke_issue_detection",
    "invoke_scorer",
    "optimize_prompts",
    "run_online_session_scorer",
    "run_online_trace_scorer",
    "scheduled_issue_detection",
}
_Listing = list[dict[str, Any]]


@pytest.fixture(scope="module")
def listings() -> Mapping[tuple[str, str], _Listing]:
    """Every route in every mode, with what the inventory says of it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "_MLFLOW"))}
    command = (sys.executable, "-m", "tests.contract.mlflow.listing")
    running = {
        mode: subprocess.Popen([*command, *mode], env=environment, stdout=subprocess.PIPE)
        for mode in MODES
    }
    return {mode: json.loads(process.communicate()[0]) for mode, process in running.items()}


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_unknown(listings: Mapping[tuple[str, str], _Listing], mode: Any) -> None:
    unknown = [f"{r['method']} {r['path']}" for r in listings[mode] if r["reach"] is None]

    assert unknown == []


@pytest.mark.parametrize("mode", MODES)
def test_the_list_is_of_the_whole_server(
    listings: Mapping[tuple[str, str], _Listing], mode: Any
) -> None:
    found = {(r["source"], r["method"], r["path"].removeprefix(mode[1])) for r in listings[mode]}

    assert {
        ("flask", "POST", "/api/2.0/mlflow/model-versions/transition-stage"),
        ("flask", "GET", "/get-artifact"),
        ("flask", "GET", "/ajax-api/2.0/mlflow/model-versions/get-download-uri"),
        ("fastapi", "POST", "/v1/traces"),
        ("fastapi", "MOUNT", "flask"),
        ("graphql", "QUERY", "mlflowSearchModelVersions"),
    } <= found
    admin = ("flask", "PATCH", "/api/2.0/mlflow/users/update-admin")
    assert (admin in found) is (mode[0] == "basic")
    assert len(found) > 900


def test_what_opens_an_artifact_repository_hands_out_bytes(
    listings: Mapping[tuple[str, str], _Listing],
) -> None:
    opening = reaching(REPOSITORIES)

    misjudged = [
        f"{route['method']} {route['path']} is {route['reach']}"
        for route in listings[MODES[1]]
        if opening & set(route["handlers"])
        and route["reach"] != "BYTES"
        and route["method"] != "OPTIONS"
        and not route["path"].replace("/ajax-api/", "/api/").endswith(LISTINGS)
    ]

    assert {"_download_artifact", "get_trace_artifact_handler"} <= opening
    assert misjudged == []


def test_what_opens_the_registry_is_not_harmless(
    listings: Mapping[tuple[str, str], _Listing],
) -> None:
    opening = reaching(REGISTRY)

    misjudged = [
        f"{route['method']} {route['path']}"
        for route in listings[MODES[1]]
        if opening & set(route["handlers"]) and route["reach"] == "HARMLESS"
    ]

    assert {"_create_model_version", "get_model_version_artifact_handler"} <= opening
    assert misjudged == []


def test_a_get_that_hands_out_bytes_has_no_twin_that_does_not(
    listings: Mapping[tuple[str, str], _Listing],
) -> None:
    reach = {(r["method"], r["path"]): r["reach"] for r in listings[MODES[1]]}

    for (method, path), found in reach.items():
        twin = reach.get((method, path.replace("/ajax-api/", "/api/")), found)
        assert twin == found, path


def test_the_jobs_that_can_be_asked_for_are_known() -> None:
    from mlflow.server import jobs

    assert set(jobs._ALLOWED_JOB_NAME_LIST) <= JOBS
