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

ENVIRONMENTS = ("requirements.txt", "conda.yaml", "python_env.yaml")
FILES = (*ENVIRONMENTS, "MLmodel", "uv.lock")
MAX_BYTES = 1024 * 1024
MAX_LINES = 5_000
MAX_LINE = 2_000

_CONDA = re.compile(
    r"(?:(?P<channel>[\w\-]+)::)?(?P<name>[A-Za-z0-9][\w.\-]*)"
    r"\s*(?:(?P<equals>={1,2})\s*(?P<version>[^=\s]+)(?P<build>=[^=\s]+)?)?"
)
_CHANNELS = frozenset(
    {"anaconda", "bioconda", "conda-forge", "defaults", "main", "nodefaults", "nvidia", "pytorch"}
)
"""Conda channels that are not anybody's."""
_NOT_PYTHON = frozenset({"python", "pip"})
"""Conda packages that are no requirement of the model."""
_BUILD = re.compile(r"(?:pip|setuptools|wheel)(?:\s*[<>=!~]=?\s*[\w.]+)?")
"""What MLflow has installed before everything else: tools, no part of the model."""
_CONDA_KEYS = frozenset({"name", "channels", "dependencies", "prefix"})
_PYTHON = re.compile(r"\d{1,3}(?:\.\d{1,3}){0,2}")
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
    document = _mapping(data)
    for key in sorted(map(str, document.keys() - _CONDA_KEYS)):
        yield f"conda.yaml: {key}"  # ``variables`` are environment variables: PIP_INDEX_URL
    for channel in _list(document, "channels"):
        if not isinstance(channel, str) or channel not in _CHANNELS:
            yield f"conda.yaml: the channel {str(channel)[:200]}"
    for dependency in _list(document, "dependencies"):
        if isinstance(dependency, str):
            yield from _conda_package(dependency)
        elif _is_pip(dependency):
            yield from _pip_lines(dependency["pip"])
        else:
            yield f"conda.yaml: {str(dependency)[:200]}"


def _is_pip(dependency: object) -> bool:
    return (
        isinstance(dependency, dict)
        and dependency.keys() == {"pip"}
        and isinstance(dependency["pip"], list)
    )


def _conda_package(text: str) -> Iterator[str]:
    if _BUILD.fullmatch(text.strip()):
        return  # MLflow writes pip<=26.0: a tool, not a part of the model
    match = _CONDA.fullmatch(text.strip())
    if match is None or (match["channel"] or "defaults") not in _CHANNELS:
        yield text.strip()
    elif match["name"] not in _NOT_PYTHON:
        yield match["name"] + _conda_version(match)


def _conda_version(match: re.Match[str]) -> str:
    version = match["version"]
    if not version:
        return ""
    # To conda one equals sign is a beginning: 1.5 is 1.5 and 1.5.2.
    exact = match["equals"] == "==" or match["build"] or version.endswith("*")
    return f"=={version}" if exact else f"=={version}.*"


def _python_env(data: bytes) -> Iterator[str]:
    document = _mapping(data)
    python = str(document.get("python", "3"))
    if not _PYTHON.fullmatch(python):
        yield f"python_env.yaml: python {python[:200]}"  # uv runs what it names
    build = [line for line in _list(document, "build_dependencies") if not _is_build(line)]
    yield from _pip_lines([*build, *_list(document, "dependencies")])


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


def _mapping(data: bytes) -> dict[Any, Any]:
    document = bounded_yaml.load(data)
    if not isinstance(document, dict):
        raise VerificationError("no mapping")
    return document


def _list(document: dict[Any, Any], key: str) -> list[Any]:
    value = document.get(key, [])
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
