"""A real OPA takes what we sign, refuses what was changed, and signs what we take."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.resources import folder
from mlflow_governance.errors import VerificationError
from mlflow_governance.policy import bundle as bundles
from mlflow_governance.policy import signing
from mlflow_governance.policy.archive import pack
from mlflow_governance.policy.file_hash import file_hash
from mlflow_governance.policy.opa import OpaEngine
from tests.unit.policy.builders import configured, dossier, shipped
from tests.unit.policy.signed import (
    NOW,
    private,
    private_pem,
    public_pem,
    signed_archive,
    signed_files,
    signer,
    trusted,
)

POLICIES = folder("policies")
_BESIDE = POLICIES.parent / ".tools" / "bin" / "opa"
OPA = os.environ.get("OPA") or shutil.which("opa") or (str(_BESIDE) if _BESIDE.exists() else "")

pytestmark = pytest.mark.skipif(
    not OPA, reason="no opa binary on PATH, in $OPA or at .tools/bin/opa"
)


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [OPA, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=cwd)


def loads(place: Path, archive: bytes, algorithm: str = "ES256", scope: str = "") -> str:
    """What OPA says against a signed bundle; empty when it takes it."""
    (place / "b.tar.gz").write_bytes(archive)
    (place / "key.pub").write_text(public_pem(private(algorithm)))
    options = ["--verification-key", place / "key.pub", "--verification-key-id", "security"]
    options += ["--signing-alg", algorithm, *(["--scope", scope] if scope else [])]
    done = run("build", "-b", place / "b.tar.gz", *options, "-o", place / "out.tar.gz")
    return done.stderr + done.stdout if done.returncode else ""


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512", "EdDSA", "RS256"])
def test_opa_takes_what_we_sign(tmp_path: Path, algorithm: str) -> None:
    assert loads(tmp_path, signed_archive(shipped(), signer(algorithm)), algorithm) == ""


def test_opa_holds_to_our_scope_and_our_files(tmp_path: Path) -> None:
    scoped = signed_archive(shipped(), scope="registry")
    assert loads(tmp_path, scoped, scope="registry") == ""
    assert "scope" in loads(tmp_path, scoped)

    files = signed_files(shipped())
    name = "registry/lib/lib.rego"
    changed = pack({**files, name: files[name].replace(b"package", b"package ", 1)})
    assert "digest mismatch" in loads(tmp_path, changed)
    more = pack({**files, "registry/more.rego": b"package registry.more\n"})
    assert "not included" in loads(tmp_path, more)
    fewer = pack({n: data for n, data in files.items() if n != name})
    assert "not found" in loads(tmp_path, fewer)


@contextmanager
def server(place: Path, archive: bytes) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An OPA server that verifies the bundle it is started with."""
    (place / "b.tar.gz").write_bytes(archive)
    (place / "key.pub").write_text(public_pem(private()))
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [OPA, "run", "--server", "--disable-telemetry", "--addr", address]
    command += ["--verification-key", str(place / "key.pub"), "--verification-key-id", "security"]
    command += ["--signing-alg", "ES256", "-b", str(place / "b.tar.gz")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://{address}", process
    finally:
        process.terminate()
        process.wait(10)


def healthy(url: str, process: subprocess.Popen[bytes]) -> bool:
    for _ in range(200):
        if process.poll() is not None:
            return False
        try:
            with urllib.request.urlopen(f"{url}/health?bundles", timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    return False


def test_a_server_with_our_signed_bundle_answers_under_its_digest(tmp_path: Path) -> None:
    with server(tmp_path, signed_archive(shipped())) as (url, process):
        assert healthy(url, process)

        engine = OpaEngine(url, shipped(), deadline_seconds=10)
        assert engine.evaluate(Gate.DOWNLOAD, dossier(Gate.DOWNLOAD).encoded)["allow"] is True
        with urllib.request.urlopen(f"{url}/v1/data/registry/config?provenance=true") as answer:
            (loaded,) = json.load(answer)["provenance"]["bundles"].values()
        assert loaded["revision"] == shipped().digest


def test_a_server_does_not_start_with_one_byte_changed(tmp_path: Path) -> None:
    # In a comment, so that nothing but the signature stands against it.
    changed = signed_archive(shipped()).replace(b"# METADATA", b"# METADATB", 1)
    files = bundles.read(write(tmp_path / "changed.tar.gz", rechecked(changed)))

    with pytest.raises(VerificationError, match="not what was signed"):
        signing.verify(files, [trusted()], NOW)
    with server(tmp_path, rechecked(changed)) as (url, process):
        assert not healthy(url, process)


def rechecked(archive: bytes) -> bytes:
    """The same file with the checksum of gzip made to fit."""
    import struct
    import zlib

    plain = zlib.decompress(archive[10:-8], wbits=-15)
    return archive[:-8] + struct.pack("<II", zlib.crc32(plain), len(plain))


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512", "EdDSA", "RS256", "PS256"])
def test_we_take_what_opa_builds_and_signs(tmp_path: Path, algorithm: str) -> None:
    (tmp_path / "key.pem").write_bytes(private_pem(private(algorithm)))
    options = ["--signing-key", tmp_path / "key.pem", "--signing-alg", algorithm]
    done = run("build", "-b", POLICIES, "--ignore", "tests", *options, "-o", tmp_path / "b.tar.gz")
    assert done.returncode == 0, done.stderr

    files = bundles.read(tmp_path / "b.tar.gz")

    assert signing.verify(files, [trusted(algorithm)], NOW) == "security"
    assert len(bundles.from_files(files).modules) == len(shipped().modules)
    with pytest.raises(VerificationError):
        signing.verify(files, [trusted(algorithm, "other")], NOW)


def test_we_take_a_folder_that_opa_signed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(POLICIES, mine, ignore=shutil.ignore_patterns("tests", "*.md"))
    (tmp_path / "key.pem").write_bytes(private_pem(private()))
    done = run(
        "sign", "-b", ".", "--signing-key", tmp_path / "key.pem", "--signing-alg", "ES256", cwd=mine
    )
    assert done.returncode == 0, done.stderr

    assert signing.verify(bundles.read(mine), [trusted()], NOW) == "security"
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as tar:
        tar.add(mine, ".")
    assert signing.verify(bundles.read(tmp_path / "b.tar.gz"), [trusted()], NOW) == "security"


def test_a_shared_secret_of_opa_signs_nothing_for_us(tmp_path: Path) -> None:
    options = ["--signing-key", "s" * 64, "--signing-alg", "HS256"]
    run("build", "-b", POLICIES, "--ignore", "tests", *options, "-o", tmp_path / "b.tar.gz")

    with pytest.raises(VerificationError, match="nobody who is trusted"):
        signing.verify(bundles.read(tmp_path / "b.tar.gz"), [trusted()], NOW)


_TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=30,
)


@settings(max_examples=25, deadline=None)
@given(st.lists(_VALUES, min_size=20, max_size=40), st.booleans())
def test_opa_and_we_hash_any_json_alike(
    tmp_path_factory: pytest.TempPathFactory, values: list[object], escaped: bool
) -> None:
    place = tmp_path_factory.mktemp("json")
    spelled = ["1.0", "1e5", "1E-7", "-0", "0.10", '"\\u2028\\u007f\\/\\ud83d\\ude00<&>"']
    lines = [json.dumps(value, ensure_ascii=escaped, indent=1) for value in values] + spelled
    text = '{"x": [' + ",".join(lines) + "]}"
    (place / "data.json").write_text(text, "utf-8", newline="")
    (place / "key.pem").write_bytes(private_pem(private()))
    done = run("sign", "-b", ".", "--signing-key", "key.pem", "--signing-alg", "ES256", cwd=place)
    assert done.returncode == 0, done.stderr + done.stdout

    (token,) = json.loads((place / ".signatures.json").read_text())["signatures"]
    signed = signing.canonical.decode_object(signing._plain(token.split(".")[1]))["files"]
    hashes = {entry["name"]: entry["hash"] for entry in signed}
    assert hashes["data.json"] == file_hash("data.json", text.encode())


def test_another_policy_than_ours_is_another_revision(tmp_path: Path) -> None:
    with server(tmp_path, signed_archive(configured(blocking_cvss=6.5))) as (url, process):
        assert healthy(url, process)
        with pytest.raises(Exception, match="serves revision"):
            OpaEngine(url, shipped(), deadline_seconds=10).evaluate(
                Gate.DOWNLOAD, dossier(Gate.DOWNLOAD).encoded
            )
