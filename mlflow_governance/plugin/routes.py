"""The inventory of the running server's routes; what is not in it is not served.

A route counts as known if ``route_table`` has its method and its exact template, or if it is one
of ours, and if the code that answers is MLflow's or ours. MLflow serves some routes from Flask
and some from FastAPI, so the question is asked twice: before Flask calls a view, and before
anything else sees an ASGI request. Both ask about the route that is going to answer, not about
the path, so that a new route is not mistaken for an old one with a parameter in its place.
"""

from __future__ import annotations

import functools
import itertools
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import flask

from mlflow_governance.errors import Denied
from mlflow_governance.plugin import compat
from mlflow_governance.plugin.refusals import Refusal
from mlflow_governance.plugin.route_table import GROUPS, MOUNT, UPGRADE, WEBSOCKET, Group, Reach
from mlflow_governance.web.mount import exact_routes

_log = logging.getLogger(__name__)
_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_Routes = tuple[list[compat.NativeRoute], list[compat.NativeRoute]]
"""Every route of FastAPI that can be reached, in order, and those of them that may be refused."""

_PARAMETER = re.compile(r"<(?:(\w+)(?:\([^>]*\))?:)?\w+>|\{\w+(?::(\w+))?\}")
_OWNERS = frozenset({"mlflow", "mlflow_governance", "flask", "prometheus_flask_exporter"})
"""Packages that may answer on a known route."""
_POLICY_VIOLATION = 1008
"""RFC 6455, section 7.4.1."""

OURS = Group(Reach.STATE, "this package's own interface and pages", "the workflows", "")


@dataclass(frozen=True, slots=True)
class Route:
    """One route as the server would serve it.

    Args:
        method: the HTTP method, or ``MOUNT``, ``WEBSOCKET``, ``QUERY``, ``MUTATION``.
        path: the template, with the static prefix, in Flask's or FastAPI's writing.
        owner: the package whose code answers; empty if it cannot be told.
    """

    method: str
    path: str
    owner: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


_FLASK = Route(MOUNT, "flask", "mlflow")
"""MLflow's own Flask application, which FastAPI gives every other request to."""


def template(path: str) -> str:
    """A path with its parameters unnamed: ``/a/{}`` and ``/a/{path}``, however it is written."""
    return _PARAMETER.sub(lambda found: "{%s}" % (found[1] or found[2] or ""), path)


def expand(line: str) -> Iterator[tuple[str, str]]:
    """Method and template of every route that a line of the table names."""
    *methods, path = line.split()
    paths = [path.replace("*/", prefix, 1) for prefix in ("/api/", "/ajax-api/")]
    for one in dict.fromkeys(paths):
        choices = [segment.split("|") for segment in one.split("/")]
        for method, chosen in itertools.product(methods, itertools.product(*choices)):
            yield method, template("/".join(chosen))


class Inventory:
    """Knows every route that may be served.

    Args:
        static_prefix: MLflow's ``--static-prefix``.
        people: somebody logs in; routes that run programs on the host are closed to them.
    """

    def __init__(self, static_prefix: str = "", *, people: bool = True) -> None:
        self._prefix = static_prefix
        self._people = people
        self._ours = {(route.method, template(route.path)) for route in exact_routes(static_prefix)}

    @cached_property
    def _known(self) -> dict[tuple[str, str], Group]:
        lines = ((group, line) for group in GROUPS for line in group.lines.strip().splitlines())
        return {route: group for group, line in lines for route in expand(line)}

    def find(self, route: Route) -> Group | None:
        """The group of a route; None if nobody classified it."""
        if route.owner not in _OWNERS:
            return None
        path = template(route.path)
        method = "GET" if route.method == "HEAD" else route.method
        if (method, path) in self._ours:
            return OURS
        if self._prefix and path.startswith(self._prefix + "/"):
            path = path.removeprefix(self._prefix)
        if method == "OPTIONS":  # tells which methods there are
            return next((group for (_, known), group in self._known.items() if known == path), None)
        return self._known.get((method, path))

    def refusal(self, route: Route) -> Denied | None:
        """Why a route is not served; None if it is."""
        group = self.find(route)
        if group is None:
            return Denied(
                f"this governed server does not know the route {route}: nobody has looked at "
                "what it reaches",
                advice=UPGRADE,
                route=str(route),
            )
        if group.reach is Reach.HOST and self._people:
            return Denied(
                f"{route} runs programs on the server's host as the server itself, past every gate",
                advice="Use it on a server of your own: mlflow-governance server --auth none",
                route=str(route),
            )
        return None

    def unknown(self, routes: Iterable[Route]) -> list[Route]:
        """Those of some routes that nobody classified."""
        return [route for route in routes if self.find(route) is None]


# What the running server has ------------------------------------------------------------------


def flask_routes(app: flask.Flask) -> Iterator[Route]:
    """Every route of a Flask application."""
    for rule in app.url_map.iter_rules():
        for method in sorted(rule.methods or ()):
            yield _of_rule(app, method, rule)


def native_routes(asgi: Any, app: flask.Flask) -> Iterator[Route]:
    """Every route of the FastAPI application around it."""
    for native in compat.native_routes(asgi):
        yield from _of_native(native, app)


def graphql_routes() -> Iterator[Route]:
    """Every field a GraphQL request may start from."""
    for kind, fields in compat.graphql_roots().items():
        yield from (Route(kind, name, "mlflow") for name in fields)


def _of_rule(app: flask.Flask, method: str, rule: Any) -> Route:
    return Route(method, rule.rule, _owner(app.view_functions.get(rule.endpoint)))


def _of_native(native: compat.NativeRoute, app: flask.Flask) -> Iterator[Route]:
    if native.kind == "http":
        yield from (Route(m, native.path, _owner(native.handler)) for m in sorted(native.methods))
    elif native.kind == "websocket":
        yield Route(WEBSOCKET, native.path, _owner(native.handler))
    elif native.path == "" and compat.bridged(native.handler) is app:
        yield _FLASK
    else:
        yield Route(MOUNT, native.path or "/", _owner(native.handler))


def _owner(handler: Any) -> str:
    while isinstance(handler, functools.partial):
        handler = handler.func
    module = getattr(handler, "__module__", None) or type(handler).__module__
    return str(module).partition(".")[0]


# Keeping out what is not known ----------------------------------------------------------------


def close_graphql(inventory: Inventory) -> list[Route]:
    """Take fields nobody classified out of the schema; returns them."""
    removed = inventory.unknown(graphql_routes())
    for route in removed:
        del compat.graphql_roots()[route.method][route.path]
    return removed


class FlaskGate:
    """Stands before every view of a Flask application, those that others put there later, too.

    Args:
        app: the application; the gate is put in front of its other ``before_request`` functions.
        inventory: what is known.
    """

    def __init__(self, app: flask.Flask, inventory: Inventory) -> None:
        self._app = app
        self._inventory = inventory
        self._judged: dict[tuple[str, str, Any], Denied | None] = {}
        app.before_request_funcs.setdefault(None, []).insert(0, self)

    def __call__(self) -> flask.Response | None:
        """A refusal for the request at hand, or None."""
        rule, method = flask.request.url_rule, flask.request.method
        if rule is None:  # no route at all: Flask says so
            return None
        key = (method, rule.rule, self._app.view_functions.get(rule.endpoint))
        if key not in self._judged:
            self._judged[key] = self._inventory.refusal(_of_rule(self._app, method, rule))
        refused = self._judged[key]
        if refused is None:
            return None
        status, body = _answer(refused)
        return flask.Response(body, status, mimetype="application/json")


class NativeGate:
    """The outermost ASGI layer: stands before routes that never enter Flask.

    Args:
        asgi: MLflow's FastAPI application.
        app: the Flask application mounted in it.
        inventory: what is known.
    """

    def __init__(self, asgi: Any, app: flask.Flask, inventory: Inventory) -> None:
        self._asgi = asgi
        self._app = app
        self._inventory = inventory
        self._seen: list[int] = []
        self._current: _Routes = ([], [])

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Serve one connection, or refuse it."""
        refused = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refused is None:
            await self._asgi(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            _answer(refused)
        else:
            status, body = _answer(refused)
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body.encode()})

    def _refusal(self, scope: _Scope) -> Denied | None:
        routes, suspects = self._routes()
        if not any(native.takes(dict(scope)) for native in suspects):
            return None
        # The first that takes it answers, as in the router.
        native = next(native for native in routes if native.takes(dict(scope)))
        for route in _of_native(native, self._app):
            if native.kind != "http" or route.method == scope["method"]:
                return self._inventory.refusal(route)
        return self._inventory.refusal(Route(scope.get("method", WEBSOCKET), native.path, ""))

    def _routes(self) -> _Routes:
        seen = compat.native_route_objects(self._asgi)
        if seen != self._seen:
            routes = list(self._reachable())
            self._current = routes, [native for native in routes if self._is_suspect(native)]
            self._seen = seen
        return self._current

    def _reachable(self) -> Iterator[compat.NativeRoute]:
        for native in compat.native_routes(self._asgi):
            yield native
            if [*_of_native(native, self._app)] == [_FLASK]:
                return  # takes whatever is left: nothing behind it is ever reached

    def _is_suspect(self, native: compat.NativeRoute) -> bool:
        routes = list(_of_native(native, self._app))
        return not routes or any(self._inventory.refusal(route) for route in routes)


def _answer(refused: Denied) -> tuple[int, str]:
    _log.warning("refused: %s", refused.message)
    refusal = Refusal(refused)
    return refusal.get_http_status_code(), refusal.serialize_as_json()
