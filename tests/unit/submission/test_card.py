"""The model card: what the author says, once for machines and once for people."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mlflow_governance.errors import InvalidRequest
from mlflow_governance.submission.card import AuthorCard, markdown, model_card, read_card
from tests.unit.submission.builders import CARD, DIGEST, facts, write


def card(tmp_path: Path, text: str | bytes = CARD) -> AuthorCard:
    return read_card(write(tmp_path, "card.yaml", text))


def test_a_card_is_read_with_one_text_or_many(tmp_path: Path) -> None:
    read = card(tmp_path)

    assert read.purpose == ("Flag tumours that look malignant.",)
    assert len(read.risks) == len(read.safeguards) == 2
    assert (read.owner, read.risk_tier) == ("alice", "high")


def test_no_card_is_an_empty_one_and_the_gate_will_say_so() -> None:
    assert read_card(None) == AuthorCard()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not usable"),
        ("[]", "not usable"),
        ("just text", "not usable"),
        ("purpose: x\nowners: y", "not usable"),
        ("purpose: [", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        ("? [a, b]\n: x", "cannot be read"),
        ("!!python/object/apply:os.system ['true']", "cannot be read"),
        ("purpose: " + "[" * 5000, "cannot be read"),
        ("purpose: " + "x" * 300_000, "not usable"),
        ("risk_tier: extreme", "risk tier"),
        ("risk_tier: [low]", "risk tier"),
        ("risk_tier:", "risk tier"),
        ("purpose: [[a]]", "nests"),
        ("owner: {a: b}", "nests"),
    ],
)
def test_an_unusable_card_is_refused_with_what_it_should_be(
    tmp_path: Path, text: str | bytes, says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        card(tmp_path, text)


def test_a_card_that_names_itself_a_billion_times_is_refused_at_once(tmp_path: Path) -> None:
    bomb = "purpose:\n" + "\n".join(
        f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]" for n in range(12)
    )
    started = time.monotonic()

    with pytest.raises(InvalidRequest):
        card(tmp_path, bomb)

    assert time.monotonic() - started < 1


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read_card(tmp_path / "none.yaml")
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read_card(tmp_path)


def test_risks_meet_their_safeguards(tmp_path: Path) -> None:
    considerations = model_card(card(tmp_path), facts(), ["dataset-0"])["considerations"]

    assert considerations["ethicalConsiderations"] == [
        {
            "name": "A missed tumour delays treatment.",
            "mitigationStrategy": "A pathologist reads every result.",
        },
        {"name": "Staff may stop looking.", "mitigationStrategy": "Training twice a year."},
    ]


@pytest.mark.parametrize(
    ("safeguards", "answers"),
    [
        ((), ["", ""]),
        (("one",), ["one", "one"]),
        (("one", "two"), ["one", "two"]),
        (("one", "two", "three"), ["one", "two"]),
    ],
)
def test_one_safeguard_answers_every_risk_and_a_missing_one_is_seen(
    safeguards: tuple[str, ...], answers: list[str]
) -> None:
    author = AuthorCard(risks=("a", "b"), safeguards=safeguards)

    found = model_card(author, facts(), [])["considerations"]["ethicalConsiderations"]

    assert [entry["mitigationStrategy"] for entry in found] == answers


def test_what_the_author_left_out_is_not_in_the_document_and_is_named_in_the_text() -> None:
    document = model_card(AuthorCard(), facts(metrics={}), [])

    assert document["considerations"] == {}
    assert markdown("churn", DIGEST, AuthorCard(), facts(metrics={})).count("_not stated_") == 5


def test_metrics_and_data_come_from_mlflow(tmp_path: Path) -> None:
    document = model_card(card(tmp_path), facts(), ["dataset-0"])
    text = markdown("churn", DIGEST, card(tmp_path), facts())

    metrics = document["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics == [
        {"type": "accuracy", "value": "0.97"},
        {"type": "auc", "value": "0.912346"},
    ]
    assert "auc: 0.912346" in text
    assert "churn (mlflow:abcd1234)" in text
    assert DIGEST in text


def test_an_author_brings_no_html_along() -> None:
    author = AuthorCard(purpose=("<script>alert(1)</script>",), owner="<img src=x>")

    text = markdown("<b>churn</b>", DIGEST, author, facts())

    assert "<script" not in text
    assert "<img" not in text
    assert "<b>" not in text
