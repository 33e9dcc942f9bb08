"""The interface described as OpenAPI 3.1, from the same table that serves it."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from mlflow_governance.web import schemas

if TYPE_CHECKING:
    from mlflow_governance.web.api import Route

Document = dict[str, Any]


def document(prefix: str, routes: Iterable[Route]) -> Document:
    """The OpenAPI document of these routes.

    Args:
        prefix: what stands before each path.
        routes: the table.
    """
    paths: dict[str, Document] = {}
    for route in routes:
        paths.setdefault(prefix + route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "MLflow governance", "version": version("mlflow-governance")},
        "paths": paths,
        "components": {
            "schemas": {"Error": schemas.ERROR},
            "securitySchemes": {"mlflow": {"type": "http", "scheme": "basic"}},
        },
    }


def _operation(route: Route) -> Document:
    summary = (route.view.__doc__ or "This description.").splitlines()[0]
    return {
        "operationId": f"{route.method.lower()}{route.path.replace('/', '_').replace('.', '_')}",
        "summary": summary,
        "security": [] if route.public else [{"mlflow": []}],
        **(_parameters(route) if route.method == "GET" else _body(route)),
        "responses": {"200": _success(route), "4XX": _refused(), "503": _refused()},
    }


def _parameters(route: Route) -> Document:
    found = [
        {"name": f.name, "in": "query", "required": f.default is None, "schema": f.schema()}
        for f in route.fields
    ]
    return {"parameters": found}


def _body(route: Route) -> Document:
    schema = {
        "type": "object",
        "properties": {f.name: f.schema() for f in route.fields},
        "required": [f.name for f in route.fields if f.default is None],
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _success(route: Route) -> Document:
    if route.answer is None:
        return {"description": "The bytes.", "content": {"*/*": {}}}
    return {"description": "Done.", "content": {"application/json": {"schema": route.answer}}}


def _refused() -> Document:
    error = {"$ref": "#/components/schemas/Error"}
    return {
        "description": "Refused; `code` says by whose fault, `advice` what to do.",
        "content": {"application/json": {"schema": error}},
    }
