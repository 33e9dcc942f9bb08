"""The real servers of Sigstore, started for a test on loopback.

Real: Fulcio with its file CA, Rekor v2 (rekor-tiles on a POSIX file system), the time stamp
authority with its file signer; ``make tools`` builds them. Ours: the identity provider, since any
OpenID Connect issuer will do, and the CT log. That one signs what Fulcio's own client verifies,
but keeps no tree: the log that Sigstore runs (tesseract) is in no Go module registry, and the
one before it (ct_server) needs Trillian and a database.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.sigstore import fulcio, tsa
from tests.sigstore.certificates import pem, private_pem
from tests.sigstore.ct import CtLog
from tests.sigstore.deployment import Answer, Http, Parts, as_json
from tests.sigstore.oidc import AUDIENCE, Issuer

FULCIO, REKOR, TSA = "fulcio", "rekor-server-posix", "timestamp-server"
ORIGIN = "rekor.example.test"

_PASSWORD = "of a test"
_LOCAL = Path(__file__).parents[2] / ".tools" / "bin"
_START_SECONDS = 30


def missing() -> list[str]:
    """The servers that are neither on the PATH nor in ``.tools/bin``."""
    return [name for name in (FULCIO, REKOR, TSA) if _binary(name) is None]


def _binary(name: str) -> str | None:
    local = _LOCAL / name
    return shutil.which(name) or (str(local) if local.is_file() else None)


class RealSigstore:
    """The surface of :class:`~tests.sigstore.private.PrivateSigstore`, by the real servers.

    Tokens are for e-mail addresses: an issuer of Fulcio's has one kind of subjects.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ct = CtLog()
        self._http = Http(
            {
                "GET /.well-known/openid-configuration": self._discovery,
                "GET /keys": lambda *_: (200, *as_json(self._oidc.keys())),
                "POST /ct/ct/v1/add-pre-chain": self._add_pre_chain,
            }
        )
        self.issuer = self._http.url
        self._oidc = Issuer(self.issuer)
        try:
            self.client_trust_config, self.trusted_root = self._start().write(folder)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def token(self, identity: str, **claims: Any) -> str:
        """A token of the issuer for an e-mail address."""
        return self._oidc.token(identity, **claims)

    def stop(self) -> None:
        """Stop every service; twice is fine."""
        self._http.stop()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self) -> Parts:
        authority, log_key = fulcio.authority(), ed25519.Ed25519PrivateKey.generate()
        stamper = tsa.authority()
        self.tsa_chain = pem(*stamper.chain)
        fulcio_url = self._fulcio(pem(*authority.chain), private_pem(authority.key, _secret()))
        rekor_url = self._rekor(private_pem(log_key))
        stamp_url = self._tsa(private_pem(stamper.key, _secret()))
        self.tsa_url = f"{stamp_url}/api/v1/timestamp"
        for url, path in ((fulcio_url, "/healthz"), (rekor_url, "/healthz"), (stamp_url, "/ping")):
            self._await(url, path)
        raw = log_key.public_key().public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)
        log_id = hashlib.sha256(ORIGIN.encode() + b"\n\x01" + raw).digest()
        return Parts(
            since=datetime.now(UTC) - timedelta(days=1),
            urls={
                "fulcio": fulcio_url,
                "oidc": self.issuer,
                "rekor": rekor_url,
                "ct": f"{self.issuer}/ct",
                "tsa": self.tsa_url,
            },
            fulcio=authority.chain,
            ct=(self._ct.key.public_key(), self._ct.log_id),
            rekor=(log_key.public_key(), log_id, ORIGIN, "PKIX_ED25519"),
            tsa=stamper.chain,
        )

    def _fulcio(self, chain: bytes, key: bytes) -> str:
        port, grpc, metrics = _free_ports(3)
        ct_key = self._ct.key.public_key().public_bytes(
            form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
        )
        issuer = {"IssuerURL": self.issuer, "ClientID": AUDIENCE, "Type": "email"}
        config = json.dumps({"OIDCIssuers": {self.issuer: issuer}}).encode()
        self._run(
            FULCIO, "serve", "--host=127.0.0.1", f"--port={port}",
            "--grpc-host=127.0.0.1", f"--grpc-port={grpc}", f"--metrics-port={metrics}",
            f"--legacy-unix-domain-socket={self.folder / 'fulcio.sock'}",
            f"--config-path={self._file('fulcio.json', config)}",
            "--ca=fileca", "--fileca-watch=false", f"--fileca-key-passwd={_PASSWORD}",
            f"--fileca-cert={self._file('fulcio.pem', chain)}",
            f"--fileca-key={self._file('fulcio.key', key)}",
            f"--ct-log-url={self.issuer}/ct",
            f"--ct-log-public-key-path={self._file('ct.pub', ct_key)}",
        )  # fmt: skip
        return f"http://127.0.0.1:{port}"

    def _rekor(self, key: bytes, *more: str) -> str:
        port, grpc, metrics = _free_ports(3)
        self._run(
            REKOR, "serve", f"--http-port={port}", f"--grpc-port={grpc}",
            f"--http-metrics-port={metrics}", f"--hostname={ORIGIN}",
            f"--storage-dir={self.folder / 'rekor'}",
            f"--signer-filepath={self._file('rekor.key', key)}",
            "--checkpoint-interval=200ms", "--batch-max-age=50ms", *more,
        )  # fmt: skip
        return f"http://127.0.0.1:{port}"

    def _tsa(self, key: bytes) -> str:
        (port,) = _free_ports(1)
        self._run(
            TSA, "serve", "--host=127.0.0.1", f"--port={port}", "--disable-ntp-monitoring",
            "--timestamp-signer=file", f"--file-signer-passwd={_PASSWORD}",
            f"--file-signer-key-path={self._file('tsa.key', key)}",
            f"--certificate-chain-path={self._file('tsa.pem', self.tsa_chain)}",
        )  # fmt: skip
        return f"http://127.0.0.1:{port}"

    def _run(self, name: str, *arguments: str) -> None:
        binary = _binary(name)
        if binary is None:
            raise FileNotFoundError(f"{name} is not installed: make tools")
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen([binary, *arguments], stdout=log, stderr=log, cwd=self.folder)
            )

    def _await(self, url: str, path: str) -> None:
        import requests

        latest = time.monotonic() + _START_SECONDS
        while time.monotonic() < latest:
            if any(process.poll() is not None for process in self._processes):
                break
            with contextlib.suppress(requests.RequestException):
                if requests.get(url + path, timeout=2).status_code == 200:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"a server of Sigstore did not start:\n{self._logs()}")

    def _logs(self) -> str:
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-2000:]}" for log in logs)

    def _file(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    def _discovery(self, body: bytes, headers: dict[str, str]) -> Answer:
        return 200, *as_json(self._oidc.discovery())

    def _add_pre_chain(self, body: bytes, headers: dict[str, str]) -> Answer:
        return 200, *as_json(self._ct.add_pre_chain(json.loads(body)))


class RealStamps(RealSigstore):
    """The time stamp authority alone: its address, and its certificates in PEM."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._http = Http({})
        stamper = tsa.authority()
        self.chain = self.tsa_chain = pem(*stamper.chain)
        try:
            url = self._tsa(private_pem(stamper.key, _secret()))
            self._await(url, "/ping")
        except BaseException:
            self.stop()
            raise
        self.url = f"{url}/api/v1/timestamp"


class RealLog(RealSigstore):
    """The log of Sigstore alone, which publishes nothing a witness has not cosigned.

    Args:
        folder: of its files.
        key: its Ed25519 key; the origin is ``ORIGIN``.
        witness: the verifier key and address of the witness.
    """

    def __init__(
        self, folder: Path, key: ed25519.Ed25519PrivateKey, witness: tuple[str, str]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._http = Http({})
        policy = f"witness w1 {witness[0]} {witness[1]}\nquorum w1\n".encode()
        try:
            self.url = self._rekor(
                private_pem(key), f"--witness-policy-path={self._file('policy', policy)}"
            )
            self._await(self.url, "/healthz")
        except BaseException:
            self.stop()
            raise


def log_missing() -> bool:
    """The log is not installed."""
    return _binary(REKOR) is None


def stamps_missing() -> bool:
    """The time stamp authority is not installed."""
    return _binary(TSA) is None


def _secret() -> bytes:
    return _PASSWORD.encode()


def _free_ports(count: int) -> Sequence[int]:
    with contextlib.ExitStack() as stack:
        listeners = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [listener.getsockname()[1] for listener in listeners]
