from __future__ import annotations

import pytest

from mlflow_governance.evidence import pins

CONDA = b"""channels: [conda-forge]
dependencies:
- python=3.11.7
- pip<=23
- numpy=1.26.4
- conda-forge::scipy==1.11=py311h64a7726_0
- pip:
  - mlflow==3.17.2
  - scikit-learn==1.9.1
"""


def test_all_three_files_are_one_list() -> None:
    found = pins.requirements(
        {
            "requirements.txt": b"mlflow==3.17.2\n# comment\nrequests>=2  # why\n\n",
            "conda.yaml": CONDA,
            "python_env.yaml": b"python: 3.11.7\ndependencies:\n"
            b"- -r requirements.txt\n- pandas==3.1\n",
        }
    )

    assert found == (
        "mlflow==3.17.2",
        "numpy==1.26.4",
        "pandas==3.1",
        "pip<=23",
        "requests>=2",
        "scikit-learn==1.9.1",
        "scipy==1.11",
    )


def test_what_is_no_requirement_is_kept_for_who_compares() -> None:
    lines = (
        b"--index-url https://example.com/simple\ngit+https://example.com/x\n"
        b"-e .\na==1 \\\n  --hash=x\n"
    )

    assert pins.requirements({"requirements.txt": lines}) == (
        "--index-url https://example.com/simple",
        "-e .",
        "a==1 --hash=x",
        "git+https://example.com/x",
    )


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("requirements.txt", b"\xff\xfe"),
        ("requirements.txt", b"a\n" * 600_000),
        ("conda.yaml", b"!!python/object/apply:os.system [id]"),
        ("conda.yaml", b"dependencies: x"),
        ("conda.yaml", b"- a"),
        ("conda.yaml", b"dependencies: [{pip: x}]"),
        ("python_env.yaml", b"a: [" * 100),
    ],
)
def test_a_file_that_cannot_be_read_says_so_in_the_list(name: str, data: bytes) -> None:
    (line,) = pins.requirements({name: data})

    assert line.startswith(f"{name}: ")


def test_the_list_is_bounded() -> None:
    found = pins.requirements({"requirements.txt": b"".join(b"p%d\n" % n for n in range(9000))})

    assert len(found) == pins.MAX_LINES
