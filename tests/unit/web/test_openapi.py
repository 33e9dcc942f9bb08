"""The description of the interface agrees with the interface."""

from __future__ import annotations

import base64
from typing import Any

import jsonschema_rs
import pytest

from mlflow_governance.core.stage import Stage
from mlflow_governance.web import api
from tests.unit.web.builders import Registry, registry


@pytest.fixture
def governed() -> Registry:
    made = registry()
    made.add("churn", 1, Stage.STAGING)
    made.add("churn", 2, Stage.NONE)
    made.app().test_client().post(
        api.API + "/approvals",
        json={"name": "churn", "version": 1, "role": "security", "reason": "seen"},
    )
    return made


def described(governed: Registry) -> dict[str, Any]:
    found: dict[str, Any] = governed.app().test_client().get(api.API + "/openapi.json").get_json()
    return found


def test_every_route_is_described_and_nothing_else(governed: Registry) -> None:
    document = described(governed)

    told = {(m, path) for path, item in document["paths"].items() for m in item}
    assert told == {(route.method.lower(), api.API + route.path) for route in api.ROUTES}
    operations = [op for item in document["paths"].values() for op in item.values()]
    assert len({op["operationId"] for op in operations}) == len(operations)
    assert all(op["summary"].endswith(".") for op in operations)


def test_only_public_routes_are_described_as_open(governed: Registry) -> None:
    paths = described(governed)["paths"]

    for route in api.ROUTES:
        operation = paths[api.API + route.path][route.method.lower()]
        assert (operation["security"] == []) is route.public


def test_every_schema_is_a_valid_json_schema(governed: Registry) -> None:
    for route in api.ROUTES:
        for schema in (route.answer or {}, *(wanted.schema() for wanted in route.fields)):
            jsonschema_rs.meta.validate(schema)


_VERSION = {"name": "churn", "version": 1}
_ABOUT_POLICY = ("/policy/propose", "/policy/approvals", "/policy/activate")
"""These need two bundles: tests/unit/web/test_policy_views.py."""
_ABOUT_THE_PAST = ("/decision/explanation", "/as-of")
"""These need a real ledger: tests/unit/web/test_past_views.py."""
_REQUESTS: dict[str, dict[str, Any]] = {
    "/version": _VERSION,
    "/aliases": {"name": "churn"},
    "/history": _VERSION,
    "/approvals": {**_VERSION, "role": "security", "reason": "again"},
    "/revoke": {**_VERSION, "reason": "x"},
    "/quarantine": {**_VERSION, "reason": "x"},
    "/judge": {"name": "churn", "version": 2},
    "/evidence": {
        **_VERSION,
        "file": "attestations/a.intoto.json",
        "content": base64.b64encode(b"{}").decode(),
    },
    "/ledger/proof": {"index": 0},
    "/ledger/consistency": {"old": 1},
}


@pytest.mark.parametrize(
    "route",
    [r for r in api.ROUTES if r.answer and r.path not in _ABOUT_POLICY + _ABOUT_THE_PAST],
    ids=lambda route: route.path,
)
def test_a_real_answer_is_what_its_schema_says(governed: Registry, route: api.Route) -> None:
    client, request = governed.app().test_client(), _REQUESTS.get(route.path, {})
    if route.path == "/decision":
        request = {"id": _some_decision(governed)}
    if route.path == "/restore":
        client.post(api.API + "/quarantine", json={**_VERSION, "reason": "x"})
        request = {**_VERSION, "reason": "y"}

    if route.method == "GET":
        answer = client.get(api.API + route.path, query_string=request)
    else:
        answer = client.post(api.API + route.path, json=request)

    assert answer.status_code == 200, answer.text
    jsonschema_rs.validate(route.answer, answer.get_json())


def test_a_refusal_is_what_its_schema_says(governed: Registry) -> None:
    document = described(governed)
    answer = governed.app().test_client().post(api.API + "/revoke", json={})

    jsonschema_rs.validate(document["components"]["schemas"]["Error"], answer.get_json())


def test_a_judged_version_is_told_as_its_schema_says(governed: Registry) -> None:
    client = governed.app().test_client()
    client.post(api.API + "/judge", json={"name": "churn", "version": 2})
    route = next(route for route in api.ROUTES if route.path == "/version")

    answer = client.get(api.API + "/version", query_string={"name": "churn", "version": 2})

    assert answer.get_json()["decisions"]
    assert route.answer is not None
    jsonschema_rs.validate(route.answer, answer.get_json())


def _some_decision(governed: Registry) -> str:
    client = governed.app().test_client()
    client.post(api.API + "/judge", json={"name": "churn", "version": 2})
    return str(governed.store.decisions[-1][1]["decision_id"])
