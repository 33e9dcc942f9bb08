"""The bill of materials: valid, complete, and made at once."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.message import Message
from importlib import metadata
from typing import Any

import pytest

from mlflow_governance.evidence.sbom import check_document
from mlflow_governance.submission import bom
from mlflow_governance.submission.bom import dataset_ref, ml_bom
from mlflow_governance.submission.card import AuthorCard, model_card
from mlflow_governance.submission.facts import Dataset
from tests.unit.submission.builders import described, facts

AT = datetime(2026, 11, 21, tzinfo=UTC)


def made(**changes: Any) -> dict[str, Any]:
    about = facts(**changes)
    refs = [dataset_ref(index) for index in range(len(about.datasets))]
    author = AuthorCard(purpose=("x",), risks=("y",))
    document = ml_bom(described(card=model_card(author, about, refs)), about, AT)
    check_document(document)
    return document


def libraries(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {c["name"]: c for c in document["components"] if c["type"] == "library"}


def test_a_document_is_valid_and_names_the_model_by_digest() -> None:
    document = made()

    described_model = document["metadata"]["component"]
    properties = {entry["name"]: entry["value"] for entry in described_model["properties"]}
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert described_model["type"] == "machine-learning-model"
    assert described().digest in properties.values()
    assert document["serialNumber"] != made()["serialNumber"]


def test_a_pinned_version_stands_as_it_is_pinned_and_brings_no_foreign_licence() -> None:
    library = libraries(made())["scikit-learn"]

    assert library["purl"] == "pkg:pypi/scikit-learn@1.0"
    assert "licenses" not in library, "the licence of the installed version is another's"


def test_an_installed_version_brings_its_licence() -> None:
    version = metadata.version("scikit-learn")

    library = libraries(made(requirements=(f"scikit-learn=={version}",)))["scikit-learn"]

    assert library["licenses"]


def test_everything_pulled_in_is_listed_and_connected() -> None:
    document = made(requirements=("scikit-learn",))
    found = libraries(document)
    edges = {entry["ref"]: entry["dependsOn"] for entry in document["dependencies"]}

    assert {"numpy", "scipy", "joblib", "threadpoolctl"} <= set(found)
    sklearn = found["scikit-learn"]["bom-ref"]
    assert edges["model"] == [sklearn]
    assert found["numpy"]["bom-ref"] in edges[sklearn]
    reached, pending = set(), ["model"]
    while pending:
        ref = pending.pop()
        if ref not in reached:
            reached.add(ref)
            pending += edges.get(ref, [])
    assert {component["bom-ref"] for component in found.values()} <= reached


def test_extras_and_markers_of_other_platforms_are_left_out() -> None:
    found = libraries(made(requirements=("requests",)))

    assert "urllib3" in found
    assert "pysocks" not in found  # requests[socks]
    assert "win-inet-pton" not in found


@pytest.mark.parametrize(
    "line",
    ["", "not a requirement !!", "git+https://example.org/r.git", "./local.whl", "-e .", "=="],
)
def test_a_line_that_names_no_package_is_left_out(line: str) -> None:
    assert libraries(made(requirements=(line,))) == {}


def test_a_package_nobody_installed_is_listed_with_what_is_known() -> None:
    library = libraries(made(requirements=("no-such-package-anywhere>=2",)))

    assert library["no-such-package-anywhere"]["purl"] == "pkg:pypi/no-such-package-anywhere"
    assert "version" not in library["no-such-package-anywhere"]


def test_spellings_of_one_package_are_one_component() -> None:
    document = made(requirements=("Scikit_Learn==1.0", "scikit.learn==1.0", "scikit-learn"))

    assert [name for name in libraries(document) if "scikit" in name] == ["scikit-learn"]


def test_data_sets_are_components_the_card_refers_to() -> None:
    document = made(datasets=(Dataset("a", "mlflow:1"), Dataset("b", "sha256:2")))

    data = [c for c in document["components"] if c["type"] == "data"]
    card = document["metadata"]["component"]["modelCard"]
    assert [entry["bom-ref"] for entry in data] == ["dataset-0", "dataset-1"]
    assert card["modelParameters"]["datasets"] == [{"ref": "dataset-0"}, {"ref": "dataset-1"}]


def test_a_model_without_requirements_or_data_is_valid_too() -> None:
    document = made(requirements=(), datasets=(), metrics={})

    assert document["components"] == []
    assert document["dependencies"] == [{"ref": "model", "dependsOn": []}]


def test_a_document_is_made_within_a_second() -> None:
    started = time.perf_counter()

    made(requirements=("scikit-learn", "pandas", "mlflow", "requests"))

    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("headers", "licences"),
    [
        ([("License-Expression", "MIT"), ("License", "x")], [{"expression": "MIT"}]),
        ([("License", "BSD 3-Clause")], [{"license": {"name": "BSD 3-Clause"}}]),
        ([("License", "a whole\nlicence text")], []),
        ([("License", "x" * 5000)], []),
        (
            [("Classifier", "License :: OSI Approved :: MIT License"), ("Classifier", "Other")],
            [{"license": {"name": "MIT License"}}],
        ),
        ([], []),
    ],
)
def test_a_licence_is_found_where_packages_have_put_it_over_the_years(
    headers: list[tuple[str, str]], licences: list[Any]
) -> None:
    about = Message()
    for name, value in headers:
        about[name] = value

    assert bom._licences(about) == licences
