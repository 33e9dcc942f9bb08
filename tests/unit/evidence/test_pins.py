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


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"# note \\\nevil @ https://example.com/e.zip\n", "evil @ https://example.com/e.zip"),
        (b"num\\\npy\n", "numpy"),
        (b"numpy\\\n# note\n", "numpy"),
        (b"# coding: utf-7\n# x+AAo-evil\n", "requirements.txt: it says it is b'utf-7'"),
        (b"numpy --hash=sha256:" + b"a" * 3000, "requirements: 3020 characters: numpy"),
    ],
)
def test_lines_are_those_pip_would_read(data: bytes, expected: str) -> None:
    (line,) = pins.requirements({"requirements.txt": data})

    assert line.startswith(expected)


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("conda.yaml", b"channels: [https://example.com/c]", "conda.yaml: the channel https:"),
        ("conda.yaml", b"variables: {PIP_INDEX_URL: x}", "conda.yaml: variables"),
        ("conda.yaml", b"dependencies: [other::python]", "other::python"),
        ("conda.yaml", b"dependencies: [{pip: [], more: []}]", "conda.yaml: {'pip'"),
        ("python_env.yaml", b"build_dependencies: [evil]", "evil"),
        ("python_env.yaml", b"build_dependencies: ['pip @ https://e.com/p.zip']", "pip @ https:"),
        ("python_env.yaml", b"python: ./evil", "python_env.yaml: python ./evil"),
        ("uv.lock", b"version = 1", "uv.lock: "),
    ],
)
def test_whatever_else_decides_what_is_installed_is_a_line(
    name: str, data: bytes, expected: str
) -> None:
    (line,) = pins.requirements({name: data})

    assert line.startswith(expected)


def test_what_mlflow_writes_is_no_line_more() -> None:
    conda = b"channels: [conda-forge]\nname: e\ndependencies: [python=3.11.7, pip<=26, {pip: [a]}]"
    python = (
        b"python: 3.11.7\nbuild_dependencies: [pip==26.3, setuptools==1, wheel]\n"
        b"dependencies: ['-r requirements.txt']"
    )

    found = pins.requirements({"conda.yaml": conda, "python_env.yaml": python})

    assert found == ("a", "pip<=26")


def test_a_line_that_is_dropped_leaves_one_that_says_so() -> None:
    options = b"".join(b"--trusted-host h%d\n" % n for n in range(pins.MAX_LINES))

    found = pins.requirements({"requirements.txt": options + b"zz @ https://example.com/z.zip\n"})

    assert len(found) == pins.MAX_LINES
    assert found[0] == f"requirements: {pins.MAX_LINES + 1} lines, more than {pins.MAX_LINES}"
