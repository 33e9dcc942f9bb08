"""The OPA engine against servers that misbehave; a real OPA is asked in tests/contract."""

from __future__ import annotations

import gzip
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.core.dossier import Gate
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy import opa
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.opa import OpaEngine
from tests.unit.policy.builders import dossier, shipped

BUNDLE = shipped()
CASE = dossier(Gate.DOWNLOAD)
RESULT = EmbeddedEngine(BUNDLE).evaluate(Gate.DOWNLOAD, CASE.encoded)
PROVENANCE = {"bundles": {"policies": {"revision": BUNDLE.digest}}}
GOOD = {"result": RESULT, "provenance": PROVENANCE}

Act = Callable[[BaseHTTPRequestHandler], None]


def sends(status: int, body: object, **headers: str) -> Act:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def act(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return act


def sleeps(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(1.5)


def drips(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(15):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


def drips_headers(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(10):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.1)


def floods(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(64):
        handler.wfile.write(b" " * 65536)


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def served(act: Act) -> Iterator[tuple[str, list[Any]]]:
    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, dict(self.headers), json.loads(body)))
            try:
                act(self)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def codes(act: Act, **settings: Any) -> list[str]:
    with served(act) as (url, _):
        engine = OpaEngine(url, BUNDLE, **{"deadline_seconds": 0.5} | settings)
        decision = decide(engine, CASE)
    assert decision.allow is (decision.reasons == ())
    return [reason.code for reason in decision.reasons]


def test_a_good_answer_of_the_policy_in_force_counts() -> None:
    with served(sends(200, GOOD)) as (url, seen):
        engine = OpaEngine(url, BUNDLE, token="s3cret")
        decision = decide(engine, CASE)

    assert decision.allow
    assert decision.policy_digest == BUNDLE.digest
    assert decision.engine.startswith("opa 127.0.0.1:")
    (path, headers, body) = seen[0]
    assert path.startswith("/v1/data/registry/download/decision?")
    assert "strict-builtin-errors=true" in path
    assert "provenance=true" in path
    assert headers["Authorization"] == "Bearer s3cret"
    assert body == {"input": CASE.to_document()}


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (sends(200, {"provenance": PROVENANCE}), "ENG-UNDEFINED"),
        (sends(200, {"result": None, "provenance": PROVENANCE}), "ENG-UNDEFINED"),
        (sends(200, {"result": "yes", "provenance": PROVENANCE}), "ENG-SHAPE"),
        (sends(200, {"result": {"allow": True}, "provenance": PROVENANCE}), "ENG-SHAPE"),
        (sends(200, ["result"]), "ENG-SHAPE"),
        (sends(200, b"<html>"), "ENG-SHAPE"),
        (sends(200, b""), "ENG-SHAPE"),
        (sends(200, b"\xff\xfe"), "ENG-SHAPE"),
        (sends(200, b"[" * 200_000), "ENG-SHAPE"),
        (sends(200, {"result": RESULT}), "ENG-REVISION"),
        (sends(200, {"result": RESULT, "provenance": None}), "ENG-REVISION"),
        (sends(200, GOOD | {"provenance": {"bundles": ["x"]}}), "ENG-REVISION"),
        (
            sends(200, GOOD | {"provenance": {"bundles": {"a": {"revision": "old"}}}}),
            "ENG-REVISION",
        ),
        (sends(400, {"code": "x"}), "ENG-HTTP-400"),
        (sends(401, b"no"), "ENG-HTTP-401"),
        (sends(500, {"code": "internal_error", "errors": [5]}), "ENG-HTTP-500"),
        (sends(503, {"errors": {}}), "ENG-HTTP-503"),
        (sends(302, b"", Location="/v1/elsewhere"), "ENG-HTTP-302"),
        (sleeps, "ENG-TIMEOUT"),
        (drips, "ENG-TIMEOUT"),
        (drips_headers, "ENG-TIMEOUT"),
        (floods, "ENG-SHAPE"),
        (hangs_up, "ENG-UNREACHABLE"),
    ],
)
def test_any_other_answer_is_a_denial_that_says_what_it_was(act: Act, code: str) -> None:
    assert codes(act) == [code]


def test_one_call_has_one_deadline_however_slowly_bytes_arrive() -> None:
    with served(drips) as (url, _):
        engine = OpaEngine(url, BUNDLE, deadline_seconds=0.3)
        started = time.monotonic()
        decide(engine, CASE)

        assert time.monotonic() - started < 1


def test_a_failed_question_is_not_asked_again() -> None:
    with served(sends(500, {"message": "eval_builtin_error"})) as (url, seen):
        decision = decide(OpaEngine(url, BUNDLE), CASE)

    assert len(seen) == 1
    assert "eval_builtin_error" in decision.reasons[0].message


def test_a_closed_port_is_unreachable() -> None:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    decision = decide(OpaEngine(f"http://127.0.0.1:{port}", BUNDLE), CASE)

    (reason,) = decision.reasons
    assert reason.code == "ENG-UNREACHABLE"
    # Whoever asked is told what is wrong and what to do, and not where the policy server is.
    assert reason.message == "the policy server cannot be reached: Connection refused"
    assert "mlflow-governance doctor" in reason.fix


def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password x\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    with served(sends(200, GOOD)) as (url, seen):
        assert decide(OpaEngine(url, BUNDLE, token="s3cret"), CASE).allow

    assert seen[0][1]["Authorization"] == "Bearer s3cret"


def test_too_many_waiting_decisions_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opa, "MAX_IN_FLIGHT", 1)

    # A server that drips outlives the deadline; its call keeps the only slot.
    with served(drips_headers) as (url, seen):
        engine = OpaEngine(url, BUNDLE, deadline_seconds=0.2)
        decisions = [decide(engine, CASE) for _ in range(3)]

    assert {d.reasons[0].code for d in decisions} == {"ENG-TIMEOUT"}
    assert "too many" in decisions[-1].reasons[0].message
    assert len(seen) == 1


def test_the_revision_check_can_be_switched_off() -> None:
    assert codes(sends(200, {"result": RESULT}), check_revision=False) == []


def test_an_answer_compressed_to_nothing_is_not_unpacked() -> None:
    bomb = gzip.compress(b" " * (64 * 1024 * 1024))

    assert codes(sends(200, bomb, **{"Content-Encoding": "gzip"})) == ["ENG-SHAPE"]


def test_a_fork_asks_over_a_connection_of_its_own() -> None:
    with served(sends(200, GOOD)) as (url, _):
        engine = OpaEngine(url, BUNDLE)
        assert decide(engine, CASE).allow
        client = engine._client
        # As if the slots were taken by threads that were not forked.
        while engine._slots.acquire(blocking=False):
            pass
        child = os.fork()
        if child == 0:
            right = decide(engine, CASE).allow and engine._client is not client
            os._exit(0 if right else 1)
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    "url",
    ["", "opa", "ftp://opa", "http://", "http://opa/v1", "http://opa?x=1", "http://u:p@opa",
     "http://opa:99999", "http://[::1", "http://opa:x"],
)  # fmt: skip
def test_an_unusable_url_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError):
        OpaEngine(url, BUNDLE)


def test_a_token_does_not_travel_unencrypted() -> None:
    with pytest.raises(ConfigurationError, match="unencrypted"):
        OpaEngine("http://opa.example:8181", BUNDLE, token="s3cret")
    for url in ("https://opa.example", "http://localhost", "http://[::1]:8181"):
        OpaEngine(url, BUNDLE, token="s3cret")
