"""Signed notes: what is signed verifies, and nothing else does."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.errors import ConfigurationError, LedgerError
from mlflow_governance.ledger.note import (
    MAX_BYTES,
    Ed25519Signer,
    NoteKey,
    NoteSigner,
    open_note,
    sign,
    split,
)
from tests.unit.ledger.builders import NAME, ecdsa_signer, signer

# Published with golang.org/x/mod/sumdb/note, which defined the format.
VECTOR_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
VECTOR_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
VECTOR = (
    VECTOR_TEXT + "\n— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)

# From transparency-dev/formats: Sigstore's first log, and that of Pixel's firmware.
REKOR = {
    "rekor": (
        "rekor.sigstore.dev+c0d23d6a+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGv"
        "XwBcK5AW5i0hrZLOC96l+smGNM7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc=",
        "Rekor\n798034\nf+7CoKgXKE/tNys9TTXcr/ad6U/K3xvznmzew9y6SP0=\n",
        "— rekor.sigstore.dev wNI9ajBEAiARInWIWyCdyG27CO6LPnPekyw20qO0YJfoaPaowGp/XgIgc+qEHS3+GKVC"
        "lgqq20uDLet7MCoTURUCRdxwWBHHufk=",
    ),
    "pixel": (
        "pixel6_transparency_log+91c16e30+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABN+4x0Jk1yTwvLFI9A4N"
        "DdGZcX0aiWVdWM5XJVy0M4VWD3AvyW5Q6Hs9A0mcDkpUoYgn+KKPNzFC0H3nN3q6JQ8=",
        "DEFAULT\n10\nbsWRucJU5xJPHb5eBdOm6+DM+VelCZBuvtI3sHERJ9Y=\n",
        "— pixel6_transparency_log kcFuMDBFAiEAhqMAP8P6qf6QxtUJhzMhbN+MbZ9dwfUHzGQJmffJHtoCIGD0cN"
        "e47dHWBoPwYdgBCepB06/+g5O1FmYjXl06owL4",
    ),
}


def test_the_published_vector_verifies() -> None:
    key = NoteKey.parse(VECTOR_KEY)

    assert open_note(VECTOR, key) == VECTOR_TEXT
    assert open_note(VECTOR.encode(), key) == VECTOR_TEXT
    assert key.encode() == VECTOR_KEY


@pytest.mark.parametrize("name", REKOR)
def test_notes_of_ecdsa_keys_in_the_field_verify(name: str) -> None:
    vkey, text, line = REKOR[name]
    key = NoteKey.parse(vkey)

    assert open_note(f"{text}\n{line}\n", key) == text
    assert key.encode() == vkey
    assert key.algorithm == "ecdsa-p256"
    with pytest.raises(LedgerError, match="does not verify"):
        open_note(f"{text}more\n\n{line}\n", key)


@pytest.mark.parametrize("make", [signer, ecdsa_signer])
def test_a_signed_text_comes_back(make: Callable[[], NoteSigner]) -> None:
    mine = make()
    text = "one\n\ntwo — three\n"

    assert open_note(sign(text, mine), mine.key) == text
    assert NoteKey.parse(mine.key.encode()) == mine.key


def test_a_note_signed_by_two_opens_with_each() -> None:
    one, two = signer(), ecdsa_signer()
    note = sign("text\n", one, two)

    assert open_note(note, one.key) == open_note(note, two.key) == "text\n"
    assert note.count("\N{EM DASH}") == 2


def test_an_ecdsa_key_has_one_spelling() -> None:
    der = ecdsa_signer().key.public
    private = generate_private_key(SECP256R1())
    compressed = private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    foreign = generate_private_key(SECP384R1()).public_key()
    for wrong in (
        der + b"\0", der[:-1], der[:26] + b"\1" + der[27:], der[:30] + bytes(61), compressed,
        foreign.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    ):  # fmt: skip
        with pytest.raises(ConfigurationError):
            NoteKey(NAME, wrong)


def test_a_key_under_the_type_of_the_other_algorithm_is_refused() -> None:
    for key, kind in ((signer().key, b"\2"), (ecdsa_signer().key, b"\1")):
        encoded = base64.b64encode(kind + key.public).decode()
        with pytest.raises(ConfigurationError):
            NoteKey.parse(f"{NAME}+{key.key_id.hex()}+{encoded}")


def test_a_public_key_of_another_kind_signs_no_ledger() -> None:
    info = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for pem in (b"junk", generate_private_key(SECP384R1()).public_key().public_bytes(*info)):
        with pytest.raises(ConfigurationError):
            NoteKey.from_pem(NAME, pem)


def test_signatures_of_witnesses_are_passed_over() -> None:
    mine, witness = signer(), signer("witness.example")
    note = sign("text\n", mine)
    both = note + sign("text\n", witness).rpartition("\n\n")[2]

    assert open_note(both, mine.key) == open_note(both, witness.key) == "text\n"


def test_a_second_signature_of_the_key_must_verify_too() -> None:
    mine = signer()
    forged = sign("text\n", mine) + sign("other\n", mine).rpartition("\n\n")[2]

    with pytest.raises(LedgerError, match="does not verify"):
        open_note(forged, mine.key)


def test_another_key_of_the_same_name_signs_nothing() -> None:
    with pytest.raises(LedgerError, match="not signed"):
        open_note(sign("text\n", signer()), signer().key)


@given(st.integers(0, len(VECTOR.encode()) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused(position: int, change: int) -> None:
    raw = bytearray(VECTOR.encode())
    raw[position] ^= change

    with pytest.raises(LedgerError):
        open_note(bytes(raw), NoteKey.parse(VECTOR_KEY))


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_foreign_bytes_are_refused_and_nothing_else(data: bytes | str) -> None:
    with pytest.raises(LedgerError):
        open_note(data, NoteKey.parse(VECTOR_KEY))


@pytest.mark.parametrize(
    "note",
    [
        "text\n\n",
        "\n\n— a eHh4eHg=\n",
        "text\n\n— a eHh4eHg=",
        "text\n\n- a eHh4eHg=\n",
        "text\n\n—  eHh4eHg=\n",
        "text\n\n— a+b eHh4eHg=\n",
        "text\n\n— a eHh4\n",
        "text\n\n— a eHh4eHh=\n",
        "text\t\n\n— a eHh4eHg=\n",
        "x" * MAX_BYTES + "\n\n— a eHh4eHg=\n",
    ],
)
def test_what_is_not_a_note_is_refused(note: str) -> None:
    with pytest.raises(LedgerError):
        split(note)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\nb", "a\0b"])
def test_a_key_name_has_no_spaces_and_no_plus(name: str) -> None:
    with pytest.raises(ConfigurationError):
        NoteKey(name, bytes(32))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000+AAAA",
        VECTOR_KEY.replace("c74f20a3", "c74f20a4"),
        VECTOR_KEY[:-4],
        VECTOR_KEY.replace("+ARpc", "+ARp*"),
        VECTOR_KEY.replace("+ARpc", "+BRpc"),
        VECTOR_KEY.replace("c74f20a3", "C74F20A3"),
        VECTOR_KEY.replace("y10TW", "y10TX"),
    ],
)
def test_a_published_key_that_is_not_one_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        NoteKey.parse(text)


def test_a_key_file_signs() -> None:
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    loaded: NoteSigner = Ed25519Signer.from_pem(NAME, pem)

    assert loaded.key.verify(b"data", private.sign(b"data"))


def test_a_key_file_of_another_kind_is_refused() -> None:
    pem = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    for wrong in (pem, b"", b"junk"):
        with pytest.raises(ConfigurationError):
            Ed25519Signer.from_pem(NAME, wrong)
