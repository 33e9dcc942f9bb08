"""Puts routes into a governed application after its start, asks them, and prints the answers.

Run in a process of its own: ``python -m tests.contract.mlflow.intruder FOLDER AUTH SERVER``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import warnings
from base64 import b64encode
from pathlib import Path
from typing import Any

_SECRET = "secret"


def _secret(*_: object, **__: object) -> str:
    return _SECRET


async def _secret_asgi(request: Any) -> Any:
    from starlette.responses import PlainTextResponse

    return PlainTextResponse(_SECRET)


def _application(folder: Path, auth: str, server: str) -> tuple[Any, Any, str]:
    """The application, the Flask part of it, and an ``Authorization`` header."""
    from mlflow_governance.cli.first_start import prepare

    os.environ["MLFLOW_GOVERNANCE_AUTH"] = auth
    backend = f"sqlite:///{folder / 'mlflow.db'}"
    destination = f"governance+{(folder / 'artifacts').as_uri()}"
    prepared = prepare(folder / "home", backend, destination)
    os.environ["_MLFLOW_SERVER_FILE_STORE"] = backend
    os.environ["_MLFLOW_SERVER_REGISTRY_STORE"] = prepared.registry_uri
    os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = "mlflow-artifacts:/"
    os.environ["_MLFLOW_SGI_NAME"] = server
    from mlflow.server import app

    from mlflow_governance.plugin.app import create_app

    password = os.environ.get("MLFLOW_AUTH_ADMIN_PASSWORD", "")
    header = "Basic " + b64encode(f"admin:{password}".encode()).decode()
    return create_app(app), app, header


def _intrude(app: Any) -> None:
    app.view_functions["intruder"] = _secret
    app.url_map.add(app.url_rule_class("/intruder", endpoint="intruder", methods=["GET"]))


def _fastapi_of(layer: Any) -> Any:
    """The FastAPI application inside our own layers."""
    while not hasattr(layer, "router"):
        layer = getattr(layer, "_inner", None) or layer._asgi
    return layer


async def _ask(asgi: Any, path: str, header: str) -> tuple[int, str]:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 9),
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1"), (b"authorization", header.encode())],
    }
    sent: list[Any] = []
    asked = asyncio.Event()

    async def receive() -> Any:
        if asked.is_set():
            await asyncio.sleep(3600)  # the client stays until it has its answer
        asked.set()
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    await asgi(scope, receive, send)
    return sent[0]["status"], b"".join(m.get("body", b"") for m in sent[1:]).decode()


def main(folder: str, auth: str, server: str) -> None:
    """Print path, status and body of every answer."""
    warnings.simplefilter("ignore")
    made, app, header = _application(Path(folder), auth, server)
    if server == "uvicorn":
        from starlette.routing import Route

        def ask(path: str) -> tuple[int, str]:
            return asyncio.run(_ask(made, path, header))

        first = ask("/version")
        _fastapi_of(made).router.routes.insert(0, Route("/intruder-in-fastapi", _secret_asgi))
    else:

        def ask(path: str) -> tuple[int, str]:
            answer = made.test_client().get(path, headers={"Authorization": header})
            return answer.status_code, answer.text

        first = ask("/version")
    _intrude(app)
    paths = ("/intruder", "/intruder-in-fastapi", "/api/2.0/mlflow-governance/health")
    answers = {path: ask(path) for path in paths}
    print(json.dumps({"/version": first, **answers}))


if __name__ == "__main__":
    main(*sys.argv[1:])
