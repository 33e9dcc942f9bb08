"""Signed notes: what is signed verifies, and nothing else does."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
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
from tests.unit.ledger.builders import NAME, signer

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


def test_the_published_vector_verifies() -> None:
    key = NoteKey.parse(VECTOR_KEY)

    assert open_note(VECTOR, key) == VECTOR_TEXT
    assert open_note(VECTOR.encode(), key) == VECTOR_TEXT
    assert key.encode() == VECTOR_KEY


def test_a_signed_text_comes_back() -> None:
    mine = signer()
    text = "one\n\ntwo — three\n"

    assert open_note(sign(text, mine), mine.key) == text


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
