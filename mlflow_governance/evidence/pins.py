"""The requirements MLflow recorded with a model, as lines of PEP 508 where they can be.

Read from ``requirements.txt``, ``conda.yaml`` and ``python_env.yaml``, as pip and conda would.
What would have MLflow install something else than these say (another file named in ``MLmodel``,
``uv.lock``) is told as a line that no SBOM can be held to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import bounded_yaml
from mlflow_governance.evidence.requirements import logical_lines

FILES = ("requirements.txt", "conda.yaml", "python_env.yaml", "MLmodel", "uv.lock")
MAX_BYTES = 1024 * 1024
MAX_LINES = 5_000
MAX_LINE = 2_000

_CONDA = re.compile(
    r"(?:(?P<channel>[\w\-]+)::)?(?P<name>[A-Za-z0-9][\w.\-]*)"
    r"\s*(?:={1,2}\s*(?P<version>[^=\s]+)(?:=[^=\s]+)?)?"
)
_CHANNELS = frozenset(
    {"anaconda", "bioconda", "conda-forge", "defaults", "main", "nodefaults", "nvidia", "pytorch"}
)
"""Conda channels that are not anybody's."""
_NOT_PYTHON = frozenset({"python", "pip"})
"""Conda packages that are no requirement of the model."""
_BUILD = re.compile(r"(?:pip|setuptools|wheel)(?:\s*[<>=!~]=?\s*[\w.]+)?")
"""What MLflow has installed before everything else, in python_env.yaml."""
_ENVIRONMENTS = {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}
"""Where the flavor python_function has MLflow look, as MLflow writes it."""
_CODING = re.compile(rb"#[^\n]*?coding[:=]\s*([-\w.]+)")


def requirements(files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Every requirement line, sorted, once each.

    A line that is no requirement (an option, a URL) is kept as it stands, and so is the name of
    a file that cannot be read (``conda.yaml: …``): whoever compares them with an SBOM must see it.

    Args:
        files: the bytes of those of :data:`FILES` there are, by name.
    """
    lines: set[str] = set()
    for name in FILES:
        if name not in files:
            continue
        try:
            lines.update(_READERS[name](_bounded(files[name])))
        except VerificationError as error:
            lines.add(f"{name}: {error.message}")
    # Nothing is cut or left out in silence: what is no longer seen would not be compared.
    long = f"a requirement of more than {MAX_LINE} characters"
    kept = sorted({line if len(line) <= MAX_LINE else long for line in lines})
    if len(kept) > MAX_LINES:
        kept[MAX_LINES - 1 :] = [f"more than {MAX_LINES} requirements"]
    return tuple(kept)


def _bounded(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise VerificationError(f"more than {MAX_BYTES} bytes")
    return data


def _plain(data: bytes) -> Iterator[str]:
    """Lines as pip reads them."""
    named = [match[1].lower() for line in data.split(b"\n")[:2] if (match := _CODING.match(line))]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise VerificationError("not UTF-8") from None
    if set(named) - {b"utf-8", b"utf8"}:  # pip believes such a comment
        raise VerificationError("not UTF-8")
    return (" ".join(line.split()) for line in logical_lines(text))


def _conda(data: bytes) -> Iterator[str]:
    for channel in _listed(data, "channels"):
        if channel not in _CHANNELS:
            yield f"conda.yaml: the channel {channel}"
    for dependency in _listed(data, "dependencies"):
        if isinstance(dependency, str):
            yield from _conda_package(dependency)
        elif isinstance(dependency, dict) and isinstance(dependency.get("pip"), list):
            yield from _pip_lines(dependency["pip"])
        else:
            yield f"conda.yaml: {str(dependency)[:200]}"


def _conda_package(text: str) -> Iterator[str]:
    match = _CONDA.fullmatch(text.strip())
    if match is None or (match["channel"] or "defaults") not in _CHANNELS:
        yield text.strip()
    elif match["name"] not in _NOT_PYTHON:
        yield f"{match['name']}=={match['version']}" if match["version"] else match["name"]


def _python_env(data: bytes) -> Iterator[str]:
    build = [line for line in _listed(data, "build_dependencies") if not _is_build(line)]
    yield from _pip_lines([*build, *_listed(data, "dependencies")])


def _is_build(line: object) -> bool:
    return isinstance(line, str) and _BUILD.fullmatch(line.strip()) is not None


def _mlmodel(data: bytes) -> Iterator[str]:
    try:
        env = bounded_yaml.load(data)["flavors"]["python_function"]["env"]
    except (KeyError, TypeError, IndexError):
        env = None
    if env is None:
        return  # then MLflow looks at the usual places
    named = env if isinstance(env, dict) else {"conda": env}
    for manager, file in named.items():
        if file != _ENVIRONMENTS.get(manager, ""):
            yield f"MLmodel: the environment is read from {str(file)[:200]}"


def _lock(data: bytes) -> Iterator[str]:
    yield "uv.lock: it is installed in place of the rest; log with MLFLOW_LOG_UV_FILES=false"


def _pip_lines(lines: list[Any]) -> Iterator[str]:
    for line in lines:
        if isinstance(line, str) and re.fullmatch(r"-r\s*requirements\.txt", line.strip()):
            continue  # which is read already
        yield from _plain(str(line).encode("utf-8", "replace"))


def _listed(data: bytes, key: str) -> list[Any]:
    document = bounded_yaml.load(data)
    value = document.get(key, []) if isinstance(document, dict) else None
    if not isinstance(value, list) or len(value) > MAX_LINES:
        raise VerificationError(f"no list of {key}")
    return value


_READERS = {
    "requirements.txt": _plain,
    "conda.yaml": _conda,
    "python_env.yaml": _python_env,
    "MLmodel": _mlmodel,
    "uv.lock": _lock,
}
