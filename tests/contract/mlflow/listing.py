"""Prints every route of a governed server's applications as JSON; run in a process of its own.

MLflow keeps one Flask application in its module, and basic-auth changes it for good.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONFIGURATION = """\
[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/auth.db
admin_username = admin
admin_password = for-this-test-only
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


def _prepare(folder: Path, prefix: str) -> None:
    (folder / "auth.ini").write_text(CONFIGURATION.format(folder=folder))
    os.environ["MLFLOW_AUTH_CONFIG_PATH"] = str(folder / "auth.ini")
    os.environ["MLFLOW_FLASK_SERVER_SECRET_KEY"] = "for-this-test-only"
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    os.environ["_MLFLOW_SGI_NAME"] = "uvicorn"
    os.environ["_MLFLOW_STATIC_PREFIX"] = prefix


def _listed(auth: str, prefix: str) -> Iterator[dict[str, Any]]:
    from mlflow.server import app

    from mlflow_governance.plugin import compat, routes

    asgi = compat.basic_auth_app(app) if auth == "basic" else compat.create_fastapi_app(app)
    inventory = routes.Inventory(compat.static_prefix())
    assert compat.static_prefix() == prefix
    sources = {
        "flask": routes.flask_routes(app),
        "fastapi": routes.native_routes(asgi, app),
        "graphql": routes.graphql_routes(),
    }
    for source, found in sources.items():
        for route in found:
            group = inventory.find(route)
            yield {
                "source": source,
                "method": route.method,
                "path": route.path,
                "handlers": _names(source, app, asgi, route),
                "reach": group.reach if group else None,
            }


def _names(source: str, app: Any, asgi: Any, route: Any) -> list[str]:
    """Names of the functions that answer."""
    from mlflow_governance.plugin import compat

    if source == "flask":
        rules = [rule for rule in app.url_map.iter_rules() if rule.rule == route.path]
        asked = (rule.endpoint for rule in rules if route.method in rule.methods)
        return [str(getattr(app.view_functions[name], "__name__", name)) for name in asked]
    return [
        str(getattr(native.handler, "__name__", ""))
        for native in compat.native_routes(asgi)
        if native.path == route.path and route.method in native.methods
    ]


def main(auth: str, prefix: str = "") -> None:
    """Print the list."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        _prepare(Path(folder), prefix)
        print(json.dumps(list(_listed(auth, prefix))))


if __name__ == "__main__":
    main(*sys.argv[1:])
