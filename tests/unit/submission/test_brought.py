"""The SBOM of another tool becomes part of the one document that is signed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.errors import InvalidRequest
from mlflow_governance.evidence import cyclonedx, inventory
from mlflow_governance.evidence.sbom import check_document
from mlflow_governance.submission.bom import ml_bom
from mlflow_governance.submission.brought import TAKEN_FROM, read_sbom
from mlflow_governance.submission.environment import BaseModel, Environment
from tests.unit.evidence.spdx_builders import library3, package, spdx23, spdx30
from tests.unit.submission.builders import described, facts, write

AT = datetime(2026, 11, 1, tzinfo=UTC)
APPLICATION: dict[str, Any] = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.7",
    "metadata": {"component": {"type": "application", "name": "trainer", "bom-ref": "root"}},
    "components": [
        {
            "type": "library", "name": "numpy", "version": "2.0", "bom-ref": "np",
            "purl": "pkg:pypi/numpy@2.0",
            "components": [{"type": "library", "name": "openblas", "bom-ref": "blas"}],
        },
    ],
    "dependencies": [{"ref": "root", "dependsOn": ["np"]}, {"ref": "np", "dependsOn": ["blas"]}],
}  # fmt: skip


def combined(tmp_path: Path, document: dict[str, Any]) -> dict[str, Any]:
    brought = read_sbom(write(tmp_path, "other.json", json.dumps(document)))
    model = described(base_models=(BaseModel("org/base"),))
    made = brought.into(ml_bom(model, facts(), AT, Environment()))
    check_document(made)
    return made


@pytest.mark.parametrize(
    ("document", "version"),
    [
        (spdx23(package("numpy", "2.0"), package("scipy")), "1.6"),
        (spdx30(library3("numpy", "2.0"), library3("scipy")), "1.6"),
        (APPLICATION, "1.7"),
        (APPLICATION | {"specVersion": "1.5", "dependencies": []}, "1.6"),
    ],
)
def test_what_another_tool_lists_stands_beside_the_model_and_its_data(
    tmp_path: Path, document: dict[str, Any], version: str
) -> None:
    made = combined(tmp_path, document)

    listed = inventory.read(cyclonedx.read(made))
    names = {component.name for component in listed}
    assert {"churn", "numpy", "org/base"} < names
    assert not names & {"scikit-learn", "requests"}  # of the environment that ran submit
    assert inventory.packages(listed)["numpy"] == ["2.0"]
    assert made["specVersion"] == version
    (origin,) = made["metadata"]["properties"]
    assert origin["name"] == TAKEN_FROM
    assert "sha256:" in origin["value"]
    (needs,) = [entry for entry in made["dependencies"] if entry["ref"] == "model"]
    assert len(needs["dependsOn"]) >= 2


def test_what_needed_what_still_does(tmp_path: Path) -> None:
    made = combined(tmp_path, APPLICATION)

    edges = {entry["ref"]: entry["dependsOn"] for entry in made["dependencies"]}
    assert edges["np"] == ["blas"]
    assert "np" in edges["model"]
    assert "root" not in edges


@pytest.mark.parametrize("document", [{}, {"spdxVersion": "SPDX-2.2"}, {"@graph": []}])
def test_what_the_registry_would_not_read_is_not_taken(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest, match=r"other\.json: the SBOM is not"):
        combined(tmp_path, document)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="none"):
        read_sbom(tmp_path / "none.json")
