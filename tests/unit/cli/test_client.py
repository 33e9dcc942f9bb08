"""The commands' HTTP client, against real servers on the loopback interface."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest
from click.testing import CliRunner
from werkzeug.serving import make_server

from mlflow_governance import errors
from mlflow_governance.cli.client import PREFIX, RegistryClient
from mlflow_governance.cli.connection import Connection
from mlflow_governance.cli.main import cli
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.web import api
from tests.unit.web.builders import Registry, registry, scientist

CHURN = VersionRef("churn", 1)


@contextmanager
def serving(app: WSGIApplication) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answering(
    status: str, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()
) -> tuple[list[WSGIEnvironment], WSGIApplication]:
    seen: list[WSGIEnvironment] = []

    def app(environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        seen.append(environ)
        start(status, [("Content-Length", str(len(body))), *headers])
        return [body]

    return seen, app


def asking(
    app: WSGIApplication, environ: dict[str, str], call: Callable[[RegistryClient], Any]
) -> Any:
    with serving(app) as base:
        environ = {"MLFLOW_TRACKING_URI": base, **environ}
        return call(RegistryClient(connection=Connection.from_environment(environ=environ)))


def refused(app: WSGIApplication, **environ: str) -> errors.GovernanceError:
    with pytest.raises(errors.GovernanceError) as caught:
        asking(app, environ, RegistryClient.health)
    return caught.value


@pytest.fixture
def governed() -> Registry:
    made = registry()
    made.add("churn", 1, Stage.STAGING)
    return made


@pytest.fixture
def client(governed: Registry) -> Iterator[RegistryClient]:
    with serving(governed.app()) as base:
        yield RegistryClient(base)


def test_the_client_and_the_server_mean_the_same_paths() -> None:
    assert PREFIX == api.API


def test_every_method_is_answered(client: RegistryClient) -> None:
    data = b'{"payload": ""}'

    assert client.health() == {"status": "ok"}
    assert client.versions("churn", "Staging")["total"] == 1
    assert client.version(CHURN)["ahead"]["stage"] == "Approved"
    assert client.approve(CHURN, "security", "seen")["approval"]["person"] == "ann"
    assert client.attach(CHURN, "attestations/a.intoto.json", data)["file"]["size"] == len(data)
    assert client.attachment(CHURN, "attestations/a.intoto.json") == data
    verdict = client.judge(CHURN)["decision"]
    assert verdict["allow"] is True
    assert client.decision(verdict["decision_id"])["dossier"]["gate"] == "promote"
    assert client.quarantine(CHURN, "drift")["version"]["stage"] == "Quarantined"
    assert client.restore(CHURN, "cleared")["version"]["stage"] == "Staging"
    assert client.revoke(CHURN, "CVE")["version"]["stage"] == "Revoked"
    size = client.ledger_head()["size"]
    assert [index for index, _ in client.ledger_entries(0)] == list(range(size))
    assert client.ledger_proof(1)["entry"].encode() == client.ledger_entries(1, 1)[0][1]
    assert json.loads(client.revocations())["blocked"]
    assert json.loads(client.trust()) == {"keys": []}
    assert client.policy()["policy_digest"].startswith("sha256:")


def test_a_refusal_arrives_as_the_error_it_was(governed: Registry, client: RegistryClient) -> None:
    governed.actor = scientist()

    with pytest.raises(errors.Denied) as denied:
        client.revoke(CHURN, "no")
    with pytest.raises(errors.NotFound):
        client.version(VersionRef("churn", 9))
    with pytest.raises(errors.InvalidRequest):
        client.approve(CHURN, "security", "x", decision="maybe")
    with pytest.raises(errors.Conflict):
        client.restore(CHURN, "x")

    assert denied.value.exit_code == 4
    assert denied.value.details["reasons"][0]["code"] == "WDR-005"


@pytest.mark.parametrize(
    "kind",
    [
        errors.InvalidRequest,
        errors.NotFound,
        errors.ConfigurationError,
        errors.VerificationError,
        errors.LedgerError,
        errors.Denied,
        errors.Unauthenticated,
        errors.Conflict,
        errors.Unavailable,
        errors.GovernanceError,
    ],
)
def test_every_error_keeps_its_kind_and_exit_code(kind: type[errors.GovernanceError]) -> None:
    document = {**kind("what", advice="do", index=7).to_document(), "self": 1}
    _, app = answering("409 Conflict", json.dumps(document).encode())

    told = refused(app)

    assert type(told) is kind
    assert (told.message, told.advice, told.details) == ("what", "do", {"index": 7})
    assert told.exit_code == kind.exit_code


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("401 Unauthorized", b"You are not authenticated", errors.Unauthenticated),
        ("403 Forbidden", b"Permission denied", errors.Denied),
        ("404 Not Found", b"<!doctype html>", errors.ConfigurationError),
        ("405 Method Not Allowed", b"", errors.ConfigurationError),
        ("429 Too Many Requests", b"", errors.Unavailable),
        ("500 Internal Server Error", b"<h1>oops</h1>", errors.Unavailable),
        ("502 Bad Gateway", b"[]", errors.Unavailable),
        ("200 OK", b"<!doctype html>", errors.Unavailable),
        ("200 OK", b"[1]", errors.Unavailable),
        ("200 OK", b"[" * 100_000, errors.Unavailable),
        ("200 OK", b'{"a": 1, "a": 2}', errors.Unavailable),
        ("404 Not Found", b'{"error_code": "ENDPOINT_NOT_FOUND"}', errors.ConfigurationError),
    ],
)
def test_an_answer_of_something_else_is_told_as_such(
    status: str, body: bytes, kind: type[errors.GovernanceError]
) -> None:
    _, app = answering(status, body)

    told = refused(app)

    assert type(told) is kind
    assert told.advice


def test_a_redirect_is_not_followed_and_its_ticket_not_repeated() -> None:
    location = ("Location", "https://login.example.org/start?ticket=hunter2")
    seen, app = answering("302 Found", b"", (location,))

    told = refused(app)

    assert isinstance(told, errors.ConfigurationError)
    assert "https://login.example.org/start" in str(told)
    assert "hunter2" not in str(told)
    assert len(seen) == 1


def test_an_answer_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlflow_governance.cli.client._MAX_ANSWER", 1000)
    _, app = answering("200 OK", b'"' + b"x" * 10_000 + b'"')

    assert "more than 1000 bytes" in refused(app).message


def test_malformed_ledger_entries_are_refused() -> None:
    for body in (b'{"entries": [1]}', b'{"entries": 7}', b'{"entries": [{"index": "x"}]}'):
        _, app = answering("200 OK", body)
        with pytest.raises(errors.Unavailable):
            asking(app, {}, lambda client: client.ledger_entries(0))


def test_nobody_there_is_unavailable_with_advice() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        client = RegistryClient(f"http://127.0.0.1:{held.getsockname()[1]}")
        with pytest.raises(errors.Unavailable, match="cannot be reached") as caught:
            client.health()

    assert "MLFLOW_TRACKING_URI" in caught.value.advice


def test_a_silent_server_is_unavailable_after_the_time_out() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        base = f"http://127.0.0.1:{held.getsockname()[1]}"
        client = RegistryClient(connection=Connection(base, timeout=0.05))
        with pytest.raises(errors.Unavailable, match="did not answer in time"):
            client.health()


@pytest.mark.parametrize(
    ("environ", "header"),
    [
        ({}, None),
        (
            {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "é"},
            "Basic YW5uOsOp",
        ),
        ({"MLFLOW_TRACKING_TOKEN": "t0ken"}, "Bearer t0ken"),
        (
            {
                "MLFLOW_TRACKING_USERNAME": "ann",
                "MLFLOW_TRACKING_PASSWORD": "x",
                "MLFLOW_TRACKING_TOKEN": "t0ken",
            },
            "Basic YW5uOng=",
        ),
        ({"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_TOKEN": "t0ken"}, "Bearer t0ken"),
    ],
)
def test_credentials_come_from_mlflows_own_variables(
    environ: dict[str, str], header: str | None
) -> None:
    seen, app = answering("200 OK", b"{}")

    asking(app, environ, RegistryClient.health)

    assert seen[0].get("HTTP_AUTHORIZATION") == header


def test_a_netrc_does_not_replace_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login eve password evil\n")
    monkeypatch.setenv("NETRC", str(netrc))
    seen, app = answering("200 OK", b"{}")

    asking(app, {"MLFLOW_TRACKING_TOKEN": "t0ken"}, RegistryClient.health)

    assert seen[0]["HTTP_AUTHORIZATION"] == "Bearer t0ken"


def test_credentials_in_the_address_are_used_and_never_shown() -> None:
    uri = "https://ann:hunt%40er@mlflow.example.org:8443/ml/"
    connection = Connection.from_environment(uri, {})

    assert connection.base == "https://mlflow.example.org:8443/ml"
    assert "hunt" not in repr(connection)
    assert (
        connection.auth
        == Connection.from_environment(
            "https://x",
            {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "hunt@er"},
        ).auth
    )


@pytest.mark.parametrize(
    "uri",
    ["", "sqlite:///mlflow.db", "mlruns", "http://", "http://[::1", "http://h:99999", "ftp://h"],
)
def test_an_address_that_is_no_http_server_is_a_configuration_error(uri: str) -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        Connection.from_environment(uri, {})

    assert "MLFLOW_TRACKING_URI" in caught.value.advice


def test_certificates_are_checked_unless_the_environment_says_otherwise(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()

    def verify(**environ: str) -> bool | str:
        return Connection.from_environment("https://h", environ).verify

    assert verify() is True
    assert verify(MLFLOW_TRACKING_INSECURE_TLS="true") is False
    assert verify(MLFLOW_TRACKING_INSECURE_TLS="false") is True
    assert verify(MLFLOW_TRACKING_SERVER_CERT_PATH=str(authority)) == str(authority)
    with pytest.raises(errors.ConfigurationError):
        verify(MLFLOW_TRACKING_INSECURE_TLS="1", MLFLOW_TRACKING_SERVER_CERT_PATH=str(authority))
    with pytest.raises(errors.ConfigurationError):
        verify(MLFLOW_TRACKING_SERVER_CERT_PATH=str(tmp_path / "gone.pem"))


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_time_out_that_is_no_number_of_seconds_is_refused(text: str) -> None:
    with pytest.raises(errors.ConfigurationError):
        Connection.from_environment("https://h", {"MLFLOW_HTTP_REQUEST_TIMEOUT": text})


def test_a_word_is_given_and_taken_back_by_command(
    governed: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = ("approve", "churn/1", "--as", "security", "--reason")
    with serving(governed.app()) as base:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", base)
        told = [
            CliRunner().invoke(cli, [*word, *more], standalone_mode=False)
            for more in (("read the report",), ("it was wrong", "--withdraw"), ("x", "--withdraw"))
        ]

    assert told[0].output == "churn/1 approved by ann for security\n"
    assert told[1].output == "churn/1 is no longer approved by ann for security\n"
    assert isinstance(told[2].exception, errors.Denied)
