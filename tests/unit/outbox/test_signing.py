"""Standard Webhooks signatures, held to the answers of the reference library."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from mlflow_governance.errors import ConfigurationError, GovernanceError, VerificationError
from mlflow_governance.outbox import signing
from tests.unit.outbox.builders import NOW, OTHER_SECRET, SECRET

KEYS = signing.keys_of(SECRET)
BODY = b'{"hello":"w\xc3\xb6rld"}'


def headers(**changes: str) -> dict[str, str]:
    return {**signing.sign(KEYS, "evt_1", NOW, BODY), **changes}


def verify(given: dict[str, str], body: bytes = BODY, now: datetime = NOW) -> str:
    return signing.verify(KEYS, given, body, now=now)


def test_what_we_sign_verifies_and_names_the_message():
    assert verify(headers()) == "evt_1"


def test_our_signature_is_the_reference_librarys():
    theirs = Webhook(SECRET).sign("evt_1", NOW, BODY.decode())
    assert headers()["webhook-signature"] == theirs


def test_the_reference_library_accepts_our_headers():
    now = datetime.now(UTC)
    Webhook(SECRET).verify(BODY, signing.sign(KEYS, "evt_1", now, BODY))


@settings(deadline=None)
@given(body=st.text(st.characters(exclude_categories=["Cs"])), seconds=st.integers(0, 2**32))
def test_our_signature_is_the_librarys_for_any_text(body: str, seconds: int):
    at = datetime.fromtimestamp(seconds, UTC)
    ours = signing.sign(KEYS, "evt_1", at, body.encode())
    assert ours["webhook-signature"] == Webhook(SECRET).sign("evt_1", at, body)


def test_the_example_of_the_specification_verifies():
    # The reference library's own README uses this secret, id, timestamp and body.
    secret, at = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", datetime.fromtimestamp(1614265330, UTC)
    body = b'{"test": 2432232314}'
    made = signing.sign(signing.keys_of(secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body)
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_a_secret_rotates_either_side_may_be_first():
    both = signing.keys_of(f"{OTHER_SECRET} {SECRET}")
    sent = signing.sign(both, "evt_1", NOW, BODY)
    assert len(sent["webhook-signature"].split(" ")) == 2
    for receiver in (signing.keys_of(OTHER_SECRET), KEYS, both):
        assert signing.verify(receiver, sent, BODY, now=NOW) == "evt_1"
    assert signing.verify(both, headers(), BODY, now=NOW) == "evt_1"


def test_signatures_of_other_schemes_are_passed_over():
    ours = headers()["webhook-signature"]
    assert verify(headers(**{"webhook-signature": f"v1a,AAAA nonsense {ours} v2,BBBB"})) == "evt_1"


def test_header_names_are_read_in_any_case():
    assert verify({name.title(): value for name, value in headers().items()}) == "evt_1"


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_the_clocks_may_be_five_minutes_apart(seconds: int):
    assert verify(headers(), now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(("seconds", "word"), [(301, "old"), (-301, "ahead")])
def test_an_old_or_a_future_timestamp_is_refused(seconds: int, word: str):
    with pytest.raises(VerificationError, match=word):
        verify(headers(), now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize("body", [b"", BODY[:-1], BODY + b" ", BODY.replace(b"h", b"H")])
def test_a_changed_byte_is_refused(body: bytes):
    with pytest.raises(VerificationError, match="no signature"):
        verify(headers(), body)


def test_another_id_or_timestamp_is_refused():
    for name, value in (
        ("webhook-id", "evt_2"),
        ("webhook-timestamp", str(int(NOW.timestamp()) + 1)),
    ):
        with pytest.raises(VerificationError, match="no signature"):
            verify(headers(**{name: value}))


def test_another_secret_is_refused():
    with pytest.raises(VerificationError, match="no signature"):
        signing.verify(signing.keys_of(OTHER_SECRET), headers(), BODY, now=NOW)


def test_without_any_key_nothing_verifies():
    with pytest.raises(VerificationError):
        signing.verify((), headers(), BODY, now=NOW)


@pytest.mark.parametrize("name", list(headers()))
def test_a_missing_header_is_refused(name: str):
    with pytest.raises(VerificationError):
        verify({key: value for key, value in headers().items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-id", ""),
        ("webhook-id", "a.b"),
        ("webhook-id", "a" * 129),
        ("webhook-id", "a\nb"),
        ("webhook-timestamp", "1e9"),
        ("webhook-timestamp", "-1"),
        ("webhook-timestamp", "1795253400.0"),
        ("webhook-timestamp", "nan"),
        ("webhook-timestamp", "9" * 40),
        ("webhook-timestamp", "١٧٩٥٢٥٣٤٠٠"),
        ("webhook-signature", ""),
        ("webhook-signature", "v1"),
        ("webhook-signature", "v1,"),
        ("webhook-signature", "v1,é"),
        ("webhook-signature", "v1,not base64"),
        ("webhook-signature", "v1,AAAA,AAAA"),
        ("webhook-signature", "v1,AAAA " * 10_000),
    ],
)
def test_a_malformed_header_is_refused(name: str, value: str):
    with pytest.raises(VerificationError):
        verify(headers(**{name: value}))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*headers(), "other"]), st.text()), st.binary())
def test_foreign_headers_raise_nothing_but_our_errors(given: dict[str, str], body: bytes):
    with pytest.raises(GovernanceError):
        verify(given, body)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "c2VjcmV0" * 5,
        "whsk_" + "c2VjcmV0" * 5,
        "whsec_",
        "whsec_not-base64!",
        "whsec_é",
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        f"{SECRET} whsec_",
    ],
)
def test_an_unusable_secret_is_refused_and_not_repeated(text: str):
    with pytest.raises(ConfigurationError) as caught:
        signing.keys_of(text)
    assert len(text) < 10 or text not in str(caught.value)
    assert "openssl" in caught.value.advice


def test_a_new_secret_is_usable_and_never_the_same():
    first, second = signing.new_secret(), signing.new_secret()
    assert first != second
    assert len(signing.keys_of(first)[0]) == 32


def test_an_id_with_a_full_stop_is_never_signed():
    with pytest.raises(ValueError, match="id"):
        signing.sign(KEYS, "evt.1", NOW, BODY)


def test_bytes_that_are_not_text_are_signed_as_they_are():
    body = b"\xff\xfe\x00"
    assert verify(signing.sign(KEYS, "evt_1", NOW, body), body) == "evt_1"
