"""The HTTP interface: one table of exact paths, and the blueprint made of it.

No path has a parameter in it: MLflow's basic authentication lets unknown routes through to
nobody and knows routes by their exact path only. Each path is served below both prefixes, as
MLflow serves its own, and below nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from flask import Blueprint, Response, request

from mlflow_governance.approval.request import APPROVE, MAX_REASON, REJECT, WITHDRAW
from mlflow_governance.errors import Denied, InvalidRequest
from mlflow_governance.web import (
    evidence_views,
    openapi,
    past_views,
    policy_views,
    schemas,
    views,
)
from mlflow_governance.web.answers import as_json, refusal
from mlflow_governance.web.fields import VERSION, Field, Values, read_body, read_query
from mlflow_governance.web.services import WebServices
from mlflow_governance.web.views import View

API = "/api/2.0/mlflow-governance"
AJAX = "/ajax-api/2.0/mlflow-governance"
_SMALL = 64 * 1024
_LARGE = 48 * 1024 * 1024
"""The largest piece of evidence (32 MiB) in base64, with room for its name."""
_BUNDLE = 12 * 1024 * 1024
"""The largest bundle (8 MiB) in base64, with room."""


@dataclass(frozen=True)
class Route:
    """One operation.

    Args:
        method: GET reads, POST acts.
        path: below the prefix, without parameters.
        view: what answers; its docstring is the summary in OpenAPI.
        fields: what the query (GET) or the JSON body (POST) may hold.
        answer: JSON Schema of the answer; None for bytes.
        public: open to callers nobody authenticated.
        max_bytes: bound of the body.
        recorded: a GET that leaves a record, so no page of another site may make a browser ask it.
    """

    method: Literal["GET", "POST"]
    path: str
    view: View
    fields: tuple[Field, ...] = ()
    answer: dict[str, Any] | None = None
    public: bool = False
    max_bytes: int = _SMALL
    recorded: bool = False


_MOST = 2**53 - 1
"""The largest integer JSON is sure to carry."""

_REASON = Field("reason", "Why, in your own words. It is recorded.", longest=MAX_REASON)
_LISTING = (
    Field("name", "Only this registered model.", default="", longest=256),
    Field("stage", "Only this stage.", default="", longest=40),
    Field("limit", "At most so many.", "integer", default=100, least=1, most=1000),
    Field("offset", "Leave out so many of the newest.", "integer", default=0),
)
_APPROVAL = (
    *VERSION,
    Field("role", "The role you speak in.", longest=64),
    Field(
        "decision",
        "What you say; withdraw takes back what you said in that role.",
        default=APPROVE,
        choices=(APPROVE, REJECT, WITHDRAW),
    ),
    _REASON,
)
_EVIDENCE = (
    *VERSION,
    Field("file", "attestations/NAME.intoto.json", longest=1024),
    Field("content", "The file in standard base64.", longest=_LARGE),
)
_ENTRIES = (
    Field("start", "Index of the first entry.", "integer", default=0, most=_MOST),
    Field("count", "At most so many.", "integer", default=100, least=1, most=1000),
)
_BUNDLE_OF = (
    Field("name", "The registered model; or else since and until.", default="", longest=256),
    Field("version", "Its version number.", "integer", default=0),
    VERSION[2],
    Field("since", "Beginning of a period: a date or an instant.", default="", longest=40),
    Field("until", "Its end, which is not part of it.", default="", longest=40),
    Field("pseudonymous", "Whether it names nobody.", default="no", choices=("yes", "no")),
    Field("reason", "What it is for. It is recorded.", default="", longest=MAX_REASON),
)

_HISTORY = (
    VERSION[0],
    Field("version", "Its version number; 0 takes the whole model.", "integer", default=0),
    VERSION[2],
    Field("start", "Entries from this index on.", "integer", default=0, most=2**53 - 1),
    Field("count", "At most so many.", "integer", default=500, least=1, most=1000),
)
AS_OF = (
    Field("at", "The instant, RFC 3339 with its zone; a date is its end in UTC.", longest=40),
    Field("until", "A later one: what changed between the two.", default="", longest=40),
    Field("model", "Only models of these names, a glob.", default="", longest=256),
    Field("workspace", "Only this workspace of MLflow.", default="", longest=256),
)

_POLICY = Field("digest", "sha256:… of the policy.", longest=71)
_NEWEST = Field("limit", "At most so many.", "integer", default=50, least=1, most=1000)
_PROPOSAL = (
    Field("content", "The bundle as .tar.gz in standard base64.", default="", longest=_BUNDLE),
    Field("digest", "Or else a policy that was in force before.", default="", longest=71),
    _REASON,
)
_WORD = (
    _POLICY,
    Field("decision", "What you say.", default=APPROVE, choices=(APPROVE, REJECT)),
    _REASON,
)

ROUTES: tuple[Route, ...] = (
    Route("GET", "/health", views.health, (), schemas.HEALTH, public=True),
    Route("GET", "/versions", views.versions, _LISTING, schemas.VERSIONS),
    Route("GET", "/version", views.version, VERSION, schemas.DETAIL),
    Route("GET", "/aliases", views.aliases, (VERSION[0], VERSION[2]), schemas.ALIASES),
    Route("GET", "/decision", views.decision, (Field("id", "Decision id."),), schemas.DECISION),
    Route("GET", "/decision/summary", views.decision_summary, (Field("id", "Decision id."),)),
    Route(
        "GET",
        "/decision/explanation",
        past_views.explanation,
        (Field("id", "Decision id."),),
        schemas.EXPLANATION,
    ),
    Route("GET", "/history", past_views.history, _HISTORY, schemas.HISTORY),
    Route("GET", "/as-of", past_views.state_at, AS_OF, schemas.AS_OF),
    Route("POST", "/approvals", views.give_approval, _APPROVAL, schemas.APPROVED),
    Route("POST", "/revoke", views.revoke, (*VERSION, _REASON), schemas.MOVED),
    Route("POST", "/quarantine", views.quarantine, (*VERSION, _REASON), schemas.MOVED),
    Route("POST", "/restore", views.restore, (*VERSION, _REASON), schemas.MOVED),
    Route("POST", "/judge", views.judge, VERSION, schemas.JUDGED),
    Route("POST", "/evidence", views.add_evidence, _EVIDENCE, schemas.ATTACHED, max_bytes=_LARGE),
    Route("GET", "/attachment", views.attachment, (*VERSION, Field("path", "Its path."))),
    Route("GET", "/evidence-bundle", evidence_views.evidence_bundle, _BUNDLE_OF, recorded=True),
    Route("GET", "/ledger/head", views.ledger_head, (), schemas.HEAD),
    Route("GET", "/ledger/entries", views.ledger_entries, _ENTRIES, schemas.ENTRIES),
    Route(
        "GET",
        "/ledger/proof",
        views.ledger_proof,
        (
            Field("index", "Index of the entry.", "integer", most=_MOST),
            Field("checkpoint", "Signed earlier; by default the head.", default="", longest=8192),
        ),
        schemas.PROOF,
    ),
    Route("GET", "/ledger/checkpoint", views.ledger_checkpoint),
    Route(
        "GET",
        "/ledger/consistency",
        views.ledger_consistency,
        (Field("old", "Entries of the ledger you know.", "integer", least=1, most=_MOST),),
        schemas.CONTINUATION,
    ),
    Route("GET", "/revocations", views.revocations, public=True),
    Route("GET", "/trust", views.trust),
    Route("GET", "/policy", policy_views.policy, (), schemas.POLICY),
    Route("GET", "/policy/bundle", policy_views.policy_bundle, (_POLICY,)),
    Route("GET", "/policy/proposals", policy_views.proposals, (_NEWEST,), schemas.PROPOSALS),
    Route(
        "POST",
        "/policy/propose",
        policy_views.propose_policy,
        _PROPOSAL,
        schemas.PROPOSED,
        max_bytes=_BUNDLE,
    ),
    Route("POST", "/policy/approvals", policy_views.speak_of_policy, _WORD, schemas.PROPOSED),
    Route(
        "POST", "/policy/activate", policy_views.activate_policy, (_POLICY, _REASON), schemas.POLICY
    ),
    Route(
        "GET",
        "/openapi.json",
        lambda services, values: openapi.document(API, ROUTES),
        (),
        {"type": "object", "description": "This document."},
    ),
)


def served(static_prefix: str = "") -> Iterator[tuple[str, Route]]:
    """Every exact path of the interface with its route.

    Args:
        static_prefix: MLflow's ``--static-prefix``, which stands before all of its own, too.
    """
    for route in ROUTES:
        yield static_prefix + API + route.path, route
        yield static_prefix + AJAX + route.path, route


def blueprint(services: WebServices, static_prefix: str = "") -> Blueprint:
    """The interface as a Flask blueprint.

    Args:
        services: what the views stand on.
        static_prefix: MLflow's ``--static-prefix``.
    """
    made = Blueprint("governance_api", __name__)
    for number, (path, route) in enumerate(served(static_prefix)):
        made.add_url_rule(
            path,
            endpoint=f"{number}",
            view_func=_answering(services, route),
            methods=[route.method],
            provide_automatic_options=False,
        )
    return made


def _answering(services: WebServices, route: Route) -> Callable[[], Response]:
    return partial(_answer, services, route)


def _answer(services: WebServices, route: Route) -> Response:
    # Whatever happens becomes JSON with a status below 500: nothing here may be retried blindly.
    try:
        answer = route.view(services, _values(route))
        return answer if isinstance(answer, Response) else as_json(answer)
    except Exception as error:
        return refusal(error)


def _refuse_unmeant() -> None:
    # A browser brings the password along wherever a page of another site points it.
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        raise Denied("this is recorded, so it is not given to pages of other sites")
    if request.method != "GET":
        raise InvalidRequest("this is recorded, so it is asked with GET only")


def _values(route: Route) -> Values:
    if route.method == "GET":
        if route.recorded:
            _refuse_unmeant()
        return read_query(route.fields, list(request.args.items(multi=True)))
    if request.args:
        raise InvalidRequest("a POST takes its fields from the JSON body, not from the address")
    # A form of another site can send neither this media type nor ask to without our consent.
    if request.mimetype != "application/json":
        raise InvalidRequest("the body must be application/json")
    length = request.content_length
    if length is None or length > route.max_bytes:
        raise InvalidRequest(
            f"the body must say its length, and be at most {route.max_bytes} bytes"
        )
    return read_body(route.fields, request.get_data(), route.max_bytes)
