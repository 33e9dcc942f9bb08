from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mlflow_governance.core import canonical
from mlflow_governance.errors import (
    Denied,
    NotFound,
    Unauthenticated,
    Unavailable,
    VerificationError,
)
from mlflow_governance.serving import fetch
from mlflow_governance.serving.fetch import LiveFetcher
from mlflow_governance.serving.settings import POLICY_ROUTE, REVOCATIONS_ROUTE, ServingSettings
from tests.unit.serving.builders import OTHER_POLICY, POLICY, revocations


@dataclass
class Server:
    """Answers every GET with one status and body, and remembers what it was asked."""

    url: str = ""
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def fetcher(self, **environment: str) -> LiveFetcher:
        settings = ServingSettings(Path("trust.yaml"), Path("cache"), server=self.url + "/")
        return LiveFetcher(settings, environment)


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append((self.path, self.headers.get("Authorization")))
            self.send_response(server.status)
            for name, value in server.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(server.body)))
            self.end_headers()
            self.wfile.write(server.body)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_port}"
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def test_the_list_comes_from_the_server_as_it_is(server: Server) -> None:
    server.body = revocations()

    assert server.fetcher().revocations() == server.body
    assert server.asked == [(REVOCATIONS_ROUTE, None)]


def test_the_server_says_which_policies_count(server: Server) -> None:
    server.body = canonical.encode({"policy_digest": POLICY, "engine": "x", "files": []})
    assert server.fetcher().policy_digests() == {POLICY}

    server.body = canonical.encode(
        {"policy_digest": POLICY, "accepted_policy_digests": [OTHER_POLICY]}
    )
    assert server.fetcher().policy_digests() == {POLICY, OTHER_POLICY}
    assert server.asked[0][0] == POLICY_ROUTE


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"<html>", b"{}", b'{"policy_digest": 1}',
        b'{"policy_digest": "sha256:x"}', b'{"policy_digest": null, "accepted_policy_digests": 1}',
    ],
)  # fmt: skip
def test_a_malformed_answer_about_the_policy_is_no_answer(server: Server, body: bytes) -> None:
    server.body = body

    with pytest.raises(VerificationError):
        server.fetcher().policy_digests()


def test_the_credentials_of_the_mlflow_client_are_sent(server: Server) -> None:
    server.fetcher(
        MLFLOW_TRACKING_USERNAME="ann", MLFLOW_TRACKING_PASSWORD="grün", MLFLOW_TRACKING_TOKEN="t"
    ).revocations()
    server.fetcher(MLFLOW_TRACKING_TOKEN="t0ken").revocations()

    basic = base64.b64encode("ann:grün".encode()).decode()
    assert [sent for _, sent in server.asked] == [f"Basic {basic}", "Bearer t0ken"]


def test_the_credentials_go_to_no_other_server(server: Server) -> None:
    with serving() as other:
        settings = ServingSettings(
            Path("t"), Path("c"), server=server.url, revocations=f"{other.url}/list"
        )
        LiveFetcher(settings, {"MLFLOW_TRACKING_TOKEN": "t0ken"}).revocations()

        assert other.asked == [("/list", None)]


def test_a_redirect_is_not_followed(server: Server) -> None:
    with serving() as other:
        server.status, server.headers = 302, {"Location": f"{other.url}/list"}

        with pytest.raises(Unavailable, match="answered 302"):
            server.fetcher(MLFLOW_TRACKING_TOKEN="t0ken").revocations()
        assert other.asked == []


def test_the_password_file_of_the_user_is_not_asked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ann password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    server.fetcher().revocations()

    assert server.asked[0][1] is None


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, Unauthenticated),
        (403, Denied),
        (404, NotFound),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
def test_what_the_server_refuses_is_a_typed_error(
    server: Server, status: int, error: type[Exception]
) -> None:
    server.status = status

    with pytest.raises(error, match=str(status)):
        server.fetcher().revocations()


def test_an_endless_answer_is_cut_off(server: Server) -> None:
    server.body = b"x" * (fetch._MAX_POLICY_BYTES + 1)

    with pytest.raises(VerificationError, match="more than"):
        server.fetcher().policy_digests()


def test_a_server_that_is_not_there_is_away() -> None:
    with serving() as gone:
        fetcher = gone.fetcher()

    with pytest.raises(Unavailable, match="does not answer"):
        fetcher.revocations()


@pytest.mark.parametrize(
    "settings",
    [
        ServingSettings(Path("t"), Path("c")),
        ServingSettings(Path("t"), Path("c"), server="http://127.0.0.1:1", offline=True),
    ],
)
def test_without_a_server_or_offline_nothing_is_asked(settings: ServingSettings) -> None:
    for ask in (LiveFetcher(settings, {}).revocations, LiveFetcher(settings, {}).policy_digests):
        with pytest.raises(Unavailable, match="nothing is fetched"):
            ask()
