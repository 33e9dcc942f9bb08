"""Entries: canonical, complete, and with nothing personal in them."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.core import canonical
from mlflow_governance.core.event import Event
from mlflow_governance.errors import InvalidRequest, LedgerError
from mlflow_governance.ledger.entry import (
    SALT_BYTES,
    Commitments,
    build_entry,
    carries_columns,
    carries_index,
    encode_entry,
    event_document,
    opens,
    read_entry,
    resolve,
    seal,
)
from tests.unit.ledger.builders import encoded, event

SALT = bytes(range(SALT_BYTES))
SALTED = seal("zora", SALT).commitment
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: _encodable(value))


def _encodable(value: object) -> bool:
    try:
        canonical.encode(value)
    except InvalidRequest:
        return False
    return True


def sealed(happened: Event) -> Commitments:
    return Commitments(seal(happened.person, SALT), seal(happened.reason, SALT))


def test_people_and_reasons_are_not_in_the_bytes() -> None:
    data = encoded(0, person="ann@example.org", reason="she said so")

    assert b"ann" not in data
    assert b"she said so" not in data


def test_everything_else_an_event_says_is_in_the_entry() -> None:
    happened = event(decision_id="d1", decision_digest="sha256:aa", facts={"gate": "promote"})

    document = build_entry(happened, 7, sealed(happened))

    assert set(document) == {f.name for f in fields(Event)} - {"person", "people"} | {
        "actor", "index", "schema",
    }  # fmt: skip
    assert document["index"] == 7
    assert document["at"] == "2026-11-21T03:04:05.000006Z"
    assert document["subject"] == {
        "name": "churn", "version": 3, "workspace": "default", "uid": "u1", "digest": None,
    }  # fmt: skip
    assert read_entry(canonical.encode(document)) == document


def test_an_event_without_reason_commits_to_none() -> None:
    happened = event(reason="")

    document = build_entry(happened, 0, Commitments(seal("ann", SALT)))

    assert document["reason"] is None


def test_a_subject_says_five_things_and_no_more() -> None:
    happened = event(subject={"name": "churn", "index": 4})

    with pytest.raises(InvalidRequest, match="index"):
        build_entry(happened, 0, sealed(happened))


@given(st.text())
def test_a_commitment_opens_to_its_text_only(text: str) -> None:
    kept = seal(text, SALT)

    assert opens(kept.commitment, SALT, kept.text)
    assert not opens(kept.commitment, SALT, kept.text + "x")
    assert not opens(kept.commitment, SALT[::-1], kept.text)


def test_characters_no_database_keeps_are_replaced_before_they_are_committed_to() -> None:
    assert seal("a\0b\ud800c😀", SALT).text == "a\ufffdb\ufffdc😀"


def test_a_short_salt_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="salt"):
        seal("ann", b"short")


@given(st.integers(0, 2**40), st.dictionaries(st.text(), json_values, max_size=4))
def test_bytes_name_their_own_index_and_no_other(index: int, facts: dict[str, object]) -> None:
    nested = {"index": index + 1, "reason": None, "text": f'"index":{index + 1},"reason":'}
    happened = event(facts=facts | nested, before=nested, after=nested)
    data = canonical.encode(build_entry(happened, index, sealed(happened)))

    assert carries_index(data, index)
    assert not carries_index(data, index + 1)
    assert not carries_index(data, index * 10 + 1)


def test_bytes_without_an_index_name_none() -> None:
    assert not carries_index(b"", 0)
    assert not carries_index(b'{"index":0}', 0)


@given(st.text(min_size=1).filter(_encodable))
def test_columns_are_compared_with_the_bytes(uid: str) -> None:
    happened = event(subject={"name": "churn", "uid": uid})
    data = canonical.encode(build_entry(happened, 0, sealed(happened)))
    act, at = "version.transitioned", "2026-11-21T03:04:05.000006Z"

    assert carries_columns(data, act, at, uid)
    assert not carries_columns(data, act, at, uid + "x")
    assert not carries_columns(data, act, at, "")
    assert not carries_columns(data, "version.revoked", at, uid)
    assert not carries_columns(data, act, at.replace("2026", "2025"), uid)


def test_an_entry_about_the_registry_has_no_uid() -> None:
    assert carries_columns(
        encoded(0, subject={}), "version.transitioned", "2026-11-21T03:04:05.000006Z", ""
    )


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"schema":2}', b'{"schema": 1}', b"\xff"])
def test_bytes_that_are_no_entry_are_refused(data: bytes) -> None:
    with pytest.raises(LedgerError):
        read_entry(data)


def test_erased_texts_are_none_and_their_commitments_stay() -> None:
    document = read_entry(encoded(0))

    clear = resolve(document, {document["actor"]: "ann"})

    assert clear["actor"] == "ann"
    assert clear["reason"] is None
    assert clear["commitments"]["reason"] == document["reason"]


def test_the_outgoing_event_names_its_place_in_the_ledger() -> None:
    happened = event(facts={"gate": "promote", "account": SALTED, "digest": SALTED})
    entry = build_entry(happened, 4, sealed(happened))
    private = {entry["actor"]: "ann", SALTED: "zora"}

    document = event_document(entry, private, bytes(32))

    assert document["ledger_index"] == 4
    assert document["ledger_root"] == "00" * 32
    assert (document["id"], document["actor"]) == (happened.event_id, "ann")
    assert document["reason"] == "", "it was erased"
    assert document["facts"] == {"gate": "promote", "account": "zora", "digest": SALTED}
    assert json.loads(json.dumps(document)) == document


def test_an_entry_no_tile_could_hold_is_refused() -> None:
    """c2sp.org/tlog-tiles tells the length of an entry in sixteen bits."""
    held = {"act": "trust.changed", "facts": "x" * 65_501}
    assert len(encode_entry(held)) == 65_535
    with pytest.raises(InvalidRequest, match="would have 65536 bytes"):
        encode_entry({**held, "facts": "x" * 65_502})
