"""A person is found in every spelling, as a word of its own, and replaced there."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.core.mentions import mentions
from mlflow_governance.core.person import PSEUDONYM, Person, new_pseudonym
from mlflow_governance.errors import InvalidRequest

ANN = Person.known_as("ann")
RENEE = Person.known_as("Renée", ["renée.d@example.com", "Renée Dupont"])
YAMADA = Person.known_as("山田")
OTHER = "erased-0f0f0f0f"


@pytest.mark.parametrize(
    ("person", "text", "without"),
    [
        (ANN, "ann", "X"),
        (ANN, "Ann approved; ANN wrote it.", "X approved; X wrote it."),
        (ANN, "\uff21nn's model", "X's model"),
        (ANN, "(ann)", "(X)"),
        (ANN, "/home/ann/x", "/home/X/x"),
        (ANN, "os:ann", "os:X"),
        (ANN, "ask ann. Or ann, bob", "ask X. Or X, bob"),
        (ANN, "channel, joann, annex, ann_lee, ann2", "channel, joann, annex, ann_lee, ann2"),
        (ANN, "ann@example.com ann-lee mary.ann", "ann@example.com ann-lee mary.ann"),
        (RENEE, "Rene\u0301e", "X"),
        (RENEE, "RENÉE.D@EXAMPLE.COM", "X"),
        (RENEE, "by renée dupont", "by X"),
        (RENEE, "\u00bfrenée?", "\u00bfX?"),
        (Person.known_as("straße"), "STRASSE 1", "X 1"),
        (ANN, "", ""),
        (ANN, "by%20ann", "by%20X"),
        (ANN, "承認はannです", "承認はXです"),
        (YAMADA, "承認は山田です", "承認はXです"),
        (YAMADA, "山田2 山田_a", "山田2 山田_a"),
        (Person.known_as("김철수"), "김철수가 승인", "X가 승인"),
        (Person.known_as("สมชาย"), "อนุมัติโดยสมชายแล้ว", "อนุมัติโดยXแล้ว"),
    ],
)
def test_a_name_is_replaced_where_it_stands_alone(person: Person, text: str, without: str) -> None:
    assert person.replaced(text, "X") == without
    assert person.in_(text) is (text != without)


@pytest.mark.parametrize(
    ("text", "perhaps"),
    [("by ann.Thanks", True), ("ann@example.com", True), (r"by\nAnn", True), ("ann_lee", True),
     (r"\u0020ann", True), ("channel", False), ("anna", False), ("", False)],
    ids=range(8),
)  # fmt: skip
def test_what_may_be_a_name_is_found_for_somebody_to_look_at(text: str, perhaps: bool) -> None:
    assert not ANN.in_(text)
    assert replace(ANN, loose=True).in_(text) is perhaps


def test_a_long_name_may_stand_in_any_word() -> None:
    assert replace(Person.known_as("alice"), loose=True).in_("xAlicex")


@pytest.mark.parametrize("escape", [r"\n", r"\t", r"\r", r"\b", r"\f", r"\"", r"\u000a", r"\/"])
def test_a_name_behind_an_escape_is_found(escape: str) -> None:
    inner = f'{{"reason":"by{escape}Ann"}}'

    assert [m.path for m in mentions(ANN, inner)] == ["reason"]
    assert [m.path for m in mentions(ANN, json.dumps([inner]).encode())] == ["0.reason"]
    assert [m.path for m in mentions(ANN, '{"reason":"\\u0041nn"}')] == ["reason"]


def test_a_whole_value_is_compared_canonically() -> None:
    assert all(map(ANN.is_, ("ann", " ANN ", "\uff41nn")))
    assert not any(map(ANN.is_, ("", "anna", "ann@example.com", "os:ann")))


@pytest.mark.parametrize("name", ["", " ", "a", "anonymous", "system:server", OTHER, "a\0b"])
def test_who_is_no_person_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        Person.known_as("ann", [name])


def test_a_pseudonym_is_new_each_time_and_nobodys_name() -> None:
    made = {new_pseudonym() for _ in range(100)}

    assert len(made) == 100
    assert all(PSEUDONYM.fullmatch(one) for one in made)


@given(st.text(max_size=30), st.text(max_size=30))
def test_nothing_around_a_name_is_touched_and_nothing_of_it_is_left(left: str, right: str) -> None:
    text = f"{left} zoë-7 {right}"
    person = Person.known_as("ZOË-7")

    without = person.replaced(text, OTHER)

    assert not person.in_(without)
    assert len(without.split(OTHER)) >= 2
    if not person.in_(left) and not person.in_(right):
        assert without == f"{left} {OTHER} {right}"


def test_a_name_is_found_wherever_a_database_writes_it() -> None:
    dossier = {"actor": {"id": "ren\u00e9e"}, "approvals": [{"person": "sam"}, {"person": "RENÉE"}]}
    escaped = json.dumps(dossier)
    envelope = {"payload": base64.b64encode(escaped.encode()).decode(), "signatures": []}

    def places(value: object) -> list[str]:
        return [mention.path for mention in mentions(RENEE, value)]

    assert "\\u00e9" in escaped
    assert places(escaped) == ["actor.id", "approvals.1.person"]
    assert places(dossier) == places(escaped.encode()) == places(escaped)
    assert places(json.dumps(envelope)) == [
        "payload.(base64).actor.id",
        "payload.(base64).approvals.1.person",
    ]
    assert places(gzip.compress(b"waiver by ren\xc3\xa9e")) == ["(gzip)"]
    assert places('{"renée": 1}') == ["(name of a member)"]
    assert places("{broken, renée") == [""]
    assert places(7) == places(None) == places("nobody") == places(b"\x1f\x8bbroken") == []
