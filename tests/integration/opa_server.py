"""A real `opa run --server` behind TLS and a token, on a port that stays through its restarts."""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from examples.local_server import free_port
from tests.contract.policy.binary import OPA, run
from tests.unit.policy.authority import Authority

TOKEN = "the-registry"
_MAY_ASK = f"""package system.authz

default allow := false

allow if input.path == ["health"]

allow if input.identity == "{TOKEN}"
"""


class OpaServer:
    """Starts, kills and starts again.

    Args:
        folder: its files; ``served/bundle.tar.gz`` is what the place it polls has,
            ``may_ask`` the bundle that says who may ask.
        key: the PEM file of the key named ``security``, which signs its bundles; the public half is
            beside it.
    """

    def __init__(self, folder: Path, key: Path) -> None:
        self.folder, self._public = folder, key.with_suffix(".pub")
        (folder / "served").mkdir(parents=True)
        self.may_ask = _may_ask(folder / "authz", key)
        self.authority = Authority(folder)
        self._port = free_port()
        self.url = f"https://localhost:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def serve(self, bundle: Path, authority: Authority | None = None) -> None:
        """Serve one file, verified with the key; it answers when this returns.

        ``authority``: who issues the certificate it shows, where it is another.
        """
        flags = ["--verification-key", str(self._public), "--verification-key-id", "security"]
        self.run(*flags, "--signing-alg", "ES256", "-b", str(bundle), str(self.may_ask),
                 authority=authority)  # fmt: skip

    def follow(self, place: str) -> None:
        """Fetch ``bundle.tar.gz`` from a place each second, and verify it with the key."""
        signed = {"algorithm": "ES256", "key": self._public.read_text()}
        registry = {
            "service": "place",
            "resource": "bundle.tar.gz",
            "signing": {"keyid": "security"},
            "polling": {"min_delay_seconds": 1, "max_delay_seconds": 1},
        }
        config = {
            "services": {"place": {"url": place}},
            "keys": {"security": signed},
            "bundles": {"registry": registry},
        }
        (self.folder / "config.json").write_text(json.dumps(config))
        self.run("-c", str(self.folder / "config.json"), str(self.may_ask / "authz.rego"))

    def pretend(self, bundle: Path) -> None:
        """Serve a folder that nobody signed."""
        self.run("--skip-verify", "-b", str(bundle), str(self.may_ask))

    def run(self, *arguments: str, authority: Authority | None = None) -> None:
        """Run it instead of what ran before."""
        self.kill()
        certificate, key = (authority or self.authority).issue("server", host="localhost")
        command = [OPA, "run", "--server", "--skip-version-check", "--log-level", "error"]
        command += ["--authentication=token", "--authorization=basic"]
        command += [f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--addr", f"localhost:{self._port}", *arguments], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 20
        while not self._answers(authority or self.authority):
            running = self._process.poll() is None and time.monotonic() < deadline
            assert running, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A plain request with the token; the answer as JSON, or the HTTP status that refused."""
        sent = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, sent, method=method)
        request.add_header("Authorization", f"Bearer {TOKEN}")
        context = ssl.create_default_context(cafile=self.authority.certificate)
        try:
            with urllib.request.urlopen(request, timeout=5, context=context) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code

    def revision(self) -> str:
        """The revision of the bundle it has now; empty before the first."""
        answer = self.ask("GET", "/v1/data/registry/config/modes?provenance=true")
        bundles = answer["provenance"].get("bundles", {})
        return next((str(b["revision"]) for b in bundles.values()), "")

    def _answers(self, authority: Authority) -> bool:
        context = ssl.create_default_context(cafile=authority.certificate)
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{self.url}/health", timeout=1, context=context).close()
            return True
        return False


def _may_ask(folder: Path, key: Path) -> Path:
    # With a verification key every bundle must be signed, and with -b every path is a bundle.
    folder.mkdir()
    (folder / "authz.rego").write_text(_MAY_ASK)
    (folder / ".manifest").write_text('{"roots": ["system"]}')
    done = run("sign", "--signing-key", str(key), "--signing-alg", "ES256", "--bundle", str(folder),
               "-o", str(folder))  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def place(folder: Path) -> Iterator[str]:
    """A plain HTTP server of a folder, as bundles are served from; its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
