"""What a deployment of Sigstore has, whoever runs it, and the files a client needs."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Protocol

from cryptography import x509

from tests.sigstore.certificates import der, spki

Answer = tuple[int, str, bytes]
Route = Callable[[bytes, dict[str, str]], Answer]


class Deployment(Protocol):
    """A running Sigstore."""

    folder: Path
    issuer: str
    client_trust_config: Path
    trusted_root: Path
    tsa_url: str
    tsa_chain: bytes

    def token(self, identity: str, **claims: Any) -> str:
        """An identity token of its issuer."""

    def stop(self) -> None:
        """Every service is gone; what was signed stays verifiable."""


@dataclass
class Parts:
    """Keys and addresses of a deployment."""

    since: datetime
    urls: dict[str, str]
    fulcio: tuple[x509.Certificate, ...]
    ct: tuple[object, bytes]
    rekor: tuple[object, bytes, str, str]
    """Key, log id, origin and key details."""
    tsa: tuple[x509.Certificate, ...]
    extra: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """The client trust config and the trusted root, as files."""
        root = self.trusted_root()
        config = {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": root,
            "signingConfig": self._signing_config(),
        }
        paths = folder / "client_trust_config.json", folder / "trusted_root.json"
        for path, document in zip(paths, (config, root), strict=True):
            path.write_text(json.dumps(document))
        return paths

    def trusted_root(self) -> dict[str, Any]:
        """What verifiers trust."""
        rekor_key, rekor_id, origin, details = self.rekor
        ct_key, ct_id = self.ct
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self._log(f"https://{origin}", rekor_key, details, rekor_id)],
            "certificateAuthorities": [self._authority("fulcio", self.fulcio)],
            "ctlogs": [
                self._log(self.urls["ct"], ct_key, "PKIX_ECDSA_P256_SHA_256", ct_id),
            ],
            "timestampAuthorities": [self._authority("tsa", self.tsa)],
        }

    def _signing_config(self) -> dict[str, Any]:
        return {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [self._service("fulcio", 1)],
            "oidcUrls": [self._service("oidc", 1)],
            "rekorTlogUrls": [self._service("rekor", 2)],
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaUrls": [self._service("tsa", 1)],
            "tsaConfig": {"selector": "ANY"},
        }

    def _service(self, name: str, version: int) -> dict[str, Any]:
        return {"url": self.urls[name], "majorApiVersion": version,
                "validFor": self._valid(), "operator": "example"}  # fmt: skip

    def _authority(self, name: str, chain: tuple[x509.Certificate, ...]) -> dict[str, Any]:
        return {
            "subject": {"organization": "Example", "commonName": name},
            "uri": self.urls[name],
            "certChain": {"certificates": [{"rawBytes": _b64(der(one))} for one in chain]},
            "validFor": self._valid(),
        }

    def _log(self, url: str, key: object, details: str, log_id: bytes) -> dict[str, Any]:
        return {
            "baseUrl": url,
            "hashAlgorithm": "SHA2_256",
            "publicKey": {"rawBytes": _b64(spki(key)), "keyDetails": details,
                          "validFor": self._valid()},
            "logId": {"keyId": _b64(log_id)},
        }  # fmt: skip

    def _valid(self) -> dict[str, str]:
        return {"start": self.since.strftime("%Y-%m-%dT%H:%M:%SZ")}


class Http:
    """A server on loopback; ``routes`` maps ``"POST /path"`` to what answers."""

    def __init__(self, routes: dict[str, Route]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                route = routes.get(f"{self.command} {self.path}", _absent)
                try:
                    status, kind, answer = route(body, dict(self.headers))
                except Exception as error:  # a test server says what went wrong
                    status, kind, answer = 400, *as_json({"message": str(error)})
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def as_json(document: dict[str, Any]) -> tuple[str, bytes]:
    return "application/json", json.dumps(document).encode()


def _absent(body: bytes, headers: dict[str, str]) -> Answer:
    return 404, *as_json({"message": "no such path"})


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
