"""Cosignatures: what a witness vouches for, when, and how many are enough."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from mlflow_governance.errors import ConfigurationError, LedgerError
from mlflow_governance.ledger import checkpoint, note
from mlflow_governance.ledger.cosignature import (
    Quorum,
    WitnessKey,
    cosign,
    cosigned,
    with_lines,
    witness_key,
)
from tests.unit.ledger.builders import signer

SECOND = 1679315147
ROOT = bytes(range(32))

# Published with github.com/transparency-dev/formats: a witness in use, and its key id.
PUBLISHED = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"


def test_a_published_key_has_the_key_id_it_is_published_with() -> None:
    key = WitnessKey.parse(PUBLISHED)

    assert key.name == "remora.n621.de"
    assert key.encode() == PUBLISHED


# A checkpoint of a ledger of ours that the witness of transparency-dev cosigned.
FOREIGN_KEY = "omni.example/w+67483046+BGuNA9hML2Io2u/h4aGv/Kwj0Gz+iiT1mZj4qnQXSZAq"
FOREIGN = (
    "registry.example.org/ledger\n5\nWB7FkpL8G/8wX/3cPbB6JkhIZm+RJo4Pqm2G/OvUik8=\n\n"
    "\N{EM DASH} registry.example.org/ledger lk01PP7gKV0wFeW559Rjqz/pmmQqGfFn6NhqziM5tgkxA/hZl2yZ"
    "T1UtCuwUnUkJ8ajXOLNuR6D1TcKn2zAu18pmOgk=\n"
    "\N{EM DASH} omni.example/w Z0gwRgAAAABrAcZ9UayLBqlH5AIsyNVkc6OOeZmfPBigRhEoFOR9a8K7IgFpKZZw"
    "sSFRmHjjK0fdmV6o5fHw+Juu0nzqafYZTjp3Aw==\n"
)


def test_the_cosignature_of_an_independent_witness_verifies() -> None:
    key = WitnessKey.parse(FOREIGN_KEY)

    assert cosigned(FOREIGN, [key]) == {key: 1795278461}
    with pytest.raises(LedgerError, match="does not verify"):
        cosigned(FOREIGN.replace("\n5\n", "\n6\n"), [key])


def test_what_is_signed_is_a_header_a_time_and_the_whole_text() -> None:
    """The example of c2sp.org/tlog-cosignature, letter by letter."""
    mine = signer("witness.example.com/w1")
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"

    line = cosign(text, mine, SECOND)

    name, encoded = line.removeprefix("\N{EM DASH} ").split(" ")
    raw = base64.b64decode(encoded)
    assert (name, raw[:4], len(raw)) == (mine.name, witness_key(mine).key_id, 4 + 8 + 64)
    assert raw[4:12] == bytes.fromhex("00000000641850cb")
    message = f"cosignature/v1\ntime 1679315147\n{text}".encode()
    assert mine.key.verify(message, raw[12:])
    assert witness_key(mine).key_id != mine.key.key_id, "another type of signature, another id"


def test_a_witness_vouches_for_a_note_that_keeps_its_first_signature() -> None:
    ledger, witness = signer(), signer("w.example")
    signed = checkpoint.make(12, ROOT, ledger)

    both = with_lines(signed, [cosign(note.split(signed)[0], witness, SECOND)])

    assert cosigned(both, [witness_key(witness)]) == {witness_key(witness): SECOND}
    assert checkpoint.verify(both, ledger.key).size == 12
    assert cosigned(signed, [witness_key(witness)]) == {}


def test_extension_lines_are_cosigned_too() -> None:
    ledger, witness = signer(), signer("w.example")
    text = checkpoint.Checkpoint(ledger.name, 12, ROOT).text() + "more\n"
    both = note.sign(text, ledger) + cosign(text, witness, SECOND)

    assert cosigned(both, [witness_key(witness)])
    with pytest.raises(LedgerError, match="does not verify"):
        cosigned(both.replace("more", "less"), [witness_key(witness)])


@pytest.mark.parametrize("place", [4, 11, 12, 75])
def test_a_changed_time_or_signature_is_refused(place: int) -> None:
    witness = signer("w.example")
    text = checkpoint.Checkpoint("x", 12, ROOT).text()
    raw = bytearray(base64.b64decode(cosign(text, witness, SECOND).split(" ")[2]))
    raw[place] ^= 1
    forged = f"{text}\n\N{EM DASH} w.example {base64.b64encode(raw).decode()}\n"

    with pytest.raises(LedgerError, match="does not verify"):
        cosigned(forged, [witness_key(witness)])


@pytest.mark.parametrize("tail", [b"", b"\0" * 71, b"\0" * 73])
def test_a_cosignature_of_another_length_is_refused(tail: bytes) -> None:
    key = witness_key(signer("w.example"))
    encoded = base64.b64encode(key.key_id + b"\0" + tail).decode()

    with pytest.raises(LedgerError):
        cosigned(f"text\n\n\N{EM DASH} w.example {encoded}\n", [key])


def test_a_cosignature_without_a_time_counts_for_nothing() -> None:
    witness = signer("w.example")

    for second in (0, 2**63 - 1):
        line = cosign("text\n", witness, second)
        with pytest.raises(LedgerError, match="does not verify"):
            cosigned(f"text\n\n{line}", [witness_key(witness)])


def test_the_ledgers_own_signature_is_no_cosignature() -> None:
    """The message of a plain note signature is another one, so neither poses as the other."""
    mine = signer("w.example")
    key = witness_key(mine)
    plain = mine.sign(b"text\n")
    encoded = base64.b64encode(key.key_id + SECOND.to_bytes(8) + plain).decode()

    with pytest.raises(LedgerError, match="does not verify"):
        cosigned(f"text\n\n\N{EM DASH} w.example {encoded}\n", [key])


def test_a_quorum_is_reached_when_the_last_that_is_needed_has_cosigned() -> None:
    witnesses = [signer(f"w{number}.example") for number in range(3)]
    keys = tuple(map(witness_key, witnesses))
    lines = [cosign("text\n", one, SECOND + 10 * n) for n, one in enumerate(witnesses)]
    signed = "text\n\n" + "".join(lines[:2])

    assert Quorum(3, keys).reached_at(signed) is None
    assert Quorum(2, keys).reached_at(signed) == datetime.fromtimestamp(SECOND + 10, UTC)
    assert Quorum(1, keys).reached_at(signed) == datetime.fromtimestamp(SECOND, UTC)


def test_one_witness_counts_once_however_often_it_cosigned() -> None:
    witness = signer("w.example")
    other = witness_key(signer("v.example"))
    lines = [cosign("text\n", witness, second) for second in (SECOND + 5, SECOND)]
    signed = "text\n\n" + "".join(lines)

    assert cosigned(signed, [witness_key(witness)]) == {witness_key(witness): SECOND}
    assert Quorum(2, (witness_key(witness), other)).reached_at(signed) is None


def test_one_key_under_two_names_is_no_two_witnesses() -> None:
    witness = signer("w.example")
    twin = WitnessKey("twin.example", witness.key.public)

    with pytest.raises(ConfigurationError, match="two witnesses"):
        Quorum(2, (witness_key(witness), twin))
    for count in (0, 2):
        with pytest.raises(ConfigurationError, match="cannot be had"):
            Quorum(count, (twin,))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "w.example",
        "w.example+00000000+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
        "remora.n621.de+da77ade7+BOvN63jn",
        "remora.n621.de+da77ade7+!!!!",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "re mora+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    ],
)
def test_what_is_no_key_of_a_witness_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        WitnessKey.parse(text)


def test_a_line_is_added_once() -> None:
    signed = "text\n\n\N{EM DASH} a AAAAAAAA\n"

    assert (
        with_lines(signed, ["\N{EM DASH} b AAAAAAAA\n"] * 2) == signed + "\N{EM DASH} b AAAAAAAA\n"
    )
    assert with_lines(signed, ["\N{EM DASH} a AAAAAAAA\n"]) == signed
