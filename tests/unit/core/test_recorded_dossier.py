"""A recorded dossier is read back to the very bytes, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.core import canonical
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.dossier import Dossier, Gate, Outcome, Status, Subject
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import InvalidRequest
from tests.unit.policy.builders import document, dossier

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAME = st.text("aä-.0 \u0301\u017f", min_size=1, max_size=8).filter(
    lambda t: t.strip() == t and t not in (".", "..")
)
NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53) + 1, 2**53 - 1)
JSON: Any = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)
DIGEST = st.none() | st.just("sha256:" + "a" * 64)
ZONES = st.integers(-720, 720).map(lambda m: timezone(timedelta(minutes=m)))
INSTANT = st.datetimes(
    datetime(1971, 1, 1), datetime(9990, 1, 1), timezones=ZONES | st.just(UTC)
)  # fmt: skip
DOSSIERS = st.builds(
    Dossier,
    gate=st.sampled_from(Gate),
    actor=st.builds(Actor, TEXT, st.lists(TEXT, max_size=3).map(tuple), st.booleans()),
    action=OBJECT,
    subject=st.builds(
        Subject,
        ref=st.builds(VersionRef, NAME, st.integers(1, 2**31 - 1), NAME),
        uid=TEXT,
        stage=st.sampled_from(Stage),
        digest=DIGEST,
        submitter=TEXT,
        blocked=st.booleans(),
        policy_digest=DIGEST,
        quarantined_from=st.none() | st.sampled_from(Stage),
    ),
    evidence=st.dictionaries(
        TEXT, st.builds(Outcome, st.sampled_from(Status), OBJECT, TEXT), max_size=3
    ),
    approvals=st.lists(OBJECT, max_size=2).map(tuple),
    runtime=OBJECT,
    now=INSTANT,
    attached=st.lists(st.dictionaries(TEXT, TEXT, max_size=2), max_size=2).map(tuple),
    salt=st.just("") | st.text("0123456789abcdef", min_size=32, max_size=32),
)


@given(DOSSIERS)
def test_a_recorded_dossier_is_read_back_to_the_very_bytes(made: Dossier) -> None:
    found = Dossier.from_encoded(made.encoded)

    assert found.encoded == made.encoded
    assert found.digest == made.digest
    assert Dossier.from_document(made.to_document()).encoded == made.encoded
    assert found.gate is made.gate
    assert found.now == made.now


@pytest.mark.parametrize(
    "number", [1e17, -1e20, 2.0**53, 1e300, 123456789012345680000.0, 0.1, -0.0]
)
def test_a_number_is_read_as_the_one_that_was_written(number: float) -> None:
    made = dossier(Gate.ACCEPT, action={"x": number})

    assert Dossier.from_encoded(made.encoded).encoded == made.encoded


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"gate": "deploy"},
        {"gate": None},
        {"more": 1},
        {"now": "2026-11-21T03:04:05Z"},
        {"now": "yesterday"},
        {"actor": {"id": "Ann ", "roles": [], "admin": False, "authenticated": True}},
        {"actor": {"id": "ann", "roles": ["b", "a"], "admin": False, "authenticated": True}},
        {"actor": {"id": 3, "roles": [], "admin": False, "authenticated": True}},
        {"evidence": []},
        {"evidence": {"signature": {"status": "great", "facts": {}, "problem": ""}}},
        {"evidence": {"signature": {"status": "passed", "facts": {}, "problem": "", "x": 1}}},
        {"attached": None},
        {"approvals": 7},
        {"runtime": []},
        {"action": "x"},
        {"subject": {}},
        {"salt": ""},
    ],
)
def test_what_is_not_a_dossier_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="not a dossier"):
        Dossier.from_document(document(Gate.PROMOTE) | changes)


@pytest.mark.parametrize("member", list(document(Gate.PROMOTE)))
def test_a_dossier_lacks_nothing(member: str) -> None:
    spoiled = document(Gate.PROMOTE)
    del spoiled[member]

    with pytest.raises(InvalidRequest, match="not a dossier"):
        Dossier.from_document(spoiled)


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"gate":NaN}', b"9" * 5000],
    ids=range(8),
)
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        Dossier.from_encoded(data)


@pytest.mark.parametrize("text", [b"3.10", b"31e-1", b"3.1e0", b"-0", b"-0.0", b"310.0e-2"])
def test_a_number_has_one_form(text: bytes) -> None:
    made = dossier(Gate.ACCEPT)
    assert made.encoded.count(b'"cvss":3.1,') == 1
    spoiled = made.encoded.replace(b'"cvss":3.1,', b'"cvss":%s,' % text)

    with pytest.raises(InvalidRequest, match="not a dossier"):
        Dossier.from_encoded(spoiled)


def test_what_is_read_back_is_evaluated_as_it_stands() -> None:
    for made in (dossier(Gate.ACCEPT), dossier(Gate.ACCEPT, action={"ä": "\u2028", "x": 1e-7})):
        found = Dossier.from_encoded(made.encoded)

        assert found.encoded == canonical.encode(found.to_document()) == made.encoded


def test_the_same_dossier_in_another_form_is_refused() -> None:
    made = dossier(Gate.ALIAS)

    with pytest.raises(InvalidRequest, match="not a dossier"):
        Dossier.from_encoded(b" " + made.encoded)
    twice = made.encoded.replace(b'{"action":', b'{"action":{},"action":', 1)
    with pytest.raises(InvalidRequest, match="not a dossier"):
        Dossier.from_encoded(twice)
    assert canonical.encode(canonical.decode(made.encoded)) == made.encoded
