"""Keys that stay where they are.

The token is a real one of SoftHSM2. AWS KMS is moto's, over HTTP, taught to sign a digest as the
real one does. Vault's transit engine is a server of these tests: no Vault is built here. Google's
and Azure's services have no stand-in: of them only the refusal without their library is tested.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from mlflow_governance.errors import ConfigurationError, GovernanceError, Unavailable
from mlflow_governance.evidence import envelope, hashing, key_reference, signature
from mlflow_governance.evidence.key_reference import PIN_VARIABLE, load_reference
from mlflow_governance.evidence.keys import generate_key_pair, load_private_key, open_key
from tests.unit.evidence import builders
from tests.unit.evidence.builders import MANIFEST, MODEL, case, signer, trust

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "1234"
CURVES = {1: "secp256r1", 2: "secp384r1", 3: "secp521r1"}
HSM = pytest.mark.skipif(
    not MODULE.exists() or not shutil.which("softhsm2-util"),
    reason="SoftHSM2 (Debian's softhsm2) is the PKCS#11 token these tests need",
)


@pytest.fixture(autouse=True)
def no_pin_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PIN_VARIABLE, raising=False)


# PKCS#11


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A token with an EC key of each curve, in a folder of its own."""
    pkcs11 = pytest.importorskip("pkcs11")
    from pkcs11.util.ec import encode_named_curve_parameters

    home = tmp_path_factory.mktemp("softhsm")
    (home / "tokens").mkdir()
    config = home / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {home / 'tokens'}\nlog.level = ERROR\n")
    # The module reads its configuration once in the life of a process.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(config))
        patch.setenv("PYKCS11LIB", str(MODULE))
        command = ["softhsm2-util", "--init-token", "--free", "--label", "release token"]
        command += ["--pin", PIN, "--so-pin", "5678"]
        subprocess.run(command, check=True, capture_output=True)
        found = pkcs11.lib(str(MODULE)).get_token(token_label="release token")
        with found.open(user_pin=PIN, rw=True) as session:
            for number, curve in CURVES.items():
                wanted = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
                domain = session.create_domain_parameters(pkcs11.KeyType.EC, wanted, local=True)
                domain.generate_keypair(store=True, id=bytes([number]), label=curve)
        yield home


@pytest.fixture
def pin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PIN_VARIABLE, PIN)


@HSM
@pytest.mark.parametrize(("number", "algorithm"), [(1, "ecdsa-p256"), (2, "ecdsa-p384")])
def test_a_model_signed_on_a_token_verifies_here_and_with_the_stock_tool(
    token: Path, pin: None, tmp_path: Path, number: int, algorithm: str
) -> None:
    private = open_key(f"hsm:{number}?label=release%20token")
    builders.write_model(tmp_path / "model", {"MLmodel": b"abc", "data/weights.bin": b"1234"})
    manifest = hashing.hash_directory(tmp_path / "model")

    signed = signature.sign_model(manifest, "model", private)

    assert private.public.algorithm == algorithm
    about = case(
        ("model.sig", signed),
        policy=trust(signer("hsm", private)),
        manifest=manifest,
        model_name="model",
    )
    assert signature.verify_signature(about)["signer"] == "hsm"
    pytest.importorskip("model_signing")
    (tmp_path / "m.sig").write_bytes(signed)
    (tmp_path / "k.pub").write_text(private.public.pem)
    command = [sys.executable, "-m", "model_signing", "verify", "key", "model"]
    command += ["--signature", "m.sig", "--public_key", "k.pub"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@HSM
def test_a_statement_signed_on_a_token_counts(token: Path, pin: None) -> None:
    private = open_key("hsm:1")

    enclosed = envelope.parse(envelope.sign(b"{}", envelope.IN_TOTO, [private]))

    assert envelope.verify(enclosed, [private.public]) == (private.public,)


@HSM
def test_the_public_half_may_be_given(token: Path, pin: None, tmp_path: Path) -> None:
    file = tmp_path / "token.pub"
    file.write_text(open_key("hsm:1").public.pem)

    private = load_reference("hsm:1", file)

    private.public.verify(private.sign(b"data"), b"data")


@HSM
def test_another_key_s_public_half_is_noticed(token: Path, pin: None, tmp_path: Path) -> None:
    generate_key_pair(tmp_path / "other.pem")

    with pytest.raises(ConfigurationError, match="is not its public half"):
        load_reference("hsm:1", tmp_path / "other.pub").sign(b"data")


@HSM
def test_a_pin_in_a_file_of_its_owner_s_is_read(token: Path, tmp_path: Path) -> None:
    file = tmp_path / "pin"
    file.write_text(PIN + "\n")
    file.chmod(0o600)

    private = open_key(f"hsm:1?label=release+token&pin-source={file}", b"not this one")
    private.public.verify(private.sign(b"data"), b"data")

    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="open to other users"):
        private.sign(b"data")


@HSM
def test_a_pin_that_was_asked_for_is_used(token: Path) -> None:
    private = open_key("hsm:1", PIN.encode())

    private.public.verify(private.sign(b"data"), b"data")


@HSM
def test_without_a_pin_the_message_says_where_to_put_it(token: Path) -> None:
    with pytest.raises(ConfigurationError, match="wants a PIN") as caught:
        open_key("hsm:1").sign(b"data")

    assert PIN_VARIABLE in caught.value.advice


@HSM
def test_a_wrong_pin_is_refused_and_not_shown(token: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not sign") as caught:
        open_key("hsm:1", b"987654").sign(b"data")

    assert "987654" not in str(caught.value)


@HSM
@pytest.mark.parametrize(
    ("uri", "match"),
    [
        ("hsm:9", "could not find"),
        ("hsm:1?label=nobody", "No PKCS#11 token"),
        ("hsm:3", "not a supported EC curve"),
    ],
)
def test_a_key_that_is_not_there_is_refused(token: Path, pin: None, uri: str, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        open_key(uri)


@HSM
def test_without_a_module_the_variable_is_named(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYKCS11LIB")

    with pytest.raises(ConfigurationError, match="PYKCS11LIB"):
        open_key("hsm:1")


@pytest.mark.parametrize(
    "uri",
    [
        "hsm:1?pin-value=1234",
        "hsm:x",
        "hsm:-1",
        "hsm://host/1",
        "hsm:1?lable=x",
        "hsm:" + "1" * 3000,
    ],
)
def test_references_that_make_no_sense_are_refused(uri: str) -> None:
    with pytest.raises(ConfigurationError):
        open_key(uri)


# AWS KMS


@pytest.fixture(scope="module")
def kms() -> Iterator[Any]:
    """A client of a KMS with real HTTP in between."""
    server_of = pytest.importorskip("moto.server", reason="moto serves the KMS these tests need")
    boto3 = pytest.importorskip("boto3")
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moto.kms.utils.ECDSAPrivateKey.sign", _sign_digest)
        patch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        yield boto3.client("kms")
    server.stop()


def _sign_digest(self: Any, message: bytes, signing_algorithm: str) -> bytes:
    """What KMS does with MessageType DIGEST; moto takes any message for RAW and hashes it."""
    kind = {"256": hashes.SHA256, "384": hashes.SHA384}[signing_algorithm[-3:]]()
    return bytes(self.private_key.sign(message, ec.ECDSA(Prehashed(kind))))


def made(kms: Any, spec: str, alias: str) -> str:
    key = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec=spec)["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=f"alias/{alias}", TargetKeyId=key)
    return f"awskms:alias/{alias}"


@pytest.mark.parametrize(
    ("spec", "algorithm"), [("ECC_NIST_P256", "ecdsa-p256"), ("ECC_NIST_P384", "ecdsa-p384")]
)
def test_a_model_is_signed_by_a_key_in_aws(kms: Any, spec: str, algorithm: str) -> None:
    private = open_key(made(kms, spec, spec))

    signed = signature.sign_model(MANIFEST, MODEL, private)

    assert private.public.algorithm == algorithm
    about = case(("model.sig", signed), policy=trust(signer("kms", private)))
    assert signature.verify_signature(about)["signer"] == "kms"


def test_an_rsa_key_in_aws_is_of_a_kind_that_is_not_supported(kms: Any) -> None:
    with pytest.raises(ConfigurationError, match="not supported"):
        open_key(made(kms, "RSA_2048", "rsa"))


def test_a_key_aws_does_not_have_is_refused(kms: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot be reached: NotFoundException"):
        open_key("awskms:alias/nothing")


def test_a_key_rotated_under_its_alias_is_noticed(kms: Any) -> None:
    private = open_key(made(kms, "ECC_NIST_P256", "rotated"))
    other = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["KeyId"]
    kms.update_alias(AliasName="alias/rotated", TargetKeyId=other)

    with pytest.raises(ConfigurationError, match="is not its public half"):
        private.sign(b"data")


# Vault


class Vault(ThreadingHTTPServer):
    """The two calls of the transit engine that the library makes, and their errors."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Transit)
        self.keys = {
            1: ed25519.Ed25519PrivateKey.generate(),
            2: ed25519.Ed25519PrivateKey.generate(),
        }


class _Transit(BaseHTTPRequestHandler):
    server: Vault

    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        if self._is_refused("/v1/transit/keys/release"):
            return
        public = {
            str(n): base64.b64encode(
                key.public_key().public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)
            ).decode()
            for n, key in self.server.keys.items()
        }
        self._answer(200, {"keys": {n: {"public_key": text} for n, text in public.items()}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._is_refused("/v1/transit/sign/release"):
            return
        version = body["key_version"]
        value = self.server.keys[version].sign(base64.b64decode(body["input"]))
        self._answer(200, {"signature": f"vault:v{version}:{base64.b64encode(value).decode()}"})

    def _is_refused(self, path: str) -> bool:
        if self.headers["X-Vault-Token"] != "right":
            self._answer(403, None)
            return True
        if self.path != path:
            self._answer(404, None)
            return True
        return False

    def _answer(self, status: int, data: object) -> None:
        body = json.dumps({"data": data, "errors": [] if data else ["no"]}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    pytest.importorskip("hvac")
    with Vault() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("VAULT_TOKEN", "right")
        yield server
        server.shutdown()


@pytest.mark.parametrize("uri", ["hv:release", "hv:release/2"])
def test_a_statement_is_signed_by_the_newest_key_in_vault(vault: Vault, uri: str) -> None:
    private = open_key(uri)

    enclosed = envelope.parse(envelope.sign(b"{}", envelope.IN_TOTO, [private]))

    assert private.public.algorithm == "ed25519"
    assert envelope.verify(enclosed, [private.public]) == (private.public,)


def test_an_older_version_needs_its_public_half(vault: Vault, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="newest version is hv:release/2"):
        open_key("hv:release/1")

    pem = (
        vault.keys[1]
        .public_key()
        .public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "old.pub").write_bytes(pem)
    private = load_reference("hv:release/1", tmp_path / "old.pub")
    private.public.verify(private.sign(b"data"), b"data")


def test_vault_s_refusals_are_told_without_the_token(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "wrong-token")

    with pytest.raises(ConfigurationError, match="cannot be reached: Forbidden") as caught:
        open_key("hv:release")

    assert "wrong-token" not in str(caught.value)


def test_a_vault_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hvac")
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")

    with pytest.raises(Unavailable):
        open_key("hv:release")


# All of them


@pytest.mark.parametrize("scheme", ["gcpkms", "azurekms"])
def test_a_missing_library_is_named(scheme: str) -> None:
    package = {"gcpkms": "google.cloud.kms", "azurekms": "azure.keyvault.keys"}[scheme]
    if _installed(package):
        pytest.skip(f"{package} is installed here")
    place = {"gcpkms": "gcpkms:projects/p", "azurekms": "azurekms://v.vault.azure.net/keys/k"}

    with pytest.raises(ConfigurationError, match="not installed") as caught:
        open_key(place[scheme])

    assert caught.value.advice == f'Install it: pip install "{key_reference.EXTRAS[scheme]}"'


@pytest.mark.parametrize("scheme", ["hsm", "awskms", "hv"])
def test_a_missing_extra_is_named(scheme: str, tmp_path: Path) -> None:
    """In a process of its own, in which the extra's package cannot be imported."""
    module = {"hsm": "pkcs11", "awskms": "boto3", "hv": "hvac"}[scheme]
    program = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from mlflow_governance.errors import ConfigurationError\n"
        "from mlflow_governance.evidence.keys import open_key\n"
        "try: open_key(sys.argv[1])\n"
        "except ConfigurationError as error: print(error.advice)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, f"{scheme}:1"], capture_output=True, text=True
    )

    assert done.stdout.strip() == f'Install it: pip install "{key_reference.EXTRAS[scheme]}"'


@pytest.mark.parametrize("text", ["keys/signer.pem", "C:\\keys\\signer.pem", "file:x", "hsm", ""])
def test_other_texts_are_paths(text: str) -> None:
    assert not key_reference.is_reference(text)
    with pytest.raises(GovernanceError):
        load_reference(text)


def test_a_path_is_a_file_whatever_its_name(tmp_path: Path) -> None:
    generate_key_pair(tmp_path / "hsm:1.pem")
    relative = Path(os.path.relpath(tmp_path / "hsm:1.pem"))

    assert open_key(relative) == load_private_key(tmp_path / "hsm:1.pem")
    assert open_key(str(tmp_path / "hsm:1.pem")).public.algorithm == "ecdsa-p256"


def _installed(package: str) -> bool:
    import importlib.util

    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False
