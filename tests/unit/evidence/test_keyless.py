from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from mlflow_governance.errors import ConfigurationError, VerificationError
from mlflow_governance.evidence import keyless
from mlflow_governance.evidence.keyless import verify_keyless, verify_keyless_blob
from mlflow_governance.submission.keyless import KeylessKey
from tests.sigstore.offline import no_network
from tests.sigstore.private import PrivateSigstore

TRAINER = "trainer@example.com"
WORKLOAD = "https://example.com/team/train/.ci/build.yml@refs/heads/main"
STATEMENT = json.dumps(
    {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "churn", "digest": {"sha256": "ab" * 32}}],
        "predicateType": "https://example.com/p/v1",
        "predicate": {"b": 1, "a": [2.50, "é"]},
    },
    ensure_ascii=False,
).encode()
BLOB = b"weights"

Change = Callable[[dict[str, Any]], None]


@dataclass
class Signed:
    """What a private Sigstore signed before it was stopped."""

    issuer: str
    root: Path
    config: Path
    statement: bytes
    other: bytes
    workload: bytes
    blob: bytes
    late: bytes
    unlogged: bytes
    for_tls: bytes


def sign(sigstore: PrivateSigstore, folder: Path, identity: str = TRAINER) -> bytes:
    token = folder / "token"
    token.write_text(sigstore.token(identity))
    return KeylessKey(sigstore.client_trust_config, token).sign_dsse(STATEMENT)


def sign_unchecked(sigstore: PrivateSigstore) -> bytes:
    """A bundle that an honest client would not have made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sigstore.sign.verify_sct", lambda *_: None)
        return sign(sigstore, sigstore.folder)


def sign_blob(sigstore: PrivateSigstore) -> bytes:
    from sigstore.models import ClientTrustConfig
    from sigstore.oidc import IdentityToken
    from sigstore.sign import SigningContext

    config = ClientTrustConfig.from_json(sigstore.client_trust_config.read_text())
    token = IdentityToken(sigstore.token(TRAINER))
    with SigningContext.from_trust_config(config).signer(token) as signer:
        return signer.sign_artifact(BLOB).to_json().encode()


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signed]:
    folder = tmp_path_factory.mktemp("sigstore")
    with PrivateSigstore(folder) as sigstore:
        statement, other = (sign(sigstore, folder) for _ in range(2))
        workload = sign(sigstore, folder, WORKLOAD)
        blob = sign_blob(sigstore)
        sigstore.tsa.ahead = timedelta(minutes=11)
        late = sign(sigstore, folder)
        sigstore.tsa.ahead = timedelta()
        sigstore.fulcio.logged = False
        unlogged = sign_unchecked(sigstore)
        sigstore.fulcio.logged = True
        sigstore.fulcio.usages = [ExtendedKeyUsageOID.SERVER_AUTH]
        for_tls = sign(sigstore, folder)
    made = Signed(sigstore.issuer, sigstore.trusted_root, sigstore.client_trust_config,
                  statement, other, workload, blob, late, unlogged, for_tls)  # fmt: skip
    with no_network():
        yield made


def changed(bundle: bytes, change: Change) -> bytes:
    document = json.loads(bundle)
    change(document)
    return json.dumps(document).encode()


def entry(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["verificationMaterial"]["tlogEntries"][0]
    return found


def test_a_bundle_gives_its_payload_byte_for_byte_and_when_it_was_signed(signed: Signed) -> None:
    proof = verify_keyless(signed.statement, TRAINER, signed.issuer, signed.root)
    assert proof.payload == STATEMENT
    assert proof.payload_type == "application/vnd.in-toto+json"
    assert proof.not_after - proof.not_before == timedelta(minutes=10)
    assert proof.not_before <= datetime.now(UTC) <= proof.not_after


def test_a_workload_is_named_by_its_uri(signed: Signed) -> None:
    assert verify_keyless(signed.workload, WORKLOAD, signed.issuer, signed.root).payload


def test_a_client_trust_config_serves_as_root(signed: Signed) -> None:
    assert verify_keyless(signed.statement, TRAINER, signed.issuer, signed.config).payload


@pytest.mark.parametrize(
    "identity",
    ["trainer@example.co", "TRAINER@example.com", "*@example.com", "trainer", ".*", WORKLOAD],
)
def test_another_identity_is_refused_and_the_signer_named(signed: Signed, identity: str) -> None:
    with pytest.raises(VerificationError, match=r"signed by trainer@example\.com, not by"):
        verify_keyless(signed.statement, identity, signed.issuer, signed.root)


def test_another_issuer_is_refused_and_named(signed: Signed) -> None:
    for issuer in ("https://accounts.example.com", signed.issuer + "/"):
        with pytest.raises(VerificationError, match=f"{signed.issuer} vouches for"):
            verify_keyless(signed.statement, TRAINER, issuer, signed.root)


def test_nobody_is_not_an_identity(signed: Signed) -> None:
    for identity, issuer in (("", signed.issuer), (TRAINER, ""), ("", "")):
        with pytest.raises(VerificationError, match="needs an identity and an issuer"):
            verify_keyless(signed.statement, identity, issuer, signed.root)
        with pytest.raises(VerificationError, match="needs an identity and an issuer"):
            verify_keyless_blob(signed.blob, sha256(BLOB), identity, issuer, signed.root)


def test_another_root_is_refused(signed: Signed, tmp_path: Path) -> None:
    with PrivateSigstore(tmp_path) as other:
        pass
    with pytest.raises(VerificationError, match="of another root"):
        verify_keyless(signed.statement, TRAINER, signed.issuer, other.trusted_root)


def test_the_public_root_is_embedded_and_knows_no_private_signature(signed: Signed) -> None:
    with pytest.raises(VerificationError, match="of another root"):
        verify_keyless(signed.statement, TRAINER, signed.issuer, None)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("certificateAuthorities", "signing certificate is of another root"),
        ("ctlogs", "no CT log"),
        ("tlogs", "not in a transparency log"),
        ("timestampAuthorities", "no time stamp"),
    ],
)
def test_each_service_must_be_of_the_root(
    signed: Signed, tmp_path: Path, part: str, told: str
) -> None:
    with PrivateSigstore(tmp_path) as other:
        pass
    mixed = json.loads(signed.root.read_bytes())
    mixed[part] = json.loads(other.trusted_root.read_bytes())[part]
    root = tmp_path / "mixed.json"
    root.write_text(json.dumps(mixed))
    with pytest.raises(VerificationError, match=told):
        verify_keyless(signed.statement, TRAINER, signed.issuer, root)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("certificateAuthorities", "no certificate authority that was in service"),
        ("ctlogs", "no CT log that was in service"),
        ("tlogs", "no transparency log that was in service"),
        ("timestampAuthorities", "no time stamp"),
    ],
)
def test_a_service_withdrawn_before_the_signature_does_not_count(
    signed: Signed, tmp_path: Path, part: str, told: str
) -> None:
    document = json.loads(signed.root.read_bytes())
    service = document[part][0].get("publicKey", document[part][0])
    service["validFor"]["end"] = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    root = tmp_path / "withdrawn.json"
    root.write_text(json.dumps(document))
    with pytest.raises(VerificationError, match=told):
        verify_keyless(signed.statement, TRAINER, signed.issuer, root)


def test_a_service_withdrawn_later_still_counts(signed: Signed, tmp_path: Path) -> None:
    document = json.loads(signed.root.read_bytes())
    for part in ("certificateAuthorities", "ctlogs", "tlogs", "timestampAuthorities"):
        service = document[part][0].get("publicKey", document[part][0])
        service["validFor"]["end"] = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    root = tmp_path / "later.json"
    root.write_text(json.dumps(document))
    assert verify_keyless(signed.statement, TRAINER, signed.issuer, root).payload == STATEMENT


def test_what_was_signed_after_the_certificate_expired_is_refused(signed: Signed) -> None:
    with pytest.raises(VerificationError, match="had expired"):
        verify_keyless(signed.late, TRAINER, signed.issuer, signed.root)


def test_a_certificate_that_no_ct_log_promised_is_refused(signed: Signed) -> None:
    with pytest.raises(VerificationError, match="no CT log"):
        verify_keyless(signed.unlogged, TRAINER, signed.issuer, signed.root)


def test_a_certificate_for_tls_is_refused(signed: Signed) -> None:
    with pytest.raises(VerificationError, match="code signing"):
        verify_keyless(signed.for_tls, TRAINER, signed.issuer, signed.root)


def other_payload(document: dict[str, Any]) -> None:
    payload = STATEMENT.replace(b"churn", b"spoof")
    document["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()


def other_payload_type(document: dict[str, Any]) -> None:
    document["dsseEnvelope"]["payloadType"] = "text/plain"


def two_signatures(document: dict[str, Any]) -> None:
    document["dsseEnvelope"]["signatures"] *= 2


def no_time_stamp(document: dict[str, Any]) -> None:
    del document["verificationMaterial"]["timestampVerificationData"]


def no_log_entry(document: dict[str, Any]) -> None:
    document["verificationMaterial"]["tlogEntries"] = []


def no_inclusion_proof(document: dict[str, Any]) -> None:
    del entry(document)["inclusionProof"]


def other_log_body(document: dict[str, Any]) -> None:
    body = base64.b64decode(entry(document)["canonicalizedBody"])
    spoiled = body.replace(b'"digest":"', b'"digest":"AA', 1)
    entry(document)["canonicalizedBody"] = base64.b64encode(spoiled).decode()


def other_log_root(document: dict[str, Any]) -> None:
    entry(document)["inclusionProof"]["rootHash"] = base64.b64encode(bytes(32)).decode()


def other_checkpoint(document: dict[str, Any]) -> None:
    checkpoint = entry(document)["inclusionProof"]["checkpoint"]
    checkpoint["envelope"] = checkpoint["envelope"].replace("rekor.example", "rekor.forged")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (other_payload, "not over this payload"),
        (other_payload_type, "not over this payload"),
        (two_signatures, "exactly one signature|does not verify"),
        (no_time_stamp, "signed timestamp"),
        (no_log_entry, "exactly one log entry"),
        (no_inclusion_proof, "inclusion"),
        (other_log_body, "not in a transparency log"),
        (other_log_root, "not in a transparency log"),
        (other_checkpoint, "not in a transparency log"),
    ],
)
def test_a_changed_bundle_is_refused(signed: Signed, change: Change, told: str) -> None:
    with pytest.raises(VerificationError, match=told):
        verify_keyless(changed(signed.statement, change), TRAINER, signed.issuer, signed.root)


@pytest.mark.parametrize("part", ["tlogEntries", "timestampVerificationData", "certificate"])
def test_a_part_of_another_bundle_by_the_same_signer_is_refused(signed: Signed, part: str) -> None:
    other = json.loads(signed.other)["verificationMaterial"]

    def swap(document: dict[str, Any]) -> None:
        document["verificationMaterial"][part] = other[part]

    with pytest.raises(VerificationError):
        verify_keyless(changed(signed.statement, swap), TRAINER, signed.issuer, signed.root)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_a_blob_is_proved_by_its_digest(signed: Signed) -> None:
    proof = verify_keyless_blob(signed.blob, sha256(BLOB), TRAINER, signed.issuer, signed.root)
    assert (proof.payload_type, proof.payload) == ("", b"")
    with pytest.raises(VerificationError, match="another file"):
        verify_keyless_blob(signed.blob, sha256(b"x"), TRAINER, signed.issuer, signed.root)


def test_a_blob_without_the_digest_in_its_bundle_is_proved_by_the_signature(
    signed: Signed,
) -> None:
    def forget(document: dict[str, Any]) -> None:
        del document["messageSignature"]["messageDigest"]

    bundle = changed(signed.blob, forget)
    assert verify_keyless_blob(bundle, sha256(BLOB), TRAINER, signed.issuer, signed.root)
    with pytest.raises(VerificationError, match="not over this file"):
        verify_keyless_blob(bundle, sha256(b"x"), TRAINER, signed.issuer, signed.root)


def test_an_envelope_is_not_taken_for_a_blob_nor_a_blob_for_an_envelope(signed: Signed) -> None:
    with pytest.raises(VerificationError):
        verify_keyless(signed.blob, TRAINER, signed.issuer, signed.root)
    with pytest.raises(VerificationError):
        verify_keyless_blob(signed.statement, sha256(BLOB), TRAINER, signed.issuer, signed.root)


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"}',
        b'{"a":' * 5000,
        b'{"mediaType": 1, "mediaType": 2}',
    ],
)
def test_junk_is_refused(signed: Signed, junk: bytes) -> None:
    with pytest.raises(VerificationError):
        verify_keyless(junk, TRAINER, signed.issuer, signed.root)


def test_a_bundle_signed_with_a_key_is_refused(signed: Signed) -> None:
    def keyed(document: dict[str, Any]) -> None:
        document["verificationMaterial"] = {"publicKey": {"hint": "x"}, "tlogEntries": []}

    with pytest.raises(VerificationError, match="not a keyless Sigstore bundle"):
        verify_keyless(changed(signed.statement, keyed), TRAINER, signed.issuer, signed.root)


def test_no_broken_bundle_proves_anything_or_raises_anything_else(signed: Signed) -> None:
    chance = random.Random(4)
    for _ in range(400):
        broken = bytearray(signed.statement)
        for _ in range(chance.randint(1, 3)):
            broken[chance.randrange(len(broken))] = chance.choice(b'0aZ+/="{}[],:\\\x00\xff')
        try:
            proof = verify_keyless(bytes(broken), TRAINER, signed.issuer, signed.root)
        except VerificationError:
            continue
        assert proof.payload == STATEMENT


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"junk",
        b'{"mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"}',
        b'{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}',
        b" " * (1024 * 1024 + 1),
    ],
)
def test_a_root_that_cannot_be_read_is_the_operators_to_mend(
    signed: Signed, tmp_path: Path, content: bytes
) -> None:
    root = tmp_path / "root.json"
    root.write_bytes(content)
    with pytest.raises((ConfigurationError, VerificationError), match="root"):
        verify_keyless(signed.statement, TRAINER, signed.issuer, root)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        verify_keyless(signed.statement, TRAINER, signed.issuer, tmp_path / "absent.json")


def test_a_root_that_changes_on_disk_is_read_again(signed: Signed, tmp_path: Path) -> None:
    root = tmp_path / "root.json"
    root.write_bytes(signed.root.read_bytes())
    assert verify_keyless(signed.statement, TRAINER, signed.issuer, root)
    with PrivateSigstore(tmp_path / "other") as other:
        root.write_bytes(other.trusted_root.read_bytes())
    with pytest.raises(VerificationError, match="of another root"):
        verify_keyless(signed.statement, TRAINER, signed.issuer, root)


def test_one_verifier_serves_every_bundle_under_a_root(signed: Signed) -> None:
    verify_keyless(signed.statement, TRAINER, signed.issuer, signed.root)
    made = keyless._verifier_of.cache_info().misses
    verify_keyless(signed.other, TRAINER, signed.issuer, signed.root)
    assert keyless._verifier_of.cache_info().misses == made
    assert (keyless._verifier_of.cache_info().maxsize or 0) <= 16
