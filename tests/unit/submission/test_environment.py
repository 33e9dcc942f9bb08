"""What MLflow records about a model's environment, read from files a real model has."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.submission.environment import (
    BaseModel,
    CondaPackage,
    Environment,
    read_environment,
)
from tests.unit.submission.builders import write

REQUIREMENTS = """\
# made by MLflow
mlflow==3.1.4
numpy==2.0  # pinned
scipy==1.0 \\
    --hash=sha256:aa
git+https://example.org/r.git#egg=r
--extra-index-url https://example.org/simple
"""
CONDA = """\
channels: [conda-forge]
dependencies:
- python=3.11.7
- pip<=24
- conda-forge::cudatoolkit=11.8=h123_0
- nodejs
- pip: [mlflow==3.1.4, pandas==2.0]
"""
PYTHON_ENV = """\
python: 3.11.8
build_dependencies: [pip==24.0, wheel]
dependencies: [-r requirements.txt]
"""
MLMODEL = """\
mlflow_version: 3.1.4
flavors:
  python_function: {}
  transformers:
    source_model_name: google/bert
    source_model_revision: 0123456789012345678901234567890123456789
"""


def test_everything_mlflow_records_is_read(tmp_path: Path) -> None:
    for name, text in {
        "requirements.txt": REQUIREMENTS, "conda.yaml": CONDA, "python_env.yaml": PYTHON_ENV,
        "MLmodel": MLMODEL, "model_card_data.yaml": "license: apache-2.0\n",
    }.items():  # fmt: skip
        write(tmp_path, name, text)

    assert read_environment(tmp_path) == Environment(
        requirements=(
            "mlflow==3.1.4", "numpy==2.0", "scipy==1.0     --hash=sha256:aa",
            "git+https://example.org/r.git#egg=r",
            "--extra-index-url https://example.org/simple", "pandas==2.0",
        ),
        build=("pip==24.0", "wheel"),
        conda=(CondaPackage("cudatoolkit", "11.8", "conda-forge"), CondaPackage("nodejs")),
        python="3.11.8",
        mlflow="3.1.4",
        base_models=(BaseModel("google/bert@0123456789012345678901234567890123456789",
                               "apache-2.0"),),
    )  # fmt: skip


def test_an_interpreter_only_conda_names_is_found(tmp_path: Path) -> None:
    write(tmp_path, "conda.yaml", CONDA)

    assert read_environment(tmp_path).python == "3.11.7"


def test_a_folder_that_records_nothing_says_nothing(tmp_path: Path) -> None:
    assert read_environment(tmp_path) == Environment()


@pytest.mark.parametrize("name", ["/home/ann/model", "../model", "./m", "a/b/c", "", "5"])
def test_a_local_path_names_no_base_model(tmp_path: Path, name: str) -> None:
    write(tmp_path, "MLmodel", f"flavors: {{transformers: {{source_model_name: {name!r}}}}}")
    found = read_environment(tmp_path).base_models

    assert found == ((BaseModel("5"),) if name == "5" else ())


def test_two_versions_of_one_package_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "requirements.txt", "pandas==1.0\n")
    write(tmp_path, "conda.yaml", CONDA)

    with pytest.raises(InvalidRequest, match=r"want pandas 1\.0 and 2\.0"):
        read_environment(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe",
        b"a: [",
        b"&a [*a, " * 3,
        b"[" * 5000,
        b"x" * (1024 * 1024 + 1),
        b"a: 2026-99-99",
        b"a: [" + b"&a x, *a, " * 300 + b"]",
    ],
)
@pytest.mark.parametrize("name", ["conda.yaml", "python_env.yaml", "MLmodel"])
def test_a_file_nobody_can_read_is_refused(tmp_path: Path, name: str, text: bytes) -> None:
    write(tmp_path, name, text)

    with pytest.raises(VerificationError, match=name):
        read_environment(tmp_path)


@pytest.mark.parametrize("text", ["[]", "5", "dependencies: 5", "dependencies: [5, {pip: 5}]",
                                  "flavors: 5", "flavors: {a: 5}", "python: [3]",
                                  "flavors: {a: {source_model_name: [x]}}"])  # fmt: skip
@pytest.mark.parametrize("name", ["conda.yaml", "python_env.yaml", "MLmodel"])
def test_other_shapes_say_nothing(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path, name, text)

    assert read_environment(tmp_path) == Environment()
