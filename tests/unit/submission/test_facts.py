"""What MLflow knows about a model: read from its directory and its run, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_governance.errors import VerificationError
from mlflow_governance.submission.facts import read
from mlflow_governance.submission.source import Source
from tests.unit.submission.builders import write

BARE = Source("models:/m-1", "mlflow-artifacts:/1/models/m-1/artifacts")


def test_a_model_without_a_run_has_flavors_and_requirements_only(tmp_path: Path) -> None:
    write(tmp_path, "MLmodel", "flavors:\n  sklearn: {}\n  python_function: {}\n")
    write(tmp_path, "requirements.txt", "# a comment\n\nnumpy==2.0  # why\n-c other.txt\n--pre\n")

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
