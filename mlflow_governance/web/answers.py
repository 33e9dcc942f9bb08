"""Answers and refusals as HTTP, the same for the interface and the pages."""

from __future__ import annotations

import json
import logging
import uuid
from typing import Any

from flask import Response
from werkzeug.exceptions import HTTPException

from mlflow_governance.errors import GovernanceError, InvalidRequest, Unavailable

_log = logging.getLogger(__name__)
_CONFLICT = 409


def as_json(document: dict[str, Any], status: int = 200) -> Response:
    """A JSON answer that nobody caches."""
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return as_bytes(text.encode("utf-8", "replace"), "application/json", status)


def as_bytes(data: bytes, media_type: str, status: int = 200) -> Response:
    """An answer of bytes that nobody caches and no browser takes for something else."""
    response = Response(data, status=status, content_type=media_type)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def known_error(error: Exception) -> GovernanceError:
    """The error to tell. What is not of our tree is logged and told without its insides."""
    if isinstance(error, GovernanceError):
        if error.http_status >= 500 and not isinstance(error, Unavailable):
            _log.error("the registry cannot answer: %s", error)
        return error
    if isinstance(error, HTTPException) and error.code is not None and error.code < 500:
        return InvalidRequest(f"the request cannot be read: {error.name}")
    incident = uuid.uuid4().hex
    _log.error("an unforeseen error, incident %s, became a refusal", incident, exc_info=error)
    return GovernanceError(
        "the registry could not answer; the request was refused",
        advice=f"The server's log has the details under incident {incident}.",
        incident=incident,
    )


def status_of(error: GovernanceError) -> int:
    """The HTTP status. Never 500: MLflow's client would repeat it for minutes and lose the text."""
    retryable = isinstance(error, Unavailable)
    return error.http_status if error.http_status < 500 or retryable else _CONFLICT


def refusal(error: Exception) -> Response:
    """An error as JSON."""
    known = known_error(error)
    return as_json(known.to_document(), status_of(known))
