"""What cosign writes beside a file, and what a bundle may hold."""

import base64
import hashlib
import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.core import canonical
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import bundle, envelope
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.signature import (
    SignatureVerifier,
    manifest_file,
    sign_model,
    verify_signature,
)
from mlflow_governance.evidence.trust import Threshold
from tests.unit.evidence import builders
from tests.unit.evidence.builders import MANIFEST, MODEL, case, signer, trust

KEY = builders.key()
MESSAGE = manifest_file(MANIFEST)
SIGNATURE = base64.b64encode(KEY.sign(MESSAGE)).decode()
OLD = {"base64Signature": SIGNATURE, "cert": "bm8=", "rekorBundle": {"Payload": {}}}
NEW = {
    "mediaType": bundle.MEDIA_TYPE,
    "verificationMaterial": {"publicKey": {"hint": "any"}, "tlogEntries": []},
    "messageSignature": {
        "messageDigest": {
            "algorithm": "SHA2_256",
            "digest": base64.b64encode(hashlib.sha256(MESSAGE).digest()).decode(),
        },
        "signature": SIGNATURE,
    },
}


def _item(document):
    return json.dumps(document).encode()


def test_the_manifest_file_has_the_digest_of_the_model():
    assert f"sha256:{hashlib.sha256(MESSAGE).hexdigest()}" == MANIFEST.digest


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("manifest.json.sigstore.json", _item(NEW)),
        ("manifest.json.bundle", _item(OLD)),
        ("manifest.json.sig", SIGNATURE.encode()),
        ("manifest.json.sig", f"{SIGNATURE}\n".encode()),
        ("signatures/lab.sigstore.json", _item(NEW)),
    ],
    ids=["bundle", "old bundle", "sig", "sig with a line end", "several"],
)
def test_each_form_cosign_writes_signs_the_model(name, data):
    assert SignatureVerifier().verify(case((name, data)))["signers"] == ["pipeline"]


def test_the_attached_manifest_is_not_what_is_verified():
    items = [("manifest.json", b"[]"), ("manifest.json.sig", SIGNATURE.encode())]

    assert verify_signature(case(*items))["resources"] == 2


@pytest.mark.parametrize(
    "data", [SIGNATURE.encode(), _item(OLD), _item(NEW)], ids=["sig", "old bundle", "bundle"]
)
def test_a_signature_over_another_manifest_or_by_another_key_is_refused(data):
    [first, _] = MANIFEST.files
    other = type(MANIFEST).of([first])

    with pytest.raises(VerificationError):
        verify_signature(case(("manifest.json.sig", data), manifest=other))
    with pytest.raises(VerificationError):
        verify_signature(
            case(("manifest.json.sig", data), policy=trust(signer("x", builders.key("x"))))
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"messageSignature": None},
        {"messageSignature": {**NEW["messageSignature"], "messageDigest": None}},
        {"messageSignature": {**NEW["messageSignature"], "signature": ""}},
        {
            "messageSignature": {
                **NEW["messageSignature"],
                "messageDigest": {"algorithm": "MD5", "digest": "AAAA"},
            }
        },
        {"dsseEnvelope": {}},
        {"verificationMaterial": {}},
        {"verificationMaterial": {"publicKey": {}, "certificate": {"rawBytes": "AA=="}}},
        {"verificationMaterial": {"x509CertificateChain": {"certificates": []}}},
        {"verificationMaterial": {"x509CertificateChain": {"certificates": [{}] * 11}}},
        {
            "verificationMaterial": {
                "publicKey": {},
                "timestampVerificationData": {"rfc3161Timestamps": [{}] * 5},
            }
        },
        {"mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1"},
    ],
)
def test_a_bundle_that_is_not_whole_is_refused(changes):
    with pytest.raises(VerificationError):
        bundle.parse_beside(_item(NEW | changes), MESSAGE)


def test_a_key_does_not_count_where_a_certificate_is_said_to_vouch():
    document = json.loads(sign_model(MANIFEST, MODEL, KEY))
    document["verificationMaterial"] = {"certificate": {"rawBytes": "AA=="}, "tlogEntries": []}

    with pytest.raises(VerificationError):
        verify_signature(case(("model.sig", canonical.encode(document))))


def test_a_bundle_around_two_signatures_is_refused():
    both = envelope.sign(b"{}", envelope.IN_TOTO, [KEY, builders.key("b")])

    with pytest.raises(VerificationError, match="2 signatures"):
        bundle.parse(bundle.wrap(both, "hint"))


def test_a_threshold_is_met_by_signatures_one_by_one():
    other = builders.key("b")
    items = [
        ("model.sig", sign_model(MANIFEST, MODEL, KEY)),
        ("signatures/b.sig", base64.b64encode(other.sign(MESSAGE))),
    ]
    two = Threshold(frozenset({Purpose.SIGNATURE}), 2)
    policy = type(trust())((signer(), signer("b", other)), (two,))

    assert verify_signature(case(*items, policy=policy))["signers"] == ["b", "pipeline"]
    with pytest.raises(VerificationError, match="1 did: pipeline"):
        verify_signature(case(items[0], policy=policy))
    # The same signer twice is one signer.
    again = ("signatures/again.sig", base64.b64encode(KEY.sign(MESSAGE)))
    with pytest.raises(VerificationError, match="1 did: pipeline"):
        verify_signature(case(items[0], again, policy=policy))


@given(st.binary(max_size=200))
def test_junk_beside_the_manifest_is_refused_and_nothing_else(junk):
    with pytest.raises(VerificationError):
        verify_signature(case(("manifest.json.sig", junk)))


@given(st.integers(0, len(_item(NEW)) * 8 - 1))
def test_a_bundle_with_one_bit_flipped_is_refused_or_says_the_same(bit):
    data = bytearray(_item(NEW))
    data[bit // 8] ^= 1 << bit % 8
    try:
        found = verify_signature(case(("manifest.json.sigstore.json", bytes(data))))
    except VerificationError:
        return
    assert found["signers"] == ["pipeline"]  # the bit was in what nobody reads, such as the hint


@pytest.fixture
def cosign(tmp_path):
    path = builders.cosign()
    if path is None:
        pytest.skip("no cosign: set COSIGN to its path")
    (tmp_path / "manifest.json").write_bytes(MESSAGE)

    def run(*arguments):
        return subprocess.run(
            [path, *arguments],
            cwd=tmp_path,
            env={"PATH": "/usr/bin", "HOME": str(tmp_path), "COSIGN_PASSWORD": "secret"},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_the_real_cosign_signs_the_manifest_and_its_attestation_counts(cosign, tmp_path):
    from mlflow_governance.evidence import attestation
    from mlflow_governance.evidence.keys import load_private_key
    from mlflow_governance.evidence.predicate import SLSA_PROVENANCE

    made = cosign("generate-key-pair")
    assert made.returncode == 0, made.stderr
    (tmp_path / "predicate.json").write_text(json.dumps(builders.PROVENANCE_BODY))
    # No transparency log: the key is trusted, and nothing is to leave the machine.
    (tmp_path / "signing.json").write_text(
        '{"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}'
    )
    quiet = ("--signing-config", "signing.json", "--key", "cosign.key", "--yes")
    signed = cosign("sign-blob", *quiet, "--bundle", "out.sigstore.json", "manifest.json")
    assert signed.returncode == 0, signed.stderr
    attested = cosign(
        *("attest-blob", *quiet, "--bundle", "att.sigstore.json"),
        *("--predicate", "predicate.json", "--type", SLSA_PROVENANCE, "manifest.json"),
    )
    assert attested.returncode == 0, attested.stderr

    (tmp_path / "cosign.key").chmod(0o600)
    key = load_private_key(tmp_path / "cosign.key", b"secret")
    policy = trust(signer("cosign", key))
    blob = ("manifest.json.sigstore.json", (tmp_path / "out.sigstore.json").read_bytes())
    assert verify_signature(case(blob, policy=policy))["signer"] == "cosign"
    item = ("attestations/p.intoto.json", (tmp_path / "att.sigstore.json").read_bytes())
    [found] = attestation.find_statements(case(item, policy=policy), SLSA_PROVENANCE)
    assert found.signers == ("cosign",)


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3"])
def test_of_the_older_names_for_a_bundle_only_that_of_v03_is_read(version):
    older = _item(
        NEW | {"mediaType": f"application/vnd.dev.sigstore.bundle+json;version={version}"}
    )

    if version == "0.3":
        assert bundle.parse_beside(older, MESSAGE).signatures
    else:
        with pytest.raises(VerificationError, match="mediaType"):
            bundle.parse_beside(older, MESSAGE)
