import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_governance.core.manifest import FileEntry, Manifest
from mlflow_governance.errors import ConfigurationError, EvidenceMissing, VerificationError
from mlflow_governance.evidence import envelope, hashing, signature
from mlflow_governance.evidence.authority import KeyHolder
from mlflow_governance.evidence.predicate import Purpose
from tests.unit.evidence import builders
from tests.unit.evidence.builders import MANIFEST, MODEL, NOW, case, signer

KEY = builders.key()
SIGNED = signature.sign_model(MANIFEST, MODEL, KEY)


def _verify(data: bytes = SIGNED, **changes):
    return signature.SignatureVerifier().verify(case(("model.sig", data), **changes))


def _resigned(change) -> bytes:
    """The signature over a changed statement, signed again by the trusted key."""
    document = json.loads(SIGNED)
    statement = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    change(statement)
    enclosed = envelope.sign(json.dumps(statement).encode(), envelope.IN_TOTO, [KEY])
    return json.dumps(document | {"dsseEnvelope": json.loads(enclosed)}).encode()


def test_a_signed_model_verifies():
    assert _verify() == {
        "signer": "pipeline",
        "key_id": KEY.public.key_id,
        "signers": ["pipeline"],
        "resources": 2,
    }


def test_an_unsigned_model_is_missing_its_signature():
    with pytest.raises(EvidenceMissing):
        signature.verify_signature(case(("other.sig", SIGNED)))


def test_two_signatures_of_one_name_are_refused():
    with pytest.raises(VerificationError, match="more than once"):
        signature.verify_signature(case(("model.sig", SIGNED), ("model.sig", SIGNED)))


def test_every_file_that_differs_is_named():
    first, second = MANIFEST.files
    there = Manifest.of(
        [FileEntry(first.name, first.size, "0" * 64), FileEntry("extra.py", 1, "1" * 64)]
    )

    with pytest.raises(VerificationError) as refused:
        _verify(manifest=there)

    assert refused.value.message.endswith(
        f"file changed: {first.name}; file missing: {second.name}; file added: extra.py"
    )


def test_a_renamed_file_is_noticed_although_the_root_digest_does_not_change():
    first, second = MANIFEST.files
    renamed = Manifest.of([FileEntry("AAA", first.size, first.sha256), second])

    with pytest.raises(VerificationError, match="file missing: MLmodel; file added: AAA"):
        _verify(manifest=renamed)


def test_a_long_list_of_differences_is_cut():
    many = Manifest.of([FileEntry(f"f{n:03}", 1, "0" * 64) for n in range(100)])

    with pytest.raises(VerificationError, match="and 82 more"):
        _verify(manifest=many)


@pytest.mark.parametrize(
    "changes",
    [
        {"until": NOW},
        {"models": ("fraud",)},
        {"purposes": frozenset({Purpose.PROVENANCE})},
        {"by": KeyHolder(builders.key("other").public)},
    ],
)
def test_a_key_that_does_not_count_is_refused(changes):
    with pytest.raises(VerificationError):
        _verify(policy=builders.trust(signer(**changes)))


def _set(*path, to):
    def change(statement):
        place = statement
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


RESOURCE = ("predicate", "resources", 0)
SERIALIZATION = ("predicate", "serialization")


@pytest.mark.parametrize(
    "change",
    [
        _set("predicateType", to="https://model_signing/Digests/v0.1"),
        _set("_type", to="https://in-toto.io/Statement/v0.2"),
        _set("subject", 0, "digest", to={"sha256": "0" * 64}),
        _set("subject", 0, "digest", to={"sha512": "0" * 128}),
        lambda statement: statement["subject"].append(statement["subject"][0]),
        _set("predicate", "resources", to=[]),
        _set("predicate", "resources", to=None),
        _set("predicate", "resources", to=[1]),
        lambda statement: statement["predicate"]["resources"].append(
            statement["predicate"]["resources"][0]
        ),
        lambda statement: statement["predicate"]["resources"].pop(),
        _set(*RESOURCE, "name", to="../MLmodel"),
        _set(*RESOURCE, "name", to=""),
        _set(*RESOURCE, "name", to=1),
        _set(*RESOURCE, "digest", to="A" * 64),
        _set(*RESOURCE, "algorithm", to="blake2b"),
        _set("predicate", "serialization", to=None),
        _set(*SERIALIZATION, "method", to="shards"),
        _set(*SERIALIZATION, "hash_type", to="blake3"),
        _set(*SERIALIZATION, "allow_symlinks", to=True),
        _set(*SERIALIZATION, "allow_symlinks", to=0),
    ],
)
def test_a_statement_that_breaks_a_rule_is_refused_even_from_a_trusted_key(change):
    with pytest.raises(VerificationError):
        _verify(_resigned(change))


def test_what_the_signature_says_to_ignore_is_not_listened_to():
    extra = Manifest.of([*MANIFEST.files, FileEntry("evil/x.py", 1, "1" * 64)])
    ignoring = _resigned(_set(*SERIALIZATION, "ignore_paths", to=[".", "evil"]))

    with pytest.raises(VerificationError, match=r"file added: evil/x\.py"):
        _verify(ignoring, manifest=extra)


@pytest.mark.parametrize("count", [0, 2])
def test_exactly_one_signature_is_allowed(count):
    document = json.loads(SIGNED)
    document["dsseEnvelope"]["signatures"] *= count

    with pytest.raises(VerificationError):
        _verify(json.dumps(document).encode())


def test_another_payload_type_is_refused():
    document = json.loads(SIGNED)
    payload = base64.b64decode(document["dsseEnvelope"]["payload"])
    document["dsseEnvelope"] = json.loads(envelope.sign(payload, "text/plain", [KEY]))

    with pytest.raises(VerificationError, match="payload"):
        _verify(json.dumps(document).encode())


def test_an_ed25519_key_cannot_sign_a_model():
    with pytest.raises(ConfigurationError, match="EC key"):
        signature.sign_model(MANIFEST, MODEL, builders.key("ed", "ed25519"))


@settings(max_examples=300)
@given(position=st.integers(0, len(SIGNED) - 1), flip=st.integers(1, 255))
def test_a_changed_byte_never_changes_what_verifies(position, flip):
    data = bytearray(SIGNED)
    data[position] ^= flip
    try:
        facts = _verify(bytes(data))
    except VerificationError:
        return
    assert facts == _verify()


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused_without_surprise(data):
    with pytest.raises(VerificationError):
        _verify(data)


# --- the stock implementation --------------------------------------------------------------


@pytest.fixture
def home(tmp_path):
    """A key pair and a model whose file names sort differently as paths and as text."""
    builders.keys.generate_key_pair(tmp_path / "k.pem")
    files = {"MLmodel": b"abc", "a/b": b"1", "a.b": b"2", "a/c/d": b"", "ä b": b"3"}
    builders.write_model(tmp_path / "model", files | {"governance/evidence/x.json": b"{}"})
    return tmp_path


def _stock(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "model_signing", *arguments]
    return subprocess.run(command, cwd=home, capture_output=True, text=True)


STOCK_VERIFY = ("verify", "key", "model", "--signature", "m.sig", "--public_key", "k.pub")


def test_the_stock_tool_verifies_what_we_sign(home):
    pytest.importorskip("model_signing")
    private = builders.keys.load_private_key(home / "k.pem")
    manifest = hashing.hash_directory(home / "model")
    (home / "m.sig").write_bytes(signature.sign_model(manifest, "model", private))

    good = _stock(home, *STOCK_VERIFY)
    assert good.returncode == 0, good.stdout + good.stderr

    (home / "model" / "a.b").write_bytes(b"changed")
    assert _stock(home, *STOCK_VERIFY).returncode != 0


def test_we_verify_what_the_stock_tool_signs(home):
    pytest.importorskip("model_signing")
    sign = ["sign", "key", "model", "--signature", "m.sig", "--private_key", "k.pem"]
    done = _stock(home, *sign, "--ignore-paths", "model/governance")
    assert done.returncode == 0, done.stdout + done.stderr
    private = builders.keys.load_private_key(home / "k.pem")
    policy = builders.trust(signer(private=private))
    signed = (home / "m.sig").read_bytes()

    facts = _verify(signed, policy=policy, manifest=hashing.hash_directory(home / "model"))
    assert facts["resources"] == 5

    # The stock verifier passes this: it never looks at .git.
    builders.write_model(home / "model", {".git/evil.py": b"evil"})
    assert _stock(home, *STOCK_VERIFY).returncode == 0
    with pytest.raises(VerificationError, match=r"file added: \.git/evil\.py"):
        _verify(signed, policy=policy, manifest=hashing.hash_directory(home / "model"))
