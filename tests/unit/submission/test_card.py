"""The author's card: read strictly, and told to machines."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_governance.core import canonical, resources
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.evidence.model_card import ANNEX_IV, headings, missing_annex_iv
from mlflow_governance.evidence.sbom import check_document
from mlflow_governance.submission.bom import dataset_ref, ml_bom
from mlflow_governance.submission.card import (
    AuthorCard,
    model_card,
    parse_card,
    read_card,
    with_author,
)
from mlflow_governance.submission.card.author import Metric
from mlflow_governance.submission.card.build import measured
from mlflow_governance.submission.card.read import SCHEMA, from_document
from mlflow_governance.submission.card.write import starting_card, to_document, to_yaml
from mlflow_governance.submission.facts import Dataset, Facts, Measurement
from tests.unit.evidence.mutations import mutated
from tests.unit.submission.builders import CARD, FULL_CARD, described, facts, write

FULL = parse_card(FULL_CARD.encode())
AT = datetime(2026, 11, 21, tzinfo=UTC)


def card(tmp_path: Path, text: str | bytes = CARD) -> AuthorCard:
    return read_card(write(tmp_path, "card.yaml", text))


def document(author: AuthorCard, about: Facts | None = None) -> dict[str, Any]:
    """The card as CycloneDX, in a document that holds to the strict schema."""
    known = about or facts()
    refs = [dataset_ref(index) for index in range(len(known.datasets))]
    made = model_card(author, known, refs)
    whole = ml_bom(described(card=made), known, AT)
    check_document(whole)
    canonical.encode(whole)
    return made


def said(made: dict[str, Any], heading: str) -> list[str]:
    name = f"mlflow-governance:card:{heading}"
    return [entry["value"] for entry in made.get("properties", []) if entry["name"] == name]


# --- reading -------------------------------------------------------------------------------


def test_a_card_is_read_with_one_text_or_many(tmp_path: Path) -> None:
    read = card(tmp_path)

    assert read.purpose == ("Flag tumours that look malignant.",)
    assert len(read.risks) == len(read.safeguards) == 2
    assert (read.owner, read.risk_tier) == ("alice", "high")


def test_no_card_is_an_empty_one_and_the_gate_will_say_so() -> None:
    assert read_card(None) == AuthorCard()


def test_a_card_that_says_everything_is_read() -> None:
    empty = AuthorCard()

    assert all(getattr(FULL, field.name) != getattr(empty, field.name) for field in fields(FULL))
    assert FULL.licence == "Apache-2.0 OR MIT"
    assert FULL.language == ("no", "en")
    assert FULL.owner == "alice, bob"


def test_the_fields_of_the_schema_are_those_of_the_card() -> None:
    schema = json.loads((resources.folder("attestations") / SCHEMA).read_text("utf-8"))

    assert set(schema["properties"]) == {field.name for field in fields(AuthorCard)} - {
        "severities"
    }
    assert list(schema["properties"]["annex_iv"]["properties"]) == list(ANNEX_IV)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "null is not of type"),
        ("[]", "is not of type"),
        ("just text", "is not of type"),
        ("purpose: x\nowners: y", "'owners' is unknown, did you mean 'owner'"),
        ("license: MIT", "did you mean 'licence'"),
        ("risks: [{risk: a, safegard: b}]", "risks.0: 'safegard' is unknown, did you mean 'safeg"),
        ("risks: [{safeguard: b}]", "required"),
        ("data: [{name: a, legal_base: x}]", "did you mean 'legal_basis'"),
        ("data: [{name: a, legal_basis: because}]", r"data\.0\.legal_basis"),
        ("data: [{name: a}, {name: a}]", "data twice: 'a'"),
        ("data: [{name: ' '}]", "data twice"),
        ("metrics: [{name: a, value: '1'}]", "number"),
        ("metrics: [{name: a, target: high}]", r"target: 'high' is not a bound, such as '>= 0\.9'"),
        ("metrics: [{name: a}, {name: a, dataset: ''}]", "metrics twice"),
        ("environmental: [{energy_kwh: -1}]", "energy_kwh"),
        ("environmental: [{activity: thinking}]", "activity"),
        ("annex_iv: {risk: x}", "'risk' is unknown"),
        ("base_models: bert", "base_models: 'bert' is not a base model: hf:organisation/name@rev"),
        ("base_models: [{}]", "base_models"),
        ("base_models: hf:a/b/c", "base_models"),
        ("licence: my own", "no SPDX licence expression"),
        ("licence: MIT AND", "no SPDX licence expression"),
        ("licence: GPL", "no SPDX licence expression"),
        ("licence: '((('", "no SPDX licence expression"),
        ("data: [{name: a, licence: nonsense}]", "data a.*no SPDX"),
        ("risks: [{risk: a}]\nsafeguards: b", "safeguards twice"),
        ("purpose: a\npurpose: b", "same key twice"),
        ("purpose: &a x\nlimits: *a", "aliases"),
        ("purpose: [", "line 1"),
        (b"\xff\xfe\x00", "not usable YAML"),
        ("? [a, b]\n: x", "not usable YAML"),
        ("!!python/object/apply:os.system ['true']", "tag"),
        ("purpose: " + "[" * 5000, "nests"),
        ("purpose: " + "x" * 300_000, "at most"),
        ("purpose: " + "x" * 5000, "purpose"),
        ("risk_tier: extreme", "risk_tier"),
        ("risk_tier: [low]", "risk_tier"),
        ("purpose: [[a]]", r"purpose\.0"),
        ("owner: {a: b}", "owner"),
    ],
)
def test_an_unusable_card_is_refused_with_what_it_should_be(
    tmp_path: Path, text: str | bytes, says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        card(tmp_path, text)


@pytest.mark.parametrize(
    "word", ["MIT", "mit", "LicenseRef-Ours", "(MIT AND LicenseRef-a) OR Zlib"]
)
def test_a_licence_is_an_spdx_expression(word: str) -> None:
    assert parse_card(f"licence: {word}".encode()).licence.lower() == word.lower()


def test_a_card_that_names_itself_a_billion_times_is_refused_at_once(tmp_path: Path) -> None:
    bomb = "purpose:\n" + "\n".join(
        f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]" for n in range(12)
    )
    started = time.monotonic()

    with pytest.raises(InvalidRequest):
        card(tmp_path, bomb)

    assert time.monotonic() - started < 10


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read_card(tmp_path / "none.yaml")
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read_card(tmp_path)


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    huge = write(tmp_path, "huge.yaml", b"")
    with huge.open("wb") as file:
        file.truncate(10 * 1024**3)

    with pytest.raises(InvalidRequest, match="at most"):
        read_card(huge)


def test_the_card_to_begin_with_is_empty() -> None:
    assert parse_card(starting_card().encode()) == AuthorCard()


def test_the_examples_in_the_card_to_begin_with_are_usable() -> None:
    lines = starting_card().splitlines()
    example = "\n".join(line[1:] if line.startswith("#  ") else line for line in lines)

    read = parse_card(example.encode())

    assert read.data[0].personal_data == "pseudonymised"
    assert set(read.annex_iv) == set(ANNEX_IV)


@pytest.mark.parametrize("text", [CARD, FULL_CARD, "{}", "safeguards: x", "risks: [a, b]"])
def test_a_card_that_is_written_is_read_as_the_same(text: str) -> None:
    author = parse_card(text.encode())

    assert parse_card(to_yaml(author).encode()) == author


@given(data=st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_card_changed_anywhere_is_told_to_machines_or_refused_by_type(
    data: st.DataObject,
) -> None:
    with suppress(InvalidRequest):
        author = from_document(mutated(data, to_document(FULL)))
        document(author, facts(requirements=()))
        assert from_document(to_document(author)) == author


# --- telling machines ----------------------------------------------------------------------


def test_risks_meet_their_safeguards(tmp_path: Path) -> None:
    considerations = document(card(tmp_path))["considerations"]

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

    found = document(author)["considerations"]["ethicalConsiderations"]

    assert [entry["mitigationStrategy"] for entry in found] == answers


def test_the_safeguard_of_one_risk_does_not_answer_another() -> None:
    author = parse_card(b"risks: [{risk: a, safeguard: x}, b, {risk: c}]")

    assert [risk.safeguard for risk in author.answered] == ["x", "", ""]
    assert not headings(document(author))["risks"]


def test_what_the_author_left_out_is_not_in_the_document() -> None:
    assert document(AuthorCard(), facts(metrics={}))["considerations"] == {}


def test_every_heading_has_its_place() -> None:
    made = document(FULL)

    assert {name for name, full in headings(made).items() if not full} == {"risks"}
    assert said(made, "human_oversight") == ["A person decides."]
    assert said(made, "monitoring") == ["Drift, weekly."]
    assert said(made, "licence") == ["Apache-2.0 OR MIT"]
    assert said(made, "base_model") == [
        "pkg:huggingface/org/base@abc123",
        "pkg:pypi/some-model@1.0",
    ]
    assert said(made, "annex_iv:general_description") == ["One.", "Two."]
    assert said(made, "metric_target:auc") == [">= 0.9"]
    assert said(made, "risk_severity") == ["high: The old are called less."]
    assert len(missing_annex_iv(made)) == len(ANNEX_IV) - 2


def test_energy_is_counted_as_cyclonedx_counts_it() -> None:
    found = document(FULL)["considerations"]["environmentalConsiderations"]

    (training,) = found["energyConsumptions"]
    assert training["activityEnergyCost"] == {"value": 1.5, "unit": "kWh"}
    assert training["co2CostEquivalent"] == {"value": 0.0004, "unit": "tCO2eq"}
    assert training["energyProviders"][0]["energySource"] == "wind"
    assert {"name": "mlflow-governance:card:environmental:co2", "value": "0.1 kg CO2eq"} in found[
        "properties"
    ]


def test_what_mlflow_knows_is_in_the_card() -> None:
    made = document(
        AuthorCard(),
        facts(
            inputs=("double x",),
            outputs=("long",),
            architecture="sklearn 1.9",
            description="A first try.",
            author="carol",
        ),
    )

    assert made["modelParameters"] == {
        "modelArchitecture": "sklearn 1.9",
        "inputs": [{"format": "double x"}],
        "outputs": [{"format": "long"}],
        "datasets": [{"ref": "dataset-0"}],
    }
    assert made["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "accuracy", "value": "0.97"},
        {"type": "auc", "value": "0.912346"},
    ]
    assert said(made, "parameter:C") == ["1"]
    assert said(made, "description") == ["A first try."]
    assert said(made, "author") == ["carol"]


def test_what_was_measured_goes_before_what_is_said() -> None:
    author = AuthorCard(
        metrics=(
            Metric("auc", ">= 0.9", 0.99),
            Metric("auc", "", 0.7, "elsewhere"),
            Metric("recall", "", 0.5),
        )
    )
    about = facts(
        metrics={"auc": 0.8, "loss": float("nan")},
        measurements=(Measurement("auc", "held-out", 0.8),),
    )

    assert [(m.name, m.dataset, m.value, m.target) for m in measured(author, about)][:3] == [
        ("auc", "elsewhere", 0.7, ">= 0.9"),
        ("auc", "held-out", 0.8, ">= 0.9"),
        ("loss", "", pytest.approx(float("nan"), nan_ok=True), ""),
    ]
    found = document(author, about)["quantitativeAnalysis"]["performanceMetrics"]
    assert {"type": "auc", "value": "0.8", "slice": "held-out"} in found


def test_the_card_goes_before_the_tags_of_the_run() -> None:
    tagged = Dataset("churn", "mlflow:1", purpose="old", legal_basis="consent", context="training")
    other = Dataset("other", "mlflow:2", personal_data="none")

    found = with_author(facts(datasets=(tagged, other)), FULL).datasets

    assert found[0] == replace(
        tagged,
        purpose="Rank customers.",
        legal_basis="legitimate_interests",
        personal_data="pseudonymised",
        retention="24 months",
        source="https://huggingface.co/datasets/org/churn",
    )
    assert found[1] == other


def test_many_parameters_and_columns_are_cut() -> None:
    made = document(AuthorCard(), facts(parameters={f"p{n}": "x" * 6000 for n in range(2000)}))

    assert len(made["properties"]) == 500
    assert max(len(entry["value"]) for entry in made["properties"]) == 4096
