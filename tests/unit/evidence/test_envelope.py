import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import envelope
from tests.unit.evidence import builders

TYPE = "http://example.com/HelloWorld"
A, B = builders.key("a"), builders.key("b", "ed25519")
SIGNED = envelope.sign(b"hello world", TYPE, [A, B])


def _changed(**changes) -> bytes:
    return json.dumps(json.loads(SIGNED) | changes).encode()


def test_the_pre_authentication_encoding_is_that_of_the_specification():
    # The test vector of DSSE protocol v1.0.
    assert envelope.pae(TYPE, b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert envelope.pae("ä", b"") == "DSSEv1 2 ä 0 ".encode()


def test_an_envelope_comes_back_as_it_was_signed():
    parsed = envelope.parse(SIGNED)

    assert (parsed.payload_type, parsed.payload) == (TYPE, b"hello world")
    assert envelope.verify(parsed, [A.public, B.public], 2) == (A.public, B.public)


def test_securesystemslib_verifies_what_we_sign():
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import SSlibKey

    theirs = Envelope.from_dict(json.loads(SIGNED))
    key = SSlibKey.from_crypto(A.public._key, keyid=A.public.key_id)

    assert set(theirs.verify([key], 1)) == {key.keyid}


def test_a_key_that_is_not_trusted_does_not_count():
    with pytest.raises(VerificationError, match="0 of the keys"):
        envelope.verify(envelope.parse(SIGNED), [builders.key("c").public])
    with pytest.raises(VerificationError):
        envelope.verify(envelope.parse(SIGNED), [])


def test_one_key_counts_once_however_often_it_signed():
    twice = envelope.parse(envelope.sign(b"x", TYPE, [A, A]))

    assert envelope.verify(twice, [A.public, A.public]) == (A.public,)
    with pytest.raises(VerificationError, match="1 of the keys that may sign did; 2 must"):
        envelope.verify(twice, [A.public, A.public, B.public], 2)


def test_the_key_id_is_only_a_hint():
    document = json.loads(SIGNED)
    document["signatures"][0]["keyid"] = B.public.key_id
    document["signatures"][1].pop("keyid")

    parsed = envelope.parse(json.dumps(document).encode())

    assert set(envelope.verify(parsed, [A.public, B.public], 2)) == {A.public, B.public}


def test_another_payload_type_breaks_the_signature():
    with pytest.raises(VerificationError):
        envelope.verify(envelope.parse(_changed(payloadType="other")), [A.public])


def test_unknown_fields_are_ignored_and_url_safe_base64_is_read():
    odd = envelope.sign(b"\xfb\xff\xfe>>>???", TYPE, [A])
    document = json.loads(odd) | {"unknown": 1}
    document["payload"] = document["payload"].replace("+", "-").replace("/", "_")

    parsed = envelope.parse(json.dumps(document).encode())

    assert envelope.verify(parsed, [A.public]) == (A.public,)


def _sig(value: bytes) -> list[dict[str, str]]:
    return [{"sig": base64.b64encode(value).decode()}]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        SIGNED + b"{}",
        SIGNED.replace(b'"payload":', b'"payload":"","payload":'),
        _changed(payload=None),
        _changed(payload="aGVsbG8"),
        _changed(payload="aGVsbG9="),
        _changed(payload="aGVs bG8="),
        _changed(payload="-+=="),
        _changed(payload="ä"),
        _changed(payloadType=1),
        _changed(payloadType="\ud800"),
        _changed(payloadType="x" * 2000),
        _changed(signatures=[]),
        _changed(signatures={}),
        _changed(signatures=[1]),
        _changed(signatures=[{}]),
        _changed(signatures=_sig(b"")),
        _changed(signatures=_sig(b"x" * 2000)),
        _changed(signatures=[{"sig": "AAAA", "keyid": 7}]),
        _changed(signatures=_sig(b"x") * (envelope.MAX_SIGNATURES + 1)),
    ],
)
def test_what_is_no_envelope_is_refused(data):
    with pytest.raises(VerificationError):
        envelope.parse(data)


def test_stray_bits_before_the_padding_are_refused():
    assert envelope.decode_base64("QQ==", "x") == b"A"
    with pytest.raises(VerificationError, match="canonical"):
        envelope.decode_base64("QR==", "x")


def test_an_envelope_without_a_key_or_a_threshold_is_a_mistake_of_the_program():
    with pytest.raises(ValueError):
        envelope.sign(b"", TYPE, [])
    with pytest.raises(ValueError):
        envelope.verify(envelope.parse(SIGNED), [A.public], 0)


@settings(max_examples=400)
@given(position=st.integers(0, len(SIGNED) - 1), flip=st.integers(1, 255))
def test_a_changed_byte_never_changes_what_verifies(position, flip):
    data = bytearray(SIGNED)
    data[position] ^= flip
    try:
        parsed = envelope.parse(bytes(data))
        envelope.verify(parsed, [A.public, B.public])
    except VerificationError:
        return
    assert (parsed.payload_type, parsed.payload) == (TYPE, b"hello world")


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused_without_surprise(data):
    with pytest.raises(VerificationError):
        envelope.parse(data)
