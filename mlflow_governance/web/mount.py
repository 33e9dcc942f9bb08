"""What the plugin mounts, and which exact routes it has to let authentication know about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flask import Blueprint

from mlflow_governance.web import api, pages
from mlflow_governance.web.services import WebServices


@dataclass(frozen=True, slots=True)
class ExactRoute:
    """One route as authentication sees it; ``public`` ones are open to everybody."""

    method: str
    path: str
    public: bool


def exact_routes(static_prefix: str = "") -> Iterator[ExactRoute]:
    """Every route :func:`blueprints` serves.

    Args:
        static_prefix: MLflow's ``--static-prefix``.
    """
    for path, route in api.served(static_prefix):
        yield ExactRoute(route.method, path, route.public)
    for path in pages.served(static_prefix):
        yield ExactRoute("GET", path, False)


def blueprints(services: WebServices, static_prefix: str = "") -> tuple[Blueprint, ...]:
    """The interface and the pages, to be registered with MLflow's Flask application.

    Args:
        services: what they stand on.
        static_prefix: MLflow's ``--static-prefix``.
    """
    return api.blueprint(services, static_prefix), pages.blueprint(services, static_prefix)
