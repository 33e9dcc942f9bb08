"""The view that hands out evidence bundles."""

from __future__ import annotations

from flask import Response

from mlflow_governance.core.model_ref import VersionRef, check_name
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.web.fields import Values
from mlflow_governance.web.services import WebServices
from mlflow_governance.workflows.evidence_export import Asked, OfPeriod, OfVersion, period


def evidence_bundle(services: WebServices, values: Values) -> Response:
    """One archive about a version or a period, for auditors and administrators; recorded."""
    asked = Asked(
        actor=services.actor(),
        of=_of(values),
        pseudonymous=values.text("pseudonymous") == "yes",
        reason=values.text("reason"),
    )
    spool = services.evidence(asked)
    response = Response(iter(spool), content_type="application/zip")
    response.call_on_close(spool.close)
    response.content_length = spool.size
    response.headers.set("Content-Disposition", "attachment", filename=spool.name)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _of(values: Values) -> OfVersion | OfPeriod:
    name, since, until = (values.text(word) for word in ("name", "since", "until"))
    if bool(name) == bool(since or until):
        raise InvalidRequest("say either name and version, or since and until")
    if not name:
        return period(since, until)
    workspace = values.text("workspace")
    check_name(workspace)
    return OfVersion(VersionRef(name, values.number("version"), workspace))
