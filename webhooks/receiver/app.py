"""The HTTP side of the receiver.

Each webhook goes through the same steps, and a later one never runs before an earlier one:

1. the body is read, less than 1 MiB,
2. signature and timestamp are verified over the bytes as received,
3. the bytes are parsed, bounded in depth,
4. the id is looked up: acted upon already means 200 and nothing else,
5. the act, and the id remembered with it.

Anything but 2xx makes the sender repeat the webhook, with the same id.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from mlflow_governance.core import canonical, moment
from mlflow_governance.core.model_ref import DEFAULT_WORKSPACE, VersionRef
from mlflow_governance.core.stage import WITHDRAWN
from mlflow_governance.errors import GovernanceError, InvalidRequest, NotFound, Unavailable
from mlflow_governance.outbox import signing
from webhooks.receiver import cache, registry
from webhooks.receiver.inbox import Inbox, Purge
from webhooks.receiver.settings import MAX_BODY_BYTES, Settings

Answer = tuple[Response, int]

_log = logging.getLogger("webhooks.receiver")
_MAX_DEPTH = 16
_WITHDRAWN = {stage.value for stage in WITHDRAWN}


def create_app(settings: Settings, clock: Callable[[], datetime] = moment.now) -> Flask:
    """The receiver as a WSGI application.

    Args:
        settings: secrets, cache, state and registry.
        clock: the moment timestamps are compared with.

    Raises:
        OSError: the state file cannot be made, or an unfinished purge cannot be finished.
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    cache.sweep(settings.cache)
    inbox = Inbox(settings.state)

    @app.post("/events")
    def events() -> Answer:
        webhook_id, document = _verified(settings.keys, signing.STANDARD, clock())
        if document.get("id") != webhook_id:
            raise InvalidRequest("the event's id is not the webhook's id")
        ran = inbox.once(
            webhook_id, clock(), lambda: _purge_if_withdrawn(settings, document, clock())
        )
        return jsonify(status="done" if ran else "repeated"), 200

    @app.post("/mlflow")
    def mlflow() -> Answer:
        webhook_id, document = _verified(settings.mlflow_keys, signing.MLFLOW, clock())
        if (document.get("entity"), document.get("action")) != ("model_version", "created"):
            return jsonify(status="ignored"), 200
        ref = _version_of(document)
        # Another namespace than /events: one sender cannot use up the ids of the other.
        key = f"mlflow:{webhook_id}"
        if inbox.has(key):
            return jsonify(status="repeated"), 202
        _judge(settings, ref)
        inbox.remember(key, clock())
        return jsonify(status="judged"), 202

    @app.get("/purges")
    def purges() -> Answer:
        return jsonify(purges=[asdict(purge) for purge in inbox.purges()]), 200

    @app.get("/health")
    def health() -> Answer:
        return jsonify(status="ok"), 200

    _register_errors(app)
    return app


def _verified(
    keys: tuple[bytes, ...], scheme: signing.Scheme, now: datetime
) -> tuple[str, dict[str, Any]]:
    """Steps 1 to 3: the id and the parsed body of the current request."""
    if not keys:
        raise NotFound("this receiver was given no secret for these webhooks")
    body = request.get_data(cache=False)
    if len(body) >= MAX_BODY_BYTES:
        # werkzeug cuts a body without a length off at the bound instead of refusing it
        raise RequestEntityTooLarge
    webhook_id = signing.verify(keys, dict(request.headers), body, now=now, scheme=scheme)
    return webhook_id, canonical.decode_object(body, max_bytes=MAX_BODY_BYTES, max_depth=_MAX_DEPTH)


def _purge_if_withdrawn(
    settings: Settings, event: Mapping[str, Any], now: datetime
) -> Purge | None:
    """Purge the content an event withdraws. A refused attempt to withdraw changes nothing."""
    data = _object(event.get("data"), "data")
    stage = _object(data.get("after"), "data.after").get("stage")
    if data.get("allowed") is not True or stage not in _WITHDRAWN:
        return None
    digest = _object(data.get("subject"), "data.subject").get("digest")
    # A version withdrawn before it was hashed was never served: there is no digest to purge.
    there = digest is not None and cache.purge(settings.cache, digest)
    purge = Purge(
        webhook_id=str(event["id"]),
        subject=str(event.get("subject", "")),
        digest=digest or "",
        stage=stage,
        outcome="purged" if there else "absent",
        at=moment.to_text(now),
    )
    _log.info("%s: %s is %s, digest %s", purge.outcome, purge.subject, stage, digest)
    return purge


def _judge(settings: Settings, ref: VersionRef) -> None:
    if settings.registry is None:
        raise Unavailable("this receiver knows no registry")
    registry.judge(settings.registry, ref)
    _log.info("judged: %s", ref)


def _version_of(document: Mapping[str, Any]) -> VersionRef:
    data = _object(document.get("data"), "data")
    name, version = data.get("name"), data.get("version")
    # MLflow names a workspace only where workspaces are switched on.
    workspace = document.get("workspace") or DEFAULT_WORKSPACE
    if not (isinstance(name, str) and isinstance(version, str) and isinstance(workspace, str)):
        raise InvalidRequest("the webhook names no model version")
    if not re.fullmatch(r"[0-9]{1,9}", version):
        raise InvalidRequest(f"{version[:40]!r} is not a version number")
    return VersionRef(name, int(version), workspace)


def _object(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{where} is not an object")
    return value


def _register_errors(app: Flask) -> None:
    """Every refusal is JSON: ``{"code", "message", "advice"}``."""

    @app.errorhandler(GovernanceError)
    def refused(error: GovernanceError) -> Answer:
        _log.warning("%s %s: %s", request.method, request.path, error.message)
        # To the sender of a webhook we are the gateway: 502 is what it retries.
        status = 502 if isinstance(error, Unavailable) else error.http_status
        return jsonify(error.to_document()), status

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> Answer:
        code = error.name.upper().replace(" ", "_")
        return jsonify(code=code, message=error.description, advice=""), error.code or 500
