"""A route nobody classified is not served, wherever and whenever it was put there."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any

import flask
import pytest
from fastapi import FastAPI, WebSocket
from mlflow import server
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute

from mlflow_governance.plugin import compat, methods, routes
from mlflow_governance.plugin.route_table import GROUPS, Reach
from mlflow_governance.plugin.routes import FlaskGate, Inventory, NativeGate, expand, template
from mlflow_governance.web.mount import blueprints

pytestmark = pytest.mark.filterwarnings(
    "ignore:starlette.middleware.wsgi is deprecated",  # MLflow's bridge stands on it
)

VERSION = "/version"
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/{artifact_path:path}"
INVOCATIONS = "/gateway/{endpoint_name}/mlflow/invocations"


async def secret(request: Any) -> PlainTextResponse:
    """A view of a plugin that nobody looked at."""
    return PlainTextResponse("secret")


async def endless(websocket: WebSocket) -> None:
    """A web socket of such a plugin."""
    await websocket.accept()


def flask_app(**options: Any) -> flask.Flask:
    """A Flask application with one route of MLflow's."""
    app = flask.Flask("mlflow.server", static_folder=None)
    app.add_url_rule(VERSION, "version", server.version)
    FlaskGate(app, Inventory(**options))
    return app


class Server:
    """MLflow's FastAPI application around such a Flask application, behind the gate."""

    def __init__(self, **options: Any) -> None:
        self.flask = flask_app(**options)
        self.fastapi: FastAPI = compat.create_fastapi_app(self.flask)
        self.gate = NativeGate(self.fastapi, self.flask, Inventory(**options))

    def first(self, route: Any) -> None:
        """Put a route before all others, as plugins must for it to be reached."""
        self.fastapi.router.routes.insert(0, route)

    def ask(self, path: str, method: str = "GET", kind: str = "http") -> tuple[int, str]:
        """Status and body of an answer; of a web socket the code it was closed with."""
        scope = {
            "type": kind,
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 9),
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"127.0.0.1")],
            "subprotocols": [],
        }
        if kind == "http":
            scope["method"] = method
        sent: list[Any] = []
        asyncio.run(_serve(self.gate, scope, sent))
        if kind == "websocket":
            return sent[0].get("code", 0), sent[0]["type"]
        return sent[0]["status"], b"".join(m.get("body", b"") for m in sent[1:]).decode()


async def _serve(app: Any, scope: Any, sent: list[Any]) -> None:
    first = {"type": "http.request", "body": b""}
    if scope["type"] == "websocket":
        first = {"type": "websocket.connect"}
    messages: Iterable[Any] = iter([first])

    async def receive() -> Any:
        return next(messages, {"type": f"{scope['type']}.disconnect"})  # type: ignore[call-overload]

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)


def refused(answer: tuple[int, str], route: str) -> None:
    """The answer is MLflow's kind of refusal, and names the route and what to do."""
    status, body = answer
    document = json.loads(body)
    assert status == 403
    assert document["error_code"] == "PERMISSION_DENIED"
    assert f"does not know the route {route}" in document["message"]
    assert "Upgrade mlflow-governance, or pin mlflow" in document["message"]


# Flask ----------------------------------------------------------------------------------------


def test_a_known_flask_route_is_served() -> None:
    assert flask_app().test_client().get(VERSION).text == server.VERSION


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_an_unknown_flask_route_is_refused(method: str) -> None:
    app = flask_app()
    app.add_url_rule("/exfiltrate", "exfiltrate", lambda: "secret")

    answer = app.test_client().open("/exfiltrate", method=method)

    assert answer.status_code == 403
    if method != "HEAD":
        refused((answer.status_code, answer.text), f"{method} /exfiltrate")


def test_a_flask_route_added_after_the_first_request_is_refused() -> None:
    app = flask_app()
    client = app.test_client()
    client.get(VERSION)
    app.view_functions["late"] = lambda: "secret"
    app.url_map.add(app.url_rule_class("/late", endpoint="late", methods=["GET"]))

    answer = client.get("/late")

    refused((answer.status_code, answer.text), "GET /late")


def test_a_new_route_in_the_place_of_a_parameter_is_not_mistaken_for_the_old_one() -> None:
    """Flask prefers the word to the parameter; by its path alone it would be a known route."""
    app = flask_app()
    path = "/api/3.0/mlflow/traces/export-model-bytes"
    app.add_url_rule(path, "new", server.handlers._get_trace_info_v3)

    answer = app.test_client().get(path)

    refused((answer.status_code, answer.text), f"GET {path}")


def test_a_known_route_with_another_method_is_refused() -> None:
    app = flask_app()
    app.add_url_rule("/get-artifact", "write", server.serve_artifacts, methods=["POST"])

    answer = app.test_client().post("/get-artifact")

    refused((answer.status_code, answer.text), "POST /get-artifact")


def test_somebody_elses_code_on_a_known_route_is_refused() -> None:
    app = flask_app()
    client = app.test_client()
    assert client.get(VERSION).status_code == 200
    app.view_functions["version"] = lambda: "secret"

    answer = client.get(VERSION)

    refused((answer.status_code, answer.text), f"GET {VERSION}")


def test_the_gate_stands_before_other_functions_that_answer() -> None:
    app = flask.Flask("mlflow.server", static_folder=None)
    app.add_url_rule("/exfiltrate", "exfiltrate", lambda: "secret")
    app.before_request(lambda: "secret")
    FlaskGate(app, Inventory())

    assert app.test_client().get("/exfiltrate").status_code == 403


def test_what_is_no_route_at_all_stays_what_it_was() -> None:
    client = flask_app().test_client()

    assert client.get("/nothing").status_code == 404
    assert client.post(VERSION).status_code == 405


def test_an_unknown_route_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    app = flask_app()
    app.add_url_rule("/exfiltrate", "exfiltrate", lambda: "secret")

    with caplog.at_level(logging.WARNING):
        app.test_client().get("/exfiltrate")

    assert "GET /exfiltrate" in caplog.text


# FastAPI and whatever else speaks ASGI --------------------------------------------------------


def test_known_routes_of_both_kinds_are_served() -> None:
    running = Server()

    assert running.ask(VERSION) == (200, server.VERSION)
    assert running.ask("/v1/traces", "POST")[0] == 422  # FastAPI: a header is missing


UNKNOWN: dict[str, Callable[[], Any]] = {
    "route": lambda: Route("/exfiltrate/{x}", secret),
    "mounted application": lambda: Mount("/exfiltrate", app=PlainTextResponse("secret")),
    "application mounted over everything": lambda: Mount("", app=PlainTextResponse("secret")),
    "router for a host": lambda: Host("127.0.0.1", app=Router([Route("/{x:path}", secret)])),
    "route that swallows all": lambda: Route("/{x:path}", secret),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_an_unknown_asgi_route_is_refused(kind: str) -> None:
    running = Server()
    running.first(UNKNOWN[kind]())

    status, body = running.ask("/exfiltrate/model")

    assert status == 403
    assert "does not know the route" in json.loads(body)["message"]
    assert "secret" not in body


def test_a_route_of_an_included_router_is_refused_also_when_it_comes_later() -> None:
    from fastapi import APIRouter

    running = Server()
    router = APIRouter(prefix="/plugin")
    router.add_api_route("/early", secret)
    mount = running.fastapi.router.routes.pop()
    running.fastapi.include_router(router)
    running.fastapi.router.routes.append(mount)
    refused(running.ask("/plugin/early"), "GET /plugin/early")

    router.add_api_route("/late", secret)

    assert running.ask("/plugin/late")[0] in (403, 404)  # older FastAPI never sees it
    assert running.ask(VERSION)[0] == 200


def test_a_route_added_after_the_first_request_is_refused() -> None:
    running = Server()
    assert running.ask(VERSION)[0] == 200

    running.first(Route("/exfiltrate", secret))

    refused(running.ask("/exfiltrate"), "GET /exfiltrate")
    assert running.ask(VERSION)[0] == 200


def test_a_route_that_replaces_another_object_is_noticed() -> None:
    running = Server()
    running.first(Route(VERSION, server.version))
    assert running.ask("/nothing")[0] == 404

    running.fastapi.router.routes[0] = Route("/exfiltrate", secret)

    refused(running.ask("/exfiltrate"), "GET /exfiltrate")


def test_somebody_elses_code_on_a_known_asgi_route_is_refused() -> None:
    running = Server()
    running.first(Route(ARTIFACT, secret))

    refused(running.ask("/api/2.0/mlflow-artifacts/artifacts/m/model.bin"), f"GET {ARTIFACT}")


def test_a_route_behind_flask_is_never_reached_and_takes_nothing_away() -> None:
    running = Server()
    running.fastapi.router.routes.append(Route("/{x:path}", secret))

    assert running.ask(VERSION) == (200, server.VERSION)
    assert running.ask("/exfiltrate")[0] == 404


def test_another_method_than_the_unknown_one_goes_its_usual_way() -> None:
    running = Server()
    running.first(Route(VERSION, secret, methods=["POST"]))

    assert running.ask(VERSION) == (200, server.VERSION)
    refused(running.ask(VERSION, "POST"), f"POST {VERSION}")


def test_another_flask_application_in_the_place_of_mlflows_is_refused() -> None:
    running = Server()
    other = flask.Flask("other", static_folder=None)
    other.add_url_rule(VERSION, "version", lambda: "secret")
    running.fastapi.router.routes[-1] = Mount(
        "/", app=type(running.fastapi.router.routes[-1].app)(other)
    )

    assert running.ask(VERSION)[0] == 403


def test_an_unknown_web_socket_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    running = Server()
    running.first(WebSocketRoute("/exfiltrate", endless))

    with caplog.at_level(logging.WARNING):
        assert running.ask("/exfiltrate", kind="websocket") == (1008, "websocket.close")

    assert "WEBSOCKET /exfiltrate" in caplog.text


def test_the_life_of_the_server_passes() -> None:
    seen: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    gate = NativeGate(inner, flask_app(), Inventory())
    asyncio.run(gate({"type": "lifespan"}, None, None))  # type: ignore[arg-type]

    assert seen == ["lifespan"]


# The host -------------------------------------------------------------------------------------


def test_nobody_runs_programs_on_the_host_where_people_log_in() -> None:
    path = "/ajax-api/3.0/mlflow/assistant/message"

    status, body = Server(people=True).ask(path, "POST")

    assert status == 403
    assert "runs programs on the server's host" in json.loads(body)["message"]
    assert Server(people=False).ask(path, "POST")[0] != 403


# GraphQL --------------------------------------------------------------------------------------


def test_a_field_nobody_classified_is_taken_out_of_the_schema(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    roots = {"QUERY": {"mlflowGetRun": 1, "mlflowGetBytes": 2}, "MUTATION": {"testMutation": 3}}
    monkeypatch.setattr(compat, "graphql_roots", lambda: roots)

    assert list(map(str, routes.close_graphql(Inventory()))) == ["QUERY mlflowGetBytes"]
    assert roots == {"QUERY": {"mlflowGetRun": 1}, "MUTATION": {"testMutation": 3}}


# The table ------------------------------------------------------------------------------------


def test_a_line_means_every_word_it_names_and_nothing_else() -> None:
    assert set(expand("GET PUT */2.0|3.0/x|y/{id}")) == {
        (method, f"/{api}/{version}/{word}/{{}}")
        for method in ("GET", "PUT")
        for api in ("api", "ajax-api")
        for version in ("2.0", "3.0")
        for word in ("x", "y")
    }


@pytest.mark.parametrize("path", ["/a/<x>/b", "/a/{x}/b", "/a/{other}/b"])
def test_a_parameter_is_one_however_it_is_written(path: str) -> None:
    assert template(path) == "/a/{}/b"


def test_a_parameter_of_several_segments_is_another_one() -> None:
    assert template("/a/<path:x>") == template("/a/{x:path}") == "/a/{path}"
    assert template("/a/{x}") != template("/a/{x:path}")


def test_no_route_is_in_two_groups() -> None:
    lines = [line for group in GROUPS for line in group.lines.strip().splitlines()]
    named = [route for line in lines for route in expand(line)]

    assert len(named) == len(set(named))


def test_no_line_swallows_what_begins_like_it() -> None:
    """A parameter is never the first or the second word of a family."""
    for group in GROUPS:
        for line in group.lines.strip().splitlines():
            for method, path in expand(line):
                words = path.split("/")[1:] or [path]
                assert not words[0].startswith("{"), (method, path)
                if words[0] in ("api", "ajax-api"):
                    assert not any(word.startswith("{") for word in words[:3]), (method, path)


@pytest.mark.parametrize("prefix", ["", "/ml"])
def test_our_own_routes_are_known(prefix: str) -> None:
    app = flask.Flask("ours", static_folder=None)
    inventory = Inventory(prefix)
    services: Any = None  # what the views stand on; no view is called
    for blueprint in blueprints(services, prefix):
        app.register_blueprint(blueprint)
    own = list(routes.flask_routes(app))

    assert len(own) > 20
    assert inventory.unknown(own) == []
    assert inventory.unknown([routes.Route("GET", "/governance/unheard-of", "mlflow_governance")])


def test_a_prefix_is_taken_off_once_and_as_a_whole() -> None:
    inventory = Inventory("/ml")

    def known(path: str) -> bool:
        return inventory.find(routes.Route("GET", path, "mlflow")) is not None

    assert known("/ml/get-artifact")
    assert known("/get-artifact")
    assert not known("/ml/ml/get-artifact")
    assert not known("/mlget-artifact")


def test_a_gate_that_is_a_method_of_the_registry_is_a_known_one() -> None:
    words = {word for g in GROUPS for word in g.gate.replace(":", ",").split(", ") if "_" in word}
    registry = {word for word in words if "model_version" in word or "registered_model" in word}

    assert {"create_model_version", "get_model_version_download_uri"} <= registry
    assert registry <= methods.KNOWN


def test_every_class_that_reaches_something_names_its_gate() -> None:
    for group in GROUPS:
        assert group.gate or group.reach is Reach.HARMLESS, group.about
