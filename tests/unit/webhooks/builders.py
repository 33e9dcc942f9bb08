"""Builders of this room: a cache with a model in it, a receiver, a registry that judges."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Flask
from werkzeug.wrappers import Request, Response

from mlflow_governance.core.digest import Digest, hex_of
from mlflow_governance.outbox import signing
from tests.unit.outbox.builders import NOW, SECRET, Clock
from webhooks.receiver.app import create_app
from webhooks.receiver.settings import Registry, Settings

MLFLOW_SECRET = "plain text, as MLflow takes it"


def cached(root: Path, digest: Digest) -> Path:
    """A verified copy in the serving cache: read-only, with a folder inside."""
    folder = root / hex_of(digest)
    (folder / "code").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "code" / "model.py").write_text("x = 1\n")
    for path in (folder / "MLmodel", folder / "code" / "model.py"):
        path.chmod(0o400)
    for path in (folder / "code", folder):
        path.chmod(0o500)
    return folder


def settings(root: Path, **changes: Any) -> Settings:
    (root / "cache").mkdir(exist_ok=True)
    given = {
        "cache": root / "cache",
        "state": root / "receiver.db",
        "keys": signing.keys_of(SECRET),
        **changes,
    }
    return Settings(**given)


def receiver(root: Path, clock: Callable[[], datetime] | None = None, **changes: Any) -> Flask:
    return create_app(settings(root, **changes), clock or Clock())


def mlflow_receiver(root: Path, registry_url: str, **changes: Any) -> Flask:
    registry = Registry(registry_url, "ann", "secret", timeout_seconds=2)
    return receiver(root, mlflow_keys=(MLFLOW_SECRET.encode(),), registry=registry, **changes)


def mlflow_webhook(
    entity: str = "model_version", action: str = "created", data: Any = None, **more: Any
) -> tuple[dict[str, str], bytes]:
    """Headers and body of one of MLflow's own webhooks."""
    data = {"name": "churn", "version": "3"} if data is None else data
    document = {"entity": entity, "action": action, "timestamp": "x", "data": data, **more}
    body = json.dumps(document).encode()
    keys = (MLFLOW_SECRET.encode(),)
    return signing.sign(keys, "0b5c-1", NOW, body, scheme=signing.MLFLOW), body


class JudgingRegistry:
    """Answers judge requests with the given statuses, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses) or [200]
        self.asked: list[tuple[str, Any, Any]] = []

    def __call__(self, environ: Any, start: Any) -> Any:
        request = Request(environ)
        who = request.authorization
        self.asked.append((request.path, request.get_json(), who and (who.username, who.password)))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        headers = {"Location": "http://127.0.0.1:1/"} if status == 307 else {}
        return Response("{}", status, headers)(environ, start)
