import base64
import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.errors import ConfigurationError, GovernanceError, VerificationError
from mlflow_governance.evidence import cosign_key, keys
from tests.unit.evidence import builders


def _write(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def _pem(key, password: bytes | None = None) -> bytes:
    protection = form.BestAvailableEncryption(password) if password else form.NoEncryption()
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, protection)


@pytest.mark.parametrize("algorithm", ["ecdsa-p256", "ed25519"])
def test_a_new_pair_signs_and_verifies(tmp_path, algorithm):
    path = tmp_path / "a.pem"
    keys.generate_key_pair(path, algorithm=algorithm)

    private = keys.load_private_key(path)
    public = keys.PublicKey.from_pem((tmp_path / "a.pub").read_bytes())

    public.verify(private.sign(b"data"), b"data")
    assert public == private.public
    assert public.algorithm == algorithm
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_the_hash_follows_the_curve(tmp_path, curve):
    secret = ec.generate_private_key(curve)
    private = keys.load_private_key(_write(tmp_path / "k.pem", _pem(secret)))

    hash_of = {256: keys.hashes.SHA256, 384: keys.hashes.SHA384, 521: keys.hashes.SHA512}
    secret.public_key().verify(private.sign(b"data"), b"data", ec.ECDSA(hash_of[curve.key_size]()))
    assert private.public.algorithm == f"ecdsa-p{curve.key_size}"


def test_the_key_id_is_the_sha256_of_the_der_key():
    public = builders.key().public
    der = base64.b64decode("".join(public.pem.splitlines()[1:-1]))

    assert public.key_id == "sha256:" + __import__("hashlib").sha256(der).hexdigest()


@pytest.mark.parametrize("existing", ["a.pem", "a.pub"])
def test_no_key_file_is_overwritten(tmp_path, existing):
    (tmp_path / existing).write_bytes(b"mine")

    with pytest.raises(ConfigurationError, match="not overwritten"):
        keys.generate_key_pair(tmp_path / "a.pem")

    assert [p.name for p in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_bytes() == b"mine"


def test_a_private_key_is_not_named_like_a_public_one(tmp_path):
    with pytest.raises(ConfigurationError):
        keys.generate_key_pair(tmp_path / "a.pub")
    assert list(tmp_path.iterdir()) == []


def test_an_encrypted_key_needs_its_password(tmp_path):
    path = tmp_path / "a.pem"
    keys.generate_key_pair(path, password=b"hello")

    keys.load_private_key(path, b"hello")
    for wrong in (None, b"", b"hallo"):
        with pytest.raises(ConfigurationError):
            keys.load_private_key(path, wrong)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_key_open_to_others_is_refused(tmp_path, mode):
    path = tmp_path / "a.pem"
    keys.generate_key_pair(path)
    path.chmod(mode)

    with pytest.raises(ConfigurationError) as refused:
        keys.load_private_key(path)

    assert refused.value.advice == f"chmod 600 {path}"


def test_what_is_no_key_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    _write(tmp_path / "huge", b"x" * (keys.MAX_KEY_BYTES + 1))
    _write(tmp_path / "junk", b"junk")
    _write(tmp_path / "rsa", _pem(rsa.generate_private_key(65537, 2048)))
    _write(tmp_path / "k1", _pem(ec.generate_private_key(ec.SECP256K1())))

    for name in ("absent", "pipe", "huge", "junk", "rsa", "k1"):
        with pytest.raises(ConfigurationError):
            keys.load_private_key(tmp_path / name)


def test_a_private_key_does_not_show_itself():
    private = builders.key()
    number = private._key.private_numbers().private_value

    assert "PRIVATE" not in repr(private)
    assert str(number) not in repr(private)
    assert f"{number:x}" not in repr(private)


def test_another_key_and_other_data_do_not_verify():
    private, other = builders.key(), builders.key("other")

    for public, data in ((other.public, b"data"), (private.public, b"date")):
        with pytest.raises(VerificationError):
            public.verify(private.sign(b"data"), data)


@pytest.mark.parametrize("algorithm", ["ecdsa-p256", "ed25519"])
@given(position=st.integers(0, 200), flip=st.integers(1, 255))
def test_every_changed_byte_of_a_signature_is_refused(algorithm, position, flip):
    private = builders.key(f"flip-{algorithm}", algorithm)
    signature = bytearray(private.sign(b"data"))
    signature[position % len(signature)] ^= flip

    with pytest.raises(VerificationError):
        private.public.verify(bytes(signature), b"data")


@given(st.binary(max_size=300))
def test_foreign_bytes_are_no_public_key_and_no_surprise(data):
    with pytest.raises(GovernanceError):
        keys.PublicKey.from_pem(b"-----BEGIN PUBLIC KEY-----\n" + data)


def _cosign_file(key, **changes) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
    from nacl.secret import SecretBox

    text = lambda data: base64.b64encode(data).decode()  # noqa: E731
    salt, nonce = b"s" * 32, b"n" * 24
    secret = Scrypt(salt=salt, length=32, n=1024, r=8, p=1).derive(b"hello")
    der = key.private_bytes(form.Encoding.DER, form.PrivateFormat.PKCS8, form.NoEncryption())
    document = {
        "kdf": {
            "name": "scrypt",
            "params": {"N": 1024, "r": 8, "p": 1} | changes,
            "salt": text(salt),
        },
        "cipher": {"name": "nacl/secretbox", "nonce": text(nonce)},
        "ciphertext": text(SecretBox(secret).encrypt(der, nonce).ciphertext),
    }
    label = b"ENCRYPTED COSIGN PRIVATE KEY"
    body = base64.encodebytes(json.dumps(document).encode())
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label, body, label)


def test_an_older_cosign_key_is_read(tmp_path):
    secret = ec.generate_private_key(ec.SECP256R1())
    path = _write(tmp_path / "cosign.key", _cosign_file(secret))

    keys.load_private_key(path, b"hello").sign(b"data")
    with pytest.raises(ConfigurationError, match="wrong password"):
        keys.load_private_key(path, b"hallo")


@pytest.mark.parametrize(
    "changes",
    [{"N": 2**30}, {"N": 1000}, {"r": 64}, {"p": 64}, {"N": True}, {"N": "1024"}, {"p": 0}],
)
def test_a_cosign_key_cannot_ask_for_unbounded_work(tmp_path, changes):
    secret = ec.generate_private_key(ec.SECP256R1())
    path = _write(tmp_path / "cosign.key", _cosign_file(secret, **changes))

    with pytest.raises(ConfigurationError):
        keys.load_private_key(path, b"hello")


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=100).map(base64.b64encode)))
def test_foreign_bytes_are_no_cosign_key_and_no_surprise(body):
    label = b"ENCRYPTED SIGSTORE PRIVATE KEY"
    with pytest.raises(ValueError):
        cosign_key.decrypt(b"-----BEGIN %b-----\n%b\n-----END %b-----" % (label, body, label), b"")


@pytest.mark.skipif(builders.cosign() is None, reason="no cosign: set COSIGN to its path")
def test_a_key_made_by_cosign_signs_and_cosign_verifies(tmp_path):
    run = {"cwd": tmp_path, "env": os.environ | {"COSIGN_PASSWORD": "hello"}, "check": True}
    subprocess.run([builders.cosign(), "generate-key-pair"], **run, capture_output=True)
    private = keys.load_private_key(tmp_path / "cosign.key", b"hello")
    (tmp_path / "blob").write_bytes(b"data")
    (tmp_path / "blob.sig").write_bytes(base64.b64encode(private.sign(b"data")))

    verify = [builders.cosign(), "verify-blob", "--key", "cosign.pub", "--signature", "blob.sig"]
    subprocess.run([*verify, "--insecure-ignore-tlog=true", "blob"], **run, capture_output=True)
    assert private.public.pem == (tmp_path / "cosign.pub").read_text()


def test_a_public_key_is_not_taken_to_sign_and_is_called_one(tmp_path):
    keys.generate_key_pair(tmp_path / "ci.pem")

    with pytest.raises(ConfigurationError, match=r"ci\.pub is a public key\b.*\n.*ci\.pem"):
        keys.open_key(tmp_path / "ci.pub")
