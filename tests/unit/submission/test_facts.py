"""What MLflow knows about a model: read from its directory and its run, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from mlflow_governance.errors import VerificationError
from mlflow_governance.submission.facts import read
from mlflow_governance.submission.source import Source
from tests.unit.submission.builders import write

BARE = Source("models:/m-1", "mlflow-artifacts:/1/models/m-1/artifacts")


def test_a_model_without_a_run_has_flavors_and_requirements_only(tmp_path: Path) -> None:
    write(tmp_path, "MLmodel", "flavors:\n  sklearn: {}\n  python_function: {}\n")
    write(
        tmp_path,
        "requirements.txt",
        "# a comment\n\nnumpy==2.0 \\\n  --hash=sha256:ab  # why\n-c other.txt\n--pre\n",
    )

    found = read(BARE, tmp_path)

    assert found.flavors == ("python_function", "sklearn")
    assert found.requirements == ("numpy==2.0",)
    assert (found.run_id, found.commit, found.datasets, found.metrics) == ("", "", (), {})


def test_a_model_without_requirements_has_none(tmp_path: Path) -> None:
    write(tmp_path, "MLmodel", "flavors: {sklearn: {}}\n")

    assert read(BARE, tmp_path).requirements == ()


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"[]",
        b"flavors:",
        b"flavours: {}",
        b"\xff\xfe\xfd",
        b"flavors: [",
        b"flavors: " + b"[" * 20_000,
        b"!!python/object/apply:os.system ['true']",
        b"flavors: [sklearn]",
        b"flavors: {a: {}}\nsignature: [1]",
        b"flavors: {a: {}}\nsignature: {inputs: '['}",
        b"flavors: {a: {}}\nsignature: {inputs: '[1]'}",
        b"flavors: {a: {}}\nsignature: {inputs: 5}",
        b"flavors: {a: {}}  " + b"#" * 17_000_000,
    ],
)
def test_what_is_no_mlflow_model_is_refused_by_name(tmp_path: Path, data: bytes | None) -> None:
    if data is not None:
        write(tmp_path, "MLmodel", data)

    with pytest.raises(VerificationError, match="is no MLflow model") as refusal:
        read(BARE, tmp_path)

    assert "log_model" in refusal.value.advice


def test_requirements_that_are_no_text_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "MLmodel", "flavors: {sklearn: {}}\n")
    write(tmp_path, "requirements.txt", b"\xff\xfe\xfd")

    with pytest.raises(VerificationError, match=r"requirements\.txt cannot be read"):
        read(BARE, tmp_path)


def test_the_signature_gives_the_formats_and_the_flavors_the_architecture(tmp_path: Path) -> None:
    columns = [
        {"type": "double", "name": "age", "required": True},
        {"type": "string", "name": "plan", "required": False},
        {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 28]}},
    ]
    document = {
        "flavors": {"python_function": {}, "sklearn": {"sklearn_version": "1.9.1"}, "own": None},
        "signature": {"inputs": json.dumps(columns), "outputs": '[{"type": "long"}]'},
    }
    write(tmp_path, "MLmodel", yaml.safe_dump(document))

    found = read(BARE, tmp_path)

    assert found.architecture == "own, sklearn 1.9.1"
    assert found.inputs == ("double age", "string plan (optional)", "tensor(float32, [-1, 28])")
    assert found.outputs == ("long",)


def test_of_many_columns_some_are_told(tmp_path: Path) -> None:
    columns = json.dumps([{"type": "double", "name": f"x{n}" * 100} for n in range(2000)])
    write(
        tmp_path,
        "MLmodel",
        yaml.safe_dump({"flavors": {"a": {}}, "signature": {"inputs": columns}}),
    )

    found = read(BARE, tmp_path).inputs

    assert (len(found), found[-1]) == (501, "and 1500 more")
    assert max(map(len, found)) == 200
