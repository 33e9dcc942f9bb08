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
        "numpy==1.26.4.*",
        "pandas==3.1",
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


def test_a_comment_that_ends_in_a_backslash_hides_no_requirement() -> None:
    found = pins.requirements({"requirements.txt": b"numpy==1.26\n# harmless \\\ntorch==1.0\n"})

    assert found == ("numpy==1.26", "torch==1.0")


def test_a_file_that_pip_decodes_otherwise_is_not_read() -> None:
    data = b"# coding: utf-7\nnumpy==1.26 #+AAo-torch==1.0\n"

    assert pins.requirements({"requirements.txt": data}) == ("requirements.txt: not UTF-8",)


def test_what_builds_the_environment_is_installed_too() -> None:
    data = b"build_dependencies: [pip==24.0, setuptools, wheel==0.43, torch==1.0, pip @ file:x]\n"

    assert pins.requirements({"python_env.yaml": data}) == ("pip @ file:x", "torch==1.0")


@pytest.mark.parametrize(
    "env", ["other.yaml", "{virtualenv: other.yaml}", "{conda: ./conda.yaml}", "[conda.yaml]"]
)
def test_an_environment_read_from_another_file_is_named(env: str) -> None:
    data = f"flavors: {{python_function: {{env: {env}}}}}\n".encode()

    (line,) = pins.requirements({"MLmodel": data})

    assert line.startswith("MLmodel: the environment is read from ")


def test_the_environment_mlflow_writes_is_read_where_it_is() -> None:
    data = (
        b"flavors: {sklearn: {}, python_function: {env: {conda: conda.yaml, "
        b"virtualenv: python_env.yaml}}}\n"
    )

    assert pins.requirements({"MLmodel": data}) == ()
    assert pins.requirements({"MLmodel": b"flavors: {python_function: {env: conda.yaml}}"}) == ()
    assert pins.requirements({"MLmodel": b"flavors: {sklearn: {}}"}) == ()


def test_a_lock_that_mlflow_installs_instead_is_named() -> None:
    (line,) = pins.requirements({"uv.lock": b"version = 1\n"})

    assert line.startswith("uv.lock: ")


def test_packages_of_a_channel_somebody_chose_are_named() -> None:
    data = (
        b"channels: [conda-forge, defaults, 'https://evil.example/c']\n"
        b"dependencies: [numpy=1.26, 'evil::scipy=1.11', 'conda-forge::pandas=2.0']\n"
    )

    assert pins.requirements({"conda.yaml": data}) == (
        "conda.yaml: the channel https://evil.example/c",
        "evil::scipy=1.11",
        "numpy==1.26.*",
        "pandas==2.0.*",
    )


def test_too_many_requirements_are_told_and_not_left_out() -> None:
    data = b"".join(b"p%04d\n" % n for n in range(pins.MAX_LINES)) + b"torch==1.0\n"

    found = pins.requirements({"requirements.txt": data})

    assert f"more than {pins.MAX_LINES} requirements" in found


def test_a_requirement_too_long_to_keep_is_told_and_not_cut() -> None:
    data = b"torch" + b">=0," * pins.MAX_LINE + b"==1.0\n"

    assert pins.requirements({"requirements.txt": data}) == (
        f"a requirement of more than {pins.MAX_LINE} characters",
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"# note \\\nevil @ https://example.com/e.zip\n", "evil @ https://example.com/e.zip"),
        (b"num\\\npy\n", "numpy"),
        (b"numpy\\\n# note\n", "numpy"),
        (b"# coding: utf-7\n# x+AAo-evil\n", "requirements.txt: not UTF-8"),
        (b"numpy --hash=sha256:" + b"a" * 3000, "a requirement of more than 2000 characters"),
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

    assert found == ("a",)


def test_a_channel_that_is_no_name_is_told() -> None:
    found = pins.requirements({"conda.yaml": b"channels: [[x]]\ndependencies: [numpy]\n"})

    assert found == ("conda.yaml: the channel ['x']", "numpy")
