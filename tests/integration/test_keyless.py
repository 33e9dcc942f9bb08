"""Signed online, verified when every service is gone; what others sign we verify and the reverse.

Against the Sigstore of ``tests/sigstore`` and against the real servers, where ``make tools`` has
built them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.core.manifest import Manifest
from mlflow_governance.errors import InvalidRequest, Unavailable, VerificationError
from mlflow_governance.evidence import hashing, keys, timestamp
from mlflow_governance.evidence.authority import IdentityHolder
from mlflow_governance.evidence.interface import Case, EvidenceItem
from mlflow_governance.evidence.keyless import verify_keyless, verify_keyless_blob
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.signature import sign_model, verify_signature
from mlflow_governance.evidence.trust import Signer, TrustPolicy
from mlflow_governance.submission.keyless import KeylessKey
from tests.sigstore import services
from tests.sigstore.deployment import Deployment
from tests.sigstore.offline import no_network
from tests.sigstore.private import PrivateSigstore
from tests.sigstore.services import RealSigstore

TRAINER = "trainer@example.com"
PREDICATE_TYPE = "https://example.com/review/v1"

Change = Callable[[dict[str, Any]], None]


@dataclass
class Signed:
    """A model and what was signed about it, online."""

    folder: Path
    issuer: str
    root: Path
    config: Path
    payload: bytes
    ours: bytes
    token: bytes
    tsa_chain: bytes

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {"HOME": str(self.folder), "PATH": os.environ["PATH"]}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60
        )

    def stock(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "model_signing", *arguments)

    def cosign(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(_cosign() or "cosign", *arguments)

    def payload_of(self, file: str) -> bytes:
        data = (self.folder / file).read_bytes()
        return verify_keyless(data, TRAINER, self.issuer, self.root).payload


def _cosign() -> str | None:
    local = Path(__file__).parents[2] / ".tools" / "bin" / "cosign"
    named = os.environ.get("COSIGN") or shutil.which("cosign")
    return named or (str(local) if local.is_file() else None)


needs_cosign = pytest.mark.skipif(_cosign() is None, reason="cosign is missing: make tools")


def _oms_statement(folder: Path) -> bytes:
    """The statement that we sign with a key, byte for byte."""
    keys.generate_key_pair(folder / "k.pem")
    manifest = hashing.hash_directory(folder / "model")
    bundle = json.loads(sign_model(manifest, "model", keys.load_private_key(folder / "k.pem")))
    return base64.b64decode(bundle["dsseEnvelope"]["payload"])


@pytest.fixture(scope="module", params=["private", "real"])
def stopped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Signed:
    """What a Sigstore signed before it was stopped."""
    sigstore = _start(request.param, tmp_path_factory.mktemp(request.param))
    try:
        return _signed(sigstore.folder, sigstore)
    finally:
        sigstore.stop()


@pytest.fixture
def signed(stopped: Signed) -> Iterator[Signed]:
    """The same, and no network."""
    with no_network():
        yield stopped


def _start(kind: str, folder: Path) -> Deployment:
    if kind == "private":
        return PrivateSigstore(folder)
    if missing := services.missing():
        pytest.skip(f"not installed: {', '.join(missing)} (make tools)")
    return RealSigstore(folder)


def _signed(folder: Path, sigstore: Deployment) -> Signed:
    (folder / "model" / "data").mkdir(parents=True)
    (folder / "model" / "MLmodel").write_bytes(b"flavors: {}")
    (folder / "model" / "data" / "weights.bin").write_bytes(b"\0" * 1000)
    (folder / "blob").write_bytes(b"weights")
    (folder / "predicate.json").write_text('{"good": true}')
    config = json.loads(sigstore.client_trust_config.read_bytes())
    (folder / "signing_config.json").write_text(json.dumps(config["signingConfig"]))
    (folder / "token").write_text(sigstore.token(TRAINER))
    payload = _oms_statement(folder)
    key = KeylessKey(sigstore.client_trust_config, folder / "token")
    ours = key.sign_dsse(payload)
    (folder / "ours.sig").write_bytes(ours)
    (folder / "ours.json").write_bytes(key.sign_dsse(_review()))
    stamp = timestamp.request(sigstore.tsa_url, b"signature")
    made = Signed(folder, sigstore.issuer, sigstore.trusted_root, sigstore.client_trust_config,
                  payload, ours, stamp, sigstore.tsa_chain)  # fmt: skip
    _sign_with_others(made, sigstore)
    return made


def _review() -> bytes:
    digest = {"sha256": hashlib.sha256(b"weights").hexdigest()}
    return json.dumps({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "blob", "digest": digest}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {"good": True},
    }).encode()  # fmt: skip


def _sign_with_others(made: Signed, sigstore: Deployment) -> None:
    done = made.stock("sign", "sigstore", "model", "--signature", "stock.sig",
                      "--trust_config", str(made.config),
                      "--identity_token", sigstore.token(TRAINER))  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    if _cosign() is None:
        return
    common = ("--identity-token", "token", "--signing-config", "signing_config.json",
              "--trusted-root", made.root.name, "--yes")  # fmt: skip
    for command in (
        ("sign-blob", "blob", "--bundle", "cosign.json"),
        ("attest-blob", "blob", "--bundle", "attested.json", "--predicate", "predicate.json",
         "--type", PREDICATE_TYPE),
    ):  # fmt: skip
        done = made.cosign(*command, *common)
        assert done.returncode == 0, done.stderr


def test_what_was_signed_online_is_verified_offline(signed: Signed) -> None:
    proof = verify_keyless(signed.ours, TRAINER, signed.issuer, signed.root)
    assert proof.payload == signed.payload
    assert proof.not_after - proof.not_before == timedelta(minutes=10)


def test_the_services_are_gone(signed: Signed, tmp_path: Path) -> None:
    probe = f"import sys, requests; requests.get({signed.issuer!r}, timeout=2)"
    assert signed.run(sys.executable, "-c", probe).returncode != 0


def test_the_stock_tool_verifies_what_we_sign(signed: Signed) -> None:
    verify = ("verify", "sigstore", "model", "--signature", "ours.sig", "--identity", TRAINER,
              "--trust_config", str(signed.config))  # fmt: skip
    good = signed.stock(*verify, "--identity_provider", signed.issuer)
    assert good.returncode == 0, good.stdout + good.stderr
    assert signed.stock(*verify, "--identity_provider", "https://example.com").returncode != 0


def test_we_verify_what_the_stock_tool_signs(signed: Signed) -> None:
    statement = json.loads(signed.payload_of("stock.sig"))
    assert statement["predicateType"] == "https://model_signing/signature/v1.0"
    named = [entry["name"] for entry in statement["predicate"]["resources"]]
    assert named == ["MLmodel", "data/weights.bin"]
    assert (
        statement["predicate"]["resources"] == json.loads(signed.payload)["predicate"]["resources"]
    )


@pytest.mark.parametrize("file", ["ours.sig", "stock.sig"])
def test_a_model_signed_by_an_identity_is_signed(signed: Signed, file: str) -> None:
    """The whole way of evidence: the bundle, the trust policy, the files."""
    holder = IdentityHolder(signed.issuer, TRAINER, signed.root.read_text())
    policy = TrustPolicy((Signer("trainer", holder, frozenset({Purpose.SIGNATURE})),))
    item = EvidenceItem("model.sig", (signed.folder / file).read_bytes())
    manifest = hashing.hash_directory(signed.folder / "model")
    facts = verify_signature(Case(manifest, "model", (item,), policy, datetime.now(UTC)))
    assert (facts["signer"], facts["resources"]) == ("trainer", 2)
    fewer = Manifest.of(manifest.files[:1])
    with pytest.raises(VerificationError, match="file missing"):
        verify_signature(Case(fewer, "model", (item,), policy, datetime.now(UTC)))


@needs_cosign
def test_cosign_verifies_what_we_sign(signed: Signed) -> None:
    verify = ("verify-blob-attestation", "blob", "--bundle", "ours.json", "--type", PREDICATE_TYPE,
              "--trusted-root", signed.root.name, "--certificate-oidc-issuer",
              signed.issuer, "--certificate-identity")  # fmt: skip
    good = signed.cosign(*verify, TRAINER)
    assert good.returncode == 0, good.stderr
    assert signed.cosign(*verify, "other@example.com").returncode != 0


@needs_cosign
def test_we_verify_what_cosign_signs(signed: Signed) -> None:
    assert json.loads(signed.payload_of("attested.json"))["predicateType"] == PREDICATE_TYPE
    blob = (signed.folder / "cosign.json").read_bytes()
    digest = hashlib.sha256(b"weights").digest()
    assert verify_keyless_blob(blob, digest, TRAINER, signed.issuer, signed.root)
    with pytest.raises(VerificationError, match="another file"):
        verify_keyless_blob(blob, bytes(32), TRAINER, signed.issuer, signed.root)


def test_a_wrong_identity_issuer_or_root_is_refused(signed: Signed, tmp_path: Path) -> None:
    with PrivateSigstore(tmp_path) as other:
        pass
    with pytest.raises(VerificationError, match="signed by trainer"):
        verify_keyless(signed.ours, "other@example.com", signed.issuer, signed.root)
    with pytest.raises(VerificationError, match="vouches for"):
        verify_keyless(signed.ours, TRAINER, "https://accounts.example.com", signed.root)
    for root in (other.trusted_root, None):
        with pytest.raises(VerificationError, match="of another root"):
            verify_keyless(signed.ours, TRAINER, signed.issuer, root)


def entry(document: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["verificationMaterial"]["tlogEntries"][0]
    return found


def tampered_entry(document: dict[str, Any]) -> None:
    body = json.loads(base64.b64decode(entry(document)["canonicalizedBody"]))
    body["spec"]["hashedRekordV002"]["data"]["digest"] = base64.b64encode(bytes(32)).decode()
    entry(document)["canonicalizedBody"] = base64.b64encode(json.dumps(body).encode()).decode()


def tampered_proof(document: dict[str, Any]) -> None:
    proof = entry(document)["inclusionProof"]
    proof["hashes"] = [base64.b64encode(bytes(32)).decode(), *proof.get("hashes", [])[1:]]


def stripped_entry(document: dict[str, Any]) -> None:
    document["verificationMaterial"]["tlogEntries"] = []


def stripped_time_stamp(document: dict[str, Any]) -> None:
    del document["verificationMaterial"]["timestampVerificationData"]


def stripped_sct(document: dict[str, Any]) -> None:
    """The certificate without the CT log's promise; nobody but Fulcio can sign it again."""
    from cryptography import x509

    from tests.sigstore import der
    from tests.sigstore.ct import SCT_LIST

    raw = document["verificationMaterial"]["certificate"]
    tbs, *rest = der.parts(base64.b64decode(raw["rawBytes"]))
    *fields, wrapped = der.parts(tbs)
    (extensions,) = der.parts(wrapped)
    promise = der.oid(SCT_LIST.dotted_string)
    kept = [one for one in der.parts(extensions) if promise not in one]
    assert len(kept) == len(der.parts(extensions)) - 1
    tbs = der.tlv(der.SEQUENCE, *fields, der.tlv(wrapped[0], der.tlv(der.SEQUENCE, *kept)))
    bare = der.tlv(der.SEQUENCE, tbs, *rest)
    assert x509.load_der_x509_certificate(bare)
    raw["rawBytes"] = base64.b64encode(bare).decode()


def other_payload(document: dict[str, Any]) -> None:
    payload = base64.b64decode(document["dsseEnvelope"]["payload"]).replace(b"MLmodel", b"MLm0del")
    document["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()


@pytest.mark.parametrize(
    "change",
    [tampered_entry, tampered_proof, stripped_entry, stripped_time_stamp, stripped_sct,
     other_payload],
)  # fmt: skip
def test_a_changed_bundle_is_refused(signed: Signed, change: Change) -> None:
    document = json.loads(signed.ours)
    change(document)
    with pytest.raises(VerificationError):
        verify_keyless(json.dumps(document).encode(), TRAINER, signed.issuer, signed.root)


def test_a_bundles_time_stamp_proves_when_it_was_signed(signed: Signed) -> None:
    document = json.loads(signed.ours)
    stamps = document["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
    tokens = [base64.b64decode(stamp["signedTimestamp"]) for stamp in stamps]
    signature = base64.b64decode(document["dsseEnvelope"]["signatures"][0]["sig"])
    authority = timestamp.load_authority("tsa", signed.tsa_chain)
    at = timestamp.stamped_at(tokens, signature, [authority])
    proof = verify_keyless(signed.ours, TRAINER, signed.issuer, signed.root)
    assert at is not None
    assert proof.not_before <= at <= proof.not_after
    assert timestamp.stamped_at(tokens, signature + b"x", [authority]) is None


def test_a_time_stamp_asked_for_alone_is_proved(signed: Signed) -> None:
    authority = timestamp.load_authority("tsa", signed.tsa_chain)
    at = timestamp.stamped_at([signed.token], b"signature", [authority])
    assert at is not None
    assert abs(at - datetime.now(UTC)) < timedelta(minutes=5)


@pytest.mark.parametrize("kind", ["private", "real"])
def test_a_token_is_taken_from_a_known_issuer_alone(kind: str, tmp_path: Path) -> None:
    sigstore = _start(kind, tmp_path / "one")
    try:
        token = tmp_path / "token"
        with PrivateSigstore(tmp_path / "two") as other:
            token.write_text(other.token(TRAINER))
        key = KeylessKey(sigstore.client_trust_config, token)
        with pytest.raises(InvalidRequest, match="does not take the identity token"):
            key.sign_dsse(_review())
        token.write_text(sigstore.token(TRAINER))
    finally:
        sigstore.stop()
    with pytest.raises(Unavailable):
        key.sign_dsse(_review())
