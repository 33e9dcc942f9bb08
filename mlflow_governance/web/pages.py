"""The pages people look at: the catalogue, and one version.

They are plain HTML with one style sheet and one script, load nothing from elsewhere, and allow
nothing else in their Content-Security-Policy. What a person may do is asked of the same rules
that decide when they do it; the buttons post to the HTTP interface.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, request
from jinja2 import Environment, PackageLoader, StrictUndefined

from mlflow_governance.core import digest, moment
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.model_ref import DEFAULT_WORKSPACE
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import GovernanceError, NotFound
from mlflow_governance.web import documents, offers
from mlflow_governance.web.answers import as_bytes, known_error, status_of
from mlflow_governance.web.api import AJAX, AS_OF
from mlflow_governance.web.fields import VERSION, Field, Values, read_query
from mlflow_governance.web.past_views import looked_back
from mlflow_governance.web.services import WebServices
from mlflow_governance.workflows.evidence_export import may_take
from mlflow_governance.workflows.judge import load
from mlflow_governance.workflows.ports import Reading, VersionRecord

HOME = "/governance"
_PAGE_SIZE = 50
_MOST_ROWS = 500
"""Rows of one table about the past; a pattern of names finds the others."""
_YEAR = 31_536_000
_STATIC = {
    "style.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_LISTING = (
    Field("name", "Only this registered model.", default="", longest=256),
    Field("stage", "Only this stage.", default="", longest=40),
    Field("page", "Which page, from 1.", "integer", default=1, least=1, most=10**6),
)

Context = dict[str, Any]


@dataclass(frozen=True)
class Page:
    """One page: its path below :data:`HOME`, what its query may hold, and what fills it."""

    path: str
    template: str
    fields: tuple[Field, ...]
    fill: Callable[[WebServices, Actor, Values], Context]


def catalogue(services: WebServices, actor: Actor, values: Values) -> Context:
    """Governed versions, newest first, fifty at a time."""
    stage = Stage.parse(values.text("stage")) if values.text("stage") else None
    start = (values.number("page") - 1) * _PAGE_SIZE
    with services.ports.store.read() as reading:
        name = values.text("name") or None
        found = reading.versions(name, stage, offset=start, limit=_PAGE_SIZE)
        rows = [_row(reading, record) for record in found]
        total = reading.count_versions(name, stage)
    return {
        "rows": rows,
        "total": total,
        "first": start + 1,
        "last": start + len(rows),
        "page": values.number("page"),
        "filter": {"name": values.text("name"), "stage": stage.value if stage else ""},
        "stages": [known.value for known in Stage],
    }


def version(services: WebServices, actor: Actor, values: Values) -> Context:
    """One version: what it is, what it lacks, what was decided, and what may be done."""
    ports = services.ports
    with ports.store.read() as reading:
        record = load(reading, values.ref())
        given = [word.to_document() for word in reading.approvals(record.uid)]
    roles, approving = offers.approval(ports, actor, record, given)
    back = record.quarantined_from if record.stage is Stage.QUARANTINED else None
    return {
        "version": documents.detail(ports, actor, record),
        "roles": roles,
        "approve": approving,
        "revoke": offers.withdrawal(ports, actor, record, Stage.REVOKED),
        "quarantine": offers.withdrawal(ports, actor, record, Stage.QUARANTINED),
        "may_audit": may_take(actor),
        "restore": offers.withdrawal(ports, actor, record, back) if back else None,
    }


def as_of(services: WebServices, actor: Actor, values: Values) -> Context:
    """What stood where at an instant of the past; without one, the question alone."""
    asked = {name: values.text(name) for name in ("at", "until", "model", "workspace")}
    found = looked_back(services, values, services.ports.clock()) if asked["at"] else None
    return {"filter": asked, "found": found, "most": _MOST_ROWS}


PAGES: tuple[Page, ...] = (
    Page("", "catalogue.html", _LISTING, catalogue),
    Page("/version", "version.html", VERSION, version),
    Page("/as-of", "as_of.html", (replace(AS_OF[0], default=""), *AS_OF[1:]), as_of),
)


def served(static_prefix: str = "") -> Iterator[str]:
    """Every exact path of the pages; all are read with GET by a person who is logged in."""
    for page in PAGES:
        yield static_prefix + HOME + page.path
    for name in _STATIC:
        yield f"{static_prefix}{HOME}/static/{name}"


def blueprint(services: WebServices, static_prefix: str = "") -> Blueprint:
    """The pages as a Flask blueprint.

    Args:
        services: what the pages stand on.
        static_prefix: MLflow's ``--static-prefix``.
    """
    made = Blueprint("governance_pages", __name__)
    views: list[Callable[[], Response]] = [
        *(partial(_show, services, static_prefix, page) for page in PAGES),
        *(partial(_file, name) for name in _STATIC),
    ]
    for number, (path, view) in enumerate(zip(served(static_prefix), views, strict=True)):
        made.add_url_rule(
            path,
            endpoint=f"{number}",
            view_func=view,
            methods=["GET"],
            provide_automatic_options=False,
        )
    return made


def _row(reading: Reading, record: VersionRecord) -> Context:
    words = reading.approvals(record.uid)
    failed = documents.missing(reading.last_decision(record.uid))
    return {
        **documents.summary(record),
        "failed": len(failed),
        "approvals": sum(word.decision == "approve" for word in words),
        "rejections": sum(word.decision != "approve" for word in words),
    }


def _show(services: WebServices, prefix: str, page: Page) -> Response:
    actor = Actor.anonymous()
    try:
        actor = services.actor()
        values = read_query(page.fields, list(request.args.items(multi=True)))
        return _render(page.template, prefix, actor, page.fill(services, actor, values))
    except Exception as error:
        known = known_error(error)
        title = "Not found" if isinstance(known, NotFound) else "Refused"
        return _render("error.html", prefix, actor, {"error": known, "title": title}, known)


def _render(
    template: str,
    prefix: str,
    actor: Actor,
    context: Mapping[str, Any],
    error: GovernanceError | None = None,
) -> Response:
    text = (
        _templates()
        .get_template(template)
        .render(**context, actor=actor, prefix=prefix, home=prefix + HOME, api=prefix + AJAX)
    )
    status = status_of(error) if error else 200
    response = as_bytes(text.encode("utf-8", "replace"), "text/html; charset=utf-8", status)
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def _file(name: str) -> Response:
    response = as_bytes(_static(name), _STATIC[name])
    # Pages ask for a file by its digest, so a new release is never shown with an old script.
    response.headers["Cache-Control"] = f"private, max-age={_YEAR}, immutable"
    return response


@cache
def _static(name: str) -> bytes:
    return (files("mlflow_governance.web") / "static" / name).read_bytes()


@cache
def _templates() -> Environment:
    # Our own environment: MLflow's application neither sees these templates nor changes them.
    made = Environment(
        loader=PackageLoader("mlflow_governance.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        instant=_instant, pretty=_pretty, short=_short, size=_size, words=_words, query=_query
    )
    made.globals.update(
        asset={name: f"{name}?v={digest.hex_of(digest.of_bytes(_static(name)))[:12]}"
               for name in _STATIC},
        default_workspace=DEFAULT_WORKSPACE,
        basename=posixpath.basename,
    )  # fmt: skip
    return made


def _instant(text: str) -> str:
    return moment.parse(text).strftime("%Y-%m-%d %H:%M UTC")


def _short(found: str) -> str:
    return f"{digest.hex_of(digest.Digest(found))[:12]}"


def _size(count: int) -> str:
    return f"{count} B" if count < 1024 else f"{count / 1024:.1f} KiB"


def _words(name: str) -> str:
    return name.replace("_", " ").replace(".", " ")


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)


def _query(values: Mapping[str, str | int]) -> str:
    # What has its default value stays out of the address.
    plain = {"workspace": DEFAULT_WORKSPACE, "page": 1}
    kept = {k: v for k, v in values.items() if v not in ("", plain.get(k))}
    return "?" + urlencode(kept) if kept else ""
