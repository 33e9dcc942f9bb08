"""Beside the stock implementation of OpenSSF Model Signing: what it signs we verify and the
reverse; and what it lets through we do not. ``HOLES`` says where each of these is proved."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec

from mlflow_governance.core import canonical
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import envelope, hashing, keys, signature
from mlflow_governance.evidence.authority import CertificateHolder, KeyHolder
from mlflow_governance.evidence.interface import Case, EvidenceItem
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.trust import Signer, TrustPolicy
from tests.sigstore import certificates
from tests.sigstore.certificates import CODE_SIGNING, Holder, Wish

pytest.importorskip("model_signing")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the stock library and those below it

HOLES = {
    "the root digest does not bind names: a renamed file": "unit.evidence.test_signature:"
    "test_a_renamed_file_is_noticed_although_the_root_digest_does_not_change",
    "files of git are passed over": "integration.test_model_signing:"
    "test_a_file_in_a_folder_of_git_is_one_too_many_here_and_not_there",
    "ignore_paths of the signature are honoured: '.' and no file at all":
    "integration.test_model_signing:test_a_signature_that_ignores_everything_signs_nothing_here",
    "ignore_paths of the signature are honoured: one folder": "unit.evidence.test_signature:"
    "test_what_the_signature_says_to_ignore_is_not_listened_to",
    "../secret is read and accepted": "integration.test_model_signing:"
    "test_a_name_that_leaves_the_model_is_refused_here_and_not_there",
    "folders behind a symlink are neither signed nor verified": "integration.test_model_signing:"
    "test_a_folder_behind_a_symlink_is_unsigned_there_and_refused_here",
    "an empty directory is signed": "integration.test_model_signing:"
    "test_an_empty_directory_is_signed_there_and_refused_here",
    "expired certificates and those for TLS verify": "unit.evidence.test_certificate:"
    "TestStock.test_an_expired_certificate_for_tls_passes_there_and_not_here",
    "a certificate of anybody verifies": "integration.test_model_signing:"
    "test_a_certificate_of_somebody_else_passes_there_and_not_here",
    "without a chain the roots of the Web are trusted": "unit.evidence.test_certificate:"
    "test_the_roots_of_the_web_are_not_trusted",
    "blake2, blake3 and shards": "integration.test_model_signing:"
    "test_other_digests_than_of_whole_files_with_sha256_are_refused",
    "only the first signature is looked at": "unit.evidence.test_signature:"
    "test_exactly_one_signature_is_allowed",
    "junk raises KeyError and IndexError": "unit.evidence.test_mutations:"
    "test_a_damaged_file_is_refused_or_changes_no_fact",
}  # fmt: skip
"""What the stock library lets through or stumbles over, and the test that we do not.

Its configuration, which goes from one verification into the next, is state that we do not have.
"""

CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


@pytest.mark.parametrize("hole", HOLES)
def test_each_hole_has_its_test(hole: str) -> None:
    module, _, path = HOLES[hole].partition(":")
    found: Any = importlib.import_module(f"tests.{module}")
    for name in path.split("."):
        found = getattr(found, name)
    assert callable(found)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model whose file names sort differently as paths and as text."""
    for name, data in {"MLmodel": b"abc", "a/b": b"1", "a.b": b"2", "ä b": b"3"}.items():
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_bytes(data)
    return tmp_path / "model"


@pytest.fixture(params=CURVES)
def any_key(request: pytest.FixtureRequest, tmp_path: Path) -> keys.PrivateKey:
    return new_key(tmp_path, CURVES[request.param])


@pytest.fixture
def key(tmp_path: Path) -> keys.PrivateKey:
    return new_key(tmp_path, ec.SECP256R1())


def new_key(folder: Path, curve: ec.EllipticCurve) -> keys.PrivateKey:
    """A key of ours whose two halves are where the stock library finds them."""
    private = ec.generate_private_key(curve)
    (folder / "k.pem").write_bytes(certificates.private_pem(private))
    (folder / "k.pem").chmod(0o600)
    (folder / "k.pub").write_bytes(
        private.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )
    return keys.load_private_key(folder / "k.pem")


def stock_sign(model: Path, hashing_config: Any = None) -> bytes:
    """The model as the stock library signs it with the key beside it."""
    from model_signing import signing

    path = model.parent / "m.sig"
    config = signing.Config().use_elliptic_key_signer(private_key=model.parent / "k.pem")
    if hashing_config is not None:
        config = config.set_hashing_config(hashing_config)
    config.sign(model, path)
    return path.read_bytes()


def stock_verifies(model: Path, data: bytes, change: Callable[[Any], Any] | None = None) -> bool:
    """Whether the stock library believes a signature with the key beside the model."""
    from model_signing import verifying

    path = model.parent / "given.sig"
    path.write_bytes(data)
    config = verifying.Config().use_elliptic_key_verifier(public_key=model.parent / "k.pub")
    return _believes(change(config) if change else config, model, path)


def _believes(config: Any, model: Path, path: Path) -> bool:
    try:
        config.verify(model, path)
    except ValueError:
        return False
    return True


def trusting(by: KeyHolder | CertificateHolder) -> TrustPolicy:
    return TrustPolicy((Signer("lab", by, frozenset({Purpose.SIGNATURE})),))


def ours(model: Path, data: bytes, policy: TrustPolicy) -> Any:
    """What we prove of a model as it stands on disk."""
    items = (EvidenceItem(signature.ITEM, data),)
    manifest = hashing.hash_directory(model)
    return signature.verify_signature(Case(manifest, "model", items, policy, datetime.now(UTC)))


def resigned(data: bytes, key: keys.PrivateKey, change: Callable[[Any], None]) -> bytes:
    """A signature over another statement, by the same key."""
    document = json.loads(data)
    statement = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    change(statement)
    enclosed = json.loads(envelope.sign(canonical.encode(statement), envelope.IN_TOTO, [key]))
    enclosed["signatures"][0]["keyid"] = ""
    return canonical.encode({**document, "dsseEnvelope": enclosed})


def test_the_stock_library_verifies_what_we_sign(model: Path, any_key: keys.PrivateKey) -> None:
    signed = signature.sign_model(hashing.hash_directory(model), "model", any_key)
    assert stock_verifies(model, signed)
    (model / "a.b").write_bytes(b"changed")
    assert not stock_verifies(model, signed)


def test_we_verify_what_the_stock_library_signs(model: Path, any_key: keys.PrivateKey) -> None:
    signed = stock_sign(model)
    assert ours(model, signed, trusting(KeyHolder(any_key.public)))["resources"] == 4
    (model / "a.b").write_bytes(b"changed")
    with pytest.raises(VerificationError, match=r"file changed: a\.b"):
        ours(model, signed, trusting(KeyHolder(any_key.public)))


# --- certificates -----------------------------------------------------------------------------

LAB = "lab@example.com"


@pytest.fixture(params=CURVES)
def holder(request: pytest.FixtureRequest, model: Path) -> Holder:
    """A certificate of the lab, where the stock library finds it."""
    root = certificates.root()
    issuing = certificates.below(
        root, Wish("Issuing", ca=True, path_length=0, digital_signature=False)
    )
    wish = Wish("Lab", sans=(x509.RFC822Name(LAB),), usages=(CODE_SIGNING,))
    made = certificates.below(issuing, wish, ec.generate_private_key(CURVES[request.param]))
    home = model.parent
    (home / "s.key").write_bytes(certificates.private_pem(made.key))
    (home / "s.key").chmod(0o600)
    (home / "s.pem").write_bytes(certificates.pem(made.certificate))
    (home / "chain.pem").write_bytes(certificates.pem(issuing.certificate))
    (home / "root.pem").write_bytes(certificates.pem(root.certificate))
    return made


def certified_by_stock(model: Path) -> bytes:
    from model_signing import signing

    home = model.parent
    config = signing.Config().use_certificate_signer(
        private_key=home / "s.key",
        signing_certificate=home / "s.pem",
        certificate_chain=[home / "chain.pem"],
    )
    config.sign(model, home / "m.sig")
    return (home / "m.sig").read_bytes()


def stock_verifies_certificate(model: Path, path: Path) -> bool:
    from model_signing import verifying

    roots = [model.parent / "root.pem"]
    config = verifying.Config().use_certificate_verifier(certificate_chain=roots)
    return _believes(config, model, path)


def lab(model: Path, identity: str = LAB) -> TrustPolicy:
    roots = (model.parent / "root.pem").read_text("ascii")
    return trusting(CertificateHolder(roots, identity))


def test_we_verify_what_the_stock_library_signs_with_a_certificate(
    model: Path, holder: Holder
) -> None:
    assert ours(model, certified_by_stock(model), lab(model))["signer"] == "lab"


def test_the_stock_library_verifies_our_signature_with_a_chain_beside_it(
    model: Path, holder: Holder
) -> None:
    key = keys.load_private_key(model.parent / "s.key")
    document = json.loads(signature.sign_model(hashing.hash_directory(model), "model", key))
    chain = [
        {"rawBytes": base64.b64encode(certificates.der(one)).decode()} for one in holder.chain[:-1]
    ]
    document["verificationMaterial"] = {
        "x509CertificateChain": {"certificates": chain}, "tlogEntries": [],
    }  # fmt: skip
    signed = canonical.encode(document)
    (model.parent / "given.sig").write_bytes(signed)
    assert stock_verifies_certificate(model, model.parent / "given.sig")
    assert ours(model, signed, lab(model))["signer"] == "lab"


def test_a_certificate_of_somebody_else_passes_there_and_not_here(
    model: Path, holder: Holder
) -> None:
    signed = certified_by_stock(model)
    assert stock_verifies_certificate(model, model.parent / "m.sig")
    with pytest.raises(VerificationError, match="not of release@example"):
        ours(model, signed, lab(model, "release@example.com"))


# --- holes ------------------------------------------------------------------------------------


def test_a_file_in_a_folder_of_git_is_one_too_many_here_and_not_there(
    model: Path, key: keys.PrivateKey
) -> None:
    signed = stock_sign(model)
    for name in (".git/evil.py", ".github/x.py", ".gitignore", ".gitattributes"):
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_bytes(b"evil")
        assert stock_verifies(model, signed)
        with pytest.raises(VerificationError, match=f"file added: {name}"):
            ours(model, signed, trusting(KeyHolder(key.public)))


def test_a_signature_that_ignores_everything_signs_nothing_here(
    model: Path, key: keys.PrivateKey
) -> None:
    def ignore(statement: Any) -> None:
        statement["predicate"]["resources"] = []
        statement["predicate"]["serialization"]["ignore_paths"] = ["."]
        empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        statement["subject"][0]["digest"]["sha256"] = empty

    signed = resigned(stock_sign(model), key, ignore)
    assert stock_verifies(model, signed)
    with pytest.raises(VerificationError, match="signs no file"):
        ours(model, signed, trusting(KeyHolder(key.public)))


SECRET = hashlib.sha256(b"secret").hexdigest()


def test_a_name_that_leaves_the_model_is_refused_here_and_not_there(
    model: Path, key: keys.PrivateKey
) -> None:
    (model.parent / "secret").write_bytes(b"secret")

    def reach_out(statement: Any) -> None:
        resources = statement["predicate"]["resources"]
        resources.append({**resources[0], "name": "../secret", "digest": SECRET})
        digests = b"".join(bytes.fromhex(entry["digest"]) for entry in resources)
        statement["subject"][0]["digest"] = {"sha256": hashlib.sha256(digests).hexdigest()}

    signed = resigned(stock_sign(model), key, reach_out)
    assert stock_verifies(model, signed, lambda config: config.set_ignore_unsigned_files(True))
    with pytest.raises(VerificationError, match="unsafe file name"):
        ours(model, signed, trusting(KeyHolder(key.public)))


def test_a_folder_behind_a_symlink_is_unsigned_there_and_refused_here(
    model: Path, key: keys.PrivateKey
) -> None:
    from model_signing import hashing as stock

    outside = model.parent / "outside"
    outside.mkdir()
    (outside / "w").write_bytes(b"good")
    (model / "weights").symlink_to(outside)
    follow = stock.Config().set_allow_symlinks(True)
    signed = stock_sign(model, follow)
    (outside / "w").write_bytes(b"evil")
    assert stock_verifies(model, signed, lambda config: config.set_hashing_config(follow))
    with pytest.raises(VerificationError, match="weights"):
        ours(model, signed, trusting(KeyHolder(key.public)))


def test_an_empty_directory_is_signed_there_and_refused_here(
    tmp_path: Path, key: keys.PrivateKey
) -> None:
    empty = tmp_path / "model"
    empty.mkdir()
    signed = stock_sign(empty)
    assert stock_verifies(empty, signed)
    with pytest.raises(VerificationError, match="no file"):
        ours(empty, signed, trusting(KeyHolder(key.public)))
    (empty / "x").write_bytes(b"x")
    with pytest.raises(VerificationError, match="signs no file"):
        ours(empty, signed, trusting(KeyHolder(key.public)))


@pytest.mark.parametrize("kind", ["blake2", "blake3", "shards"])
def test_other_digests_than_of_whole_files_with_sha256_are_refused(
    model: Path, key: keys.PrivateKey, kind: str
) -> None:
    from model_signing import hashing as stock

    if kind == "blake3":
        pytest.importorskip("blake3")
    config = stock.Config()
    if kind == "shards":
        config = config.use_shard_serialization(shard_size=2)
    else:
        config = config.use_file_serialization(hashing_algorithm=kind)  # type: ignore[arg-type]
    signed = stock_sign(model, config)
    with pytest.raises(VerificationError, match="not made over whole files with SHA-256"):
        ours(model, signed, trusting(KeyHolder(key.public)))
