"""The bill of materials: valid, complete, and made at once."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from importlib import metadata
from typing import Any

import pytest

from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence import cyclonedx, inventory, requirements
from mlflow_governance.evidence.inventory import USE
from mlflow_governance.evidence.sbom import check_document
from mlflow_governance.submission.bom import dataset_ref, ml_bom
from mlflow_governance.submission.card import AuthorCard, model_card, parse_card
from mlflow_governance.submission.environment import BaseModel, CondaPackage, Environment
from mlflow_governance.submission.facts import Dataset
from mlflow_governance.submission.libraries import FILES, _archive, _files_digest
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

    assert time.perf_counter() - started < 10


def test_the_same_environment_gives_the_same_document() -> None:
    assert made() == made()
    later = ml_bom(described(), facts(), AT + timedelta(seconds=1))
    assert later["serialNumber"] != made()["serialNumber"]
    assert later["components"] == made()["components"]


def test_a_pinned_archive_hash_is_the_components_hash() -> None:
    (one, other) = ("a" * 64, "b" * 64)
    line = f"leftpad==1.0 --hash=sha256:{one}"

    pinned = libraries(made(requirements=(line,)))["leftpad"]
    several = libraries(made(requirements=(f"{line} --hash=sha256:{other}",)))["leftpad"]

    assert pinned["hashes"] == [{"alg": "SHA-256", "content": one}]
    assert "hashes" not in several, "it is one of them, and which one is not known"
    assert [entry["value"] for entry in several["properties"]] == [one, other]


def test_installed_files_have_a_digest_that_says_what_it_is_over() -> None:
    version = metadata.version("scikit-learn")

    properties = libraries(made(requirements=(f"scikit-learn=={version}",)))["scikit-learn"][
        "properties"
    ]

    assert [entry["name"] for entry in properties] == [FILES]


@pytest.mark.parametrize(
    "added",
    ["x.dist-info/INSTALLER,sha256=i,4\n", "a/__pycache__/a.pyc,sha256=p,4\n", "a.pyc,,\n",
     "../../../bin/x,sha256=s,200\n", "x.dist-info/RECORD,,\n", "x.dist-info/REQUESTED,,0\n"],
)  # fmt: skip
def test_the_digest_of_files_is_the_same_wherever_the_wheel_is_installed(added: str) -> None:
    wheel = 'a.py,sha256=x,10\n"b,c.py",sha256=y,11\n'

    assert _files_digest(added + wheel) == _files_digest(wheel) != _files_digest("a.py,sha256=z,9")
    assert _files_digest("") == ""


@pytest.mark.parametrize(
    ("recorded", "found"),
    [
        ('{"archive_info": {"hashes": {"sha256": "' + "A" * 64 + '"}}}', "a" * 64),
        ('{"archive_info": {"hashes": {"sha256": "zz"}}}', ""),
        ('{"archive_info": []}', ""),
        ('{"dir_info": {}}', ""),
        ("[]", ""),
        ("{", ""),
        ("", ""),
    ],
)
def test_the_archive_an_installer_recorded_is_believed_when_it_is_a_digest(
    recorded: str, found: str
) -> None:
    assert _archive(recorded) == found


def test_extras_that_are_asked_for_are_pulled_in() -> None:
    plain = libraries(made(requirements=("jsonschema",)))
    more = libraries(made(requirements=("jsonschema[format]",)))

    assert "fqdn" not in plain
    assert "fqdn" in more


def test_the_interpreter_mlflow_and_what_builds_the_environment_are_listed() -> None:
    environment = Environment(
        requirements=("numpy==1.0",), build=("wheel==0.1",), python="3.11.7", mlflow="3.1.4",
        conda=(CondaPackage("cudatoolkit", "11.8", "nvidia"),),
    )  # fmt: skip

    document = ml_bom(described(), facts(), AT, environment)

    check_document(document)
    found = {component["name"]: component for component in document["components"]}
    assert found["python"]["purl"] == "pkg:generic/python@3.11.7"
    assert found["mlflow"]["purl"] == "pkg:pypi/mlflow@3.1.4"
    assert found["wheel"]["scope"] == "excluded"
    assert found["cudatoolkit"]["purl"] == "pkg:conda/cudatoolkit@11.8?channel=nvidia"
    (depends,) = (e["dependsOn"] for e in document["dependencies"] if e["ref"] == "model")
    assert depends == sorted(
        found[name]["bom-ref"] for name in ("numpy", "mlflow", "python", "cudatoolkit")
    )


def test_an_mlflow_that_is_pinned_is_not_listed_twice() -> None:
    environment = Environment(requirements=("mlflow-skinny==3.0.0",), mlflow="3.0.0")

    names = [c["name"] for c in ml_bom(described(), facts(), AT, environment)["components"]]

    assert "mlflow" not in names


@pytest.mark.parametrize(
    ("reference", "purl"),
    [
        ("google/bert@" + "a" * 40, "pkg:huggingface/google/bert@" + "a" * 40),
        ("gpt2", "pkg:huggingface/gpt2"),
        ("models:/churn/3", "pkg:mlflow/churn@3"),
        ("pkg:huggingface/a/b@c", "pkg:huggingface/a/b@c"),
    ],
)
def test_base_models_are_components_by_purl(reference: str, purl: str) -> None:
    model = described(base_models=(BaseModel(reference, "apache-2.0", "inference"),))

    document = ml_bom(model, facts(requirements=()), AT)

    check_document(document)
    base = document["components"][0]
    assert (base["type"], base["purl"]) == ("machine-learning-model", purl)
    assert base["licenses"] == [{"expression": "Apache-2.0"}]
    assert base["properties"] == [{"name": USE, "value": "inference"}]
    assert document["dependencies"][0]["dependsOn"] == [purl]


def test_what_the_author_says_of_a_base_model_stands_above_what_was_recorded() -> None:
    environment = Environment(base_models=(BaseModel("google/bert@abc", "other"),))
    model = described(base_models=(BaseModel("google/bert", "mit"),))

    (base, _) = ml_bom(model, facts(), AT, environment)["components"]

    assert base["licenses"] == [{"expression": "MIT"}]


@pytest.mark.parametrize("reference", ["", "@", "pkg:", "pkg:x", "models:/"])
def test_a_base_model_that_names_nothing_is_refused(reference: str) -> None:
    with pytest.raises(InvalidRequest, match="not usable") as refusal:
        ml_bom(described(base_models=(BaseModel(reference),)), facts(), AT)

    advised = re.findall(r"(?:hf|pkg):[\w/@]+", refusal.value.advice)
    assert parse_card(f"base_models: {advised}".encode()).base_models == tuple(advised)


def test_licences_of_the_model_and_its_data_are_stated() -> None:
    data = (Dataset("a", "sha256:" + "c" * 64), Dataset("b", "mlflow:1"))
    model = described(licence="MIT License", data_licences={"a": "cc-by-nc-4.0"})

    document = ml_bom(model, facts(requirements=(), datasets=data), AT)

    check_document(document)
    (a, b) = document["components"]
    assert document["metadata"]["component"]["licenses"] == [{"expression": "MIT"}]
    assert a["licenses"] == [{"expression": "CC-BY-NC-4.0"}]
    assert a["hashes"] == [{"alg": "SHA-256", "content": "c" * 64}]
    assert "licenses" not in b
    assert "hashes" not in b


def test_what_is_written_is_what_the_registry_holds_against_the_pins() -> None:
    lines = ("scikit-learn==1.0", "requests", "mlflow[extras]>=2", "x @ https://example.org/x.whl")
    document = made(requirements=lines)

    listed = inventory.packages(inventory.read(cyclonedx.read(document)))

    assert requirements.check(lines, listed) == (lines[3],)
    with pytest.raises(VerificationError, match="does not list it"):
        requirements.check(("left-out==1.0",), listed)
