from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_governance.core import resources
from mlflow_governance.errors import EvidenceMissing, VerificationError
from mlflow_governance.evidence.attestation import DATASET
from mlflow_governance.evidence.dataset import LEGAL_BASES, PERSONAL_DATA, DatasetVerifier
from tests.unit.evidence.builders import attest, case, key
from tests.unit.evidence.mutations import mutated

SHA = "sha256:" + "a" * 64
verify = DatasetVerifier().verify


def item(name: str, *datasets: Any) -> tuple[str, bytes]:
    return f"attestations/{name}.intoto.json", attest(
        DATASET, {"datasets": list(datasets)}, by=[key("pipeline")]
    )


def fact(name: str, digest: str, **said: str) -> dict[str, str | None]:
    nothing = dict.fromkeys(("purpose", "legal_basis", "personal_data", "context"))
    return {"name": name, "digest": digest, **nothing, **said}


USE = {"purpose": "rank", "legal_basis": "consent", "personal_data": "personal"}


def test_the_datasets_of_all_statements_are_facts() -> None:
    first = item("a", {"name": "train", "digest": SHA, "source": "s3://b/train"})
    second = item(
        "b", {"name": "eval", "digest": "mlflow:fd568ab7"}, {"name": "train", "digest": SHA}
    )

    assert verify(case(first, second)) == {
        "datasets": [fact("eval", "mlflow:fd568ab7"), fact("train", SHA)],
        "at": None,
    }


def test_purpose_and_legal_basis_are_facts() -> None:
    found = verify(case(item("a", {"name": "train", "digest": SHA, "context": "training", **USE})))

    assert found == {"datasets": [fact("train", SHA, context="training", **USE)], "at": None}


def test_a_statement_of_an_older_release_still_counts() -> None:
    old = {"name": "train", "digest": SHA, "uri": "s3://b", "role": "training", "license": "MIT"}

    assert verify(case(item("a", old))) == {"datasets": [fact("train", SHA)], "at": None}


def test_saying_nothing_contradicts_nothing() -> None:
    quiet, told = {"name": "t", "digest": SHA}, {"name": "t", "digest": SHA, **USE}

    found = verify(case(item("a", quiet), item("b", told)))

    assert found == {"datasets": [fact("t", SHA, **USE)], "at": None}


def test_each_context_is_an_entry() -> None:
    entries = [{"name": "t", "digest": SHA, "context": c} for c in ("training", "eval", "eval")]

    found = verify(case(item("a", *entries, {"name": "t", "digest": SHA})))

    assert [entry["context"] for entry in found["datasets"]] == ["eval", "training"]


@pytest.mark.parametrize("field", ["purpose", "legal_basis", "personal_data"])
@pytest.mark.parametrize("name", ["train", "harmless"])
def test_two_stories_of_the_same_data_are_refused_under_whatever_name(
    field: str, name: str
) -> None:
    other = {"purpose": "sell", "legal_basis": "contract", "personal_data": "none"}[field]
    first = item("a", {"name": "train", "digest": SHA, **USE})
    second = item("b", {"name": name, "digest": SHA, field: other})

    with pytest.raises(VerificationError, match=f"several values of {field}") as refusal:
        verify(case(first, second))

    assert "a.intoto.json" in refusal.value.message
    assert "b.intoto.json" in refusal.value.message


def test_what_is_said_of_a_digest_holds_under_every_name() -> None:
    found = verify(
        case(item("a", {"name": "t", "digest": SHA, **USE}, {"name": "u", "digest": SHA}))
    )

    assert {entry["personal_data"] for entry in found["datasets"]} == {"personal"}


def test_the_words_are_those_of_the_schemas() -> None:
    for file in ("predicates/dataset.schema.json", "model_card.schema.json"):
        text = (resources.folder("attestations") / file).read_text("utf-8")
        for words in (LEGAL_BASES, PERSONAL_DATA):
            assert tuple(words) in set(_enums(json.loads(text)))


def _enums(value: Any) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        if "enum" in value:
            yield tuple(word for word in value["enum"] if word is not None)
        for inner in value.values():
            yield from _enums(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _enums(inner)


@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_statement_changed_anywhere_has_facts_or_is_refused_by_type(data: st.DataObject) -> None:
    body = {"datasets": [{"name": "t", "digest": SHA, "context": "eval", **USE}] * 2}

    with suppress(VerificationError):
        verify(case(("d.intoto.json", attest(DATASET, mutated(data, body), by=[key()]))))


def test_many_datasets_are_joined_soon() -> None:
    items = [
        item(f"s{s}", *({"name": f"{s}-{n}", "digest": f"mlflow:{s}-{n}"} for n in range(1000)))
        for s in range(5)
    ]
    started = time.monotonic()

    assert len(verify(case(*items))["datasets"]) == 5000
    assert time.monotonic() - started < 15


def test_without_a_statement_no_data_is_known() -> None:
    with pytest.raises(EvidenceMissing):
        verify(case())


@pytest.mark.parametrize(
    "entry",
    [
        "train",
        {"name": "train"},
        {"name": "", "digest": SHA},
        {"name": "train", "digest": "abc"},
        {"name": "t", "digest": SHA, "personal_data": "some"},
        {"name": "t", "digest": SHA, "legal_basis": "because"},
        {"name": "t", "digest": SHA, "purpose": ["a"]},
    ],
)
def test_a_dataset_without_name_or_digest_is_refused(entry: Any) -> None:
    with pytest.raises(VerificationError, match="malformed"):
        verify(case(item("a", entry)))


def test_a_statement_that_names_none_is_refused() -> None:
    with pytest.raises(VerificationError):
        verify(case(item("a")))
