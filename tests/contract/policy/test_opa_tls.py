"""A real OPA behind TLS: its own authority, client certificates, tokens, and their rotation."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.resources import folder
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.opa import OpaEngine
from tests.unit.policy.authority import Authority
from tests.unit.policy.builders import dossier, shipped

_BESIDE = folder("policies").parent / ".tools" / "bin" / "opa"
OPA = os.environ.get("OPA") or shutil.which("opa") or (str(_BESIDE) if _BESIDE.exists() else "")

pytestmark = pytest.mark.skipif(
    not OPA, reason="no opa binary on PATH, in $OPA or at .tools/bin/opa"
)

BUNDLE = shipped()
CASE = dossier(Gate.DOWNLOAD)
# A reader of the health page only, or whoever has one of these tokens.
AUTHORISATION = """package system.authz

default allow := false

allow if input.path == ["health"]

allow if input.identity in {"first", "second", "CN=registry"}
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def home(authority: Authority) -> Path:
    (authority.folder / "authz").mkdir()
    (authority.folder / "authz" / "authz.rego").write_text(AUTHORISATION)
    (authority.folder / "authz" / ".manifest").write_text('{"roots": ["system"]}')
    (authority.folder / "bundle.tar.gz").write_bytes(BUNDLE.archive())
    return authority.folder


@pytest.fixture(scope="module")
def secure(home: Path, authority: Authority) -> Iterator[str]:
    """Asks for a token."""
    with opa(home, authority, "token") as url:
        yield url


@pytest.fixture(scope="module")
def mutual(home: Path, authority: Authority) -> Iterator[str]:
    """Asks for a client certificate."""
    with opa(home, authority, "tls") as url:
        yield url


@contextmanager
def opa(home: Path, authority: Authority, authentication: str) -> Iterator[str]:
    certificate, key = authority.issue("server", host="localhost")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [OPA, "run", "--server", "--disable-telemetry", "--log-level", "error",
               f"--authentication={authentication}", "--authorization=basic",
               f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}",
               f"--tls-ca-cert-file={authority.certificate}", "--addr", f"localhost:{port}",
               "-b", str(home / "bundle.tar.gz")]  # fmt: skip
    process = subprocess.Popen([*command, str(home / "authz")])
    context = ssl.create_default_context(cafile=authority.certificate)
    context.load_cert_chain(*authority.issue("probe"))
    try:
        for _ in range(200):
            assert process.poll() is None, "opa did not start"
            try:
                url = f"https://localhost:{port}/health"
                with urllib.request.urlopen(url, timeout=1, context=context):
                    break
            except OSError:
                time.sleep(0.05)
        yield f"https://localhost:{port}"
    finally:
        process.terminate()
        process.wait(10)


def codes(url: str, **settings: Any) -> list[str]:
    engine = OpaEngine(url, BUNDLE, deadline_seconds=5, **settings)
    return [reason.code for reason in decide(engine, CASE).reasons]


def shown(authority: Authority, name: str = "registry") -> dict[str, str]:
    certificate, key = authority.issue(name)
    return {"ca_file": authority.certificate, "cert_file": certificate, "key_file": key}


def test_a_token_opens_the_door(secure: str, authority: Authority) -> None:
    assert codes(secure, token="first", ca_file=authority.certificate) == []


def test_a_certificate_opens_the_door(mutual: str, authority: Authority) -> None:
    assert codes(mutual, **shown(authority)) == []
    assert codes(mutual, **shown(authority, "somebody")) == ["ENG-HTTP-401"]


def test_certificate_and_key_may_share_a_file(mutual: str, authority: Authority) -> None:
    given = shown(authority)
    both = authority.folder / "both.pem"
    both.write_text(Path(given["cert_file"]).read_text() + Path(given.pop("key_file")).read_text())

    assert codes(mutual, **given | {"cert_file": str(both)}) == []


def test_without_a_certificate_there_is_no_connection(mutual: str, authority: Authority) -> None:
    assert codes(mutual, ca_file=authority.certificate) == ["ENG-UNREACHABLE"]


def test_a_certificate_of_another_authority_is_no_certificate(
    mutual: str, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path)
    certificate, key = other.issue("registry")

    given = shown(authority) | {"cert_file": certificate, "key_file": key}
    assert codes(mutual, **given) == ["ENG-UNREACHABLE"]


def test_a_server_of_another_authority_is_not_believed(
    secure: str, authority: Authority, tmp_path: Path
) -> None:
    assert codes(secure, token="first") == ["ENG-UNREACHABLE"]
    other = Authority(tmp_path)
    assert codes(secure, token="first", ca_file=other.certificate) == ["ENG-UNREACHABLE"]


def test_the_environment_names_no_other_authority(
    secure: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", Authority(tmp_path).certificate)

    assert codes(secure, token="first", ca_file=authority.certificate) == []


def test_a_server_of_another_name_is_not_believed(secure: str, authority: Authority) -> None:
    address = secure.replace("localhost", "127.0.0.1")

    assert codes(address, token="first", **shown(authority)) == ["ENG-UNREACHABLE"]


@pytest.mark.parametrize("token", [None, "third"])
def test_a_wrong_token_is_a_denial_that_says_so(
    secure: str, authority: Authority, token: str | None
) -> None:
    assert codes(secure, token=token, **shown(authority)) == ["ENG-HTTP-401"]


def test_a_rotated_token_is_read_again(secure: str, authority: Authority, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    engine = OpaEngine(secure, BUNDLE, deadline_seconds=5, token_file=str(path), **shown(authority))

    def asked() -> list[str]:
        return [reason.code for reason in decide(engine, CASE).reasons]

    assert asked() == []
    _rotate(path, "third\n")
    assert asked() == ["ENG-HTTP-401"]
    _rotate(path, "second")
    assert asked() == []
    for nothing in ("", " \n", "two words", "é", "x" * 20_000):
        _rotate(path, nothing)
        assert asked() == ["ENG-ERROR"]
    path.unlink()
    assert asked() == ["ENG-ERROR"]
    _rotate(path, "first")
    assert asked() == []


def _rotate(path: Path, token: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(token)
    fresh.replace(path)


@pytest.mark.parametrize(
    "settings",
    [
        {"ca_file": "/nowhere/ca.pem"}, {"cert_file": "/nowhere/c.pem"}, {"key_file": "k.pem"},
        {"token_file": "/nowhere/token"},
    ],
)  # fmt: skip
def test_a_file_that_is_not_there_is_said_at_the_start(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        OpaEngine("https://opa.example", BUNDLE, **settings)  # type: ignore[arg-type]


def test_a_certificate_needs_https(authority: Authority) -> None:
    certificate, key = authority.issue("registry")
    with pytest.raises(ConfigurationError, match="https"):
        OpaEngine("http://localhost", BUNDLE, cert_file=certificate, key_file=key)
