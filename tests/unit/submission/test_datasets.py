"""Data sets as MLflow recorded them: digests, places without credentials, and why they are used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.errors import InvalidRequest
from mlflow_governance.evidence import predicate
from mlflow_governance.submission import statements
from mlflow_governance.submission.datasets import Dataset, of_inputs, without_credentials
from tests.unit.submission.builders import facts


@dataclass
class Tag:
    key: str
    value: str


@dataclass
class Logged:
    name: str = "churn"
    digest: str = "9c6e2d8b"
    source: str | None = '{"uri": "s3://bucket/churn.csv"}'
    profile: str | None = '{"num_rows": 4}'


@dataclass
class Input:
    dataset: Logged = field(default_factory=Logged)
    tags: list[Tag] = field(default_factory=list)


def read(*, logged: Any = None, **tags: str) -> Dataset:
    entry = Input(logged or Logged(), [Tag(f"governance.{k}", v) for k, v in tags.items()])
    (found,) = of_inputs([entry])
    return found


def test_an_input_of_a_run_is_a_data_set() -> None:
    entry = Input(tags=[Tag("mlflow.data.context", "training")])

    assert of_inputs([entry, entry]) == (
        Dataset(
            "churn",
            "mlflow:9c6e2d8b",
            source="s3://bucket/churn.csv",
            context="training",
            profile='{"num_rows": 4}',
        ),
    )


def test_tags_say_why_it_may_be_used() -> None:
    found = read(purpose="Rank.", legal_basis="consent", personal_data="personal")

    assert (found.purpose, found.legal_basis, found.personal_data) == (
        "Rank.",
        "consent",
        "personal",
    )


@pytest.mark.parametrize(
    "tags", [{"legal_basis": "because"}, {"personal_data": "yes"}, {"personal_data": "None"}]
)
def test_a_word_nobody_knows_is_refused(tags: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="is tagged") as refusal:
        read(**tags)

    assert "Known words" in refusal.value.advice


@pytest.mark.parametrize(
    ("uri", "published"),
    [
        ("https://user:token@example.org/x.csv?sig=abc#f", "https://example.org/x.csv"),
        ("s3://bucket/key?versionId=1", "s3://bucket/key"),
        ("git@example.org:r.git", "git@example.org:r.git"),
        ("ssh://git:pw@example.org:22/r", "ssh://example.org:22/r"),
        ("data/train.csv", "data/train.csv"),
        ("https://a@b@example.org/", "https://example.org/"),
        ("https://[", ""),
        ("", ""),
    ],
)
def test_no_credentials_are_published(uri: str, published: str) -> None:
    assert without_credentials(uri) == published


@given(st.text(max_size=30), st.text("abc?#/:@", max_size=30))
def test_nothing_before_an_at_sign_of_a_host_survives(secret: str, rest: str) -> None:
    found = without_credentials(f"https://user:SECRET{secret}@example.org/{rest}")

    assert "SECRET" not in found or "/" in secret or "?" in secret or "#" in secret


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('{"url": "https://u:p@example.org/a"}', "https://example.org/a"),
        ('{"path": "org/name", "revision": "x"}', "org/name"),
        ('{"tags": {"mlflow.user": "x"}}', ""),
        ('{"uri": 5, "path": "p"}', "p"),
        ("[]", ""),
        ("{", ""),
        (None, ""),
        ("[" * 100_000, ""),
    ],
)
def test_a_source_is_found_or_left_out(source: str | None, found: str) -> None:
    assert read(logged=Logged(source=source)).source == found


def test_a_statement_says_all_of_it() -> None:
    stated = Dataset(
        "churn",
        "mlflow:9c6e2d8b",
        "s3://b/k",
        "training",
        "{}",
        "Rank.",
        "consent",
        "personal",
        "2 y",
    )

    body = statements.datasets([stated, Dataset("b", "sha256:" + "a" * 64)])

    predicate.check(predicate.DATASET, body)
    assert body["datasets"][0]["legal_basis"] == "consent"
    assert body["datasets"][1] == {"name": "b", "digest": "sha256:" + "a" * 64}


def test_a_digest_no_statement_can_say_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match="cannot be stated"):
        statements.datasets([Dataset("churn", "mlflow:a b")])


def test_only_a_digest_of_the_bytes_is_a_digest_in_provenance() -> None:
    about = facts(
        datasets=(
            Dataset("logged", "mlflow:9c6e2d8b", source="s3://b/k", context="training"),
            Dataset("logged", "mlflow:9c6e2d8b", context="eval"),
            Dataset("file.csv", "sha256:" + "a" * 64),
        )
    )

    body = statements.provenance(about, "churn")

    predicate.check(predicate.SLSA_PROVENANCE, body)
    logged, again, file, commit = body["buildDefinition"]["resolvedDependencies"]
    assert "digest" not in logged
    assert logged["downloadLocation"] == "s3://b/k"
    assert logged["annotations"] == {"mlflow.digest": "9c6e2d8b", "mlflow.data.context": "training"}
    assert again["annotations"]["mlflow.data.context"] == "eval"
    assert file == {
        "name": "file.csv",
        "uri": "urn:mlflow-governance:dataset:sha256:" + "a" * 64,
        "digest": {"sha256": "a" * 64},
    }
    assert commit["uri"] == "git+https://example.org/r.git"
