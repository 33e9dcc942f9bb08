"""The requirements MLflow recorded with a model, as lines of PEP 508 where they can be.

Read from ``requirements.txt``, ``conda.yaml`` and ``python_env.yaml``. Whatever else decides what
is installed, or from where, becomes a line that is no requirement, such as ``uv.lock: …``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import bounded_yaml

FILES = ("requirements.txt", "conda.yaml", "python_env.yaml")
LOCKS = ("uv.lock",)
"""Files MLflow installs from instead, where it makes the environment with uv."""
MAX_BYTES = 1024 * 1024
MAX_LINES = 5_000
MAX_LINE = 2_000

_CONDA = re.compile(
    r"(?:(?:conda-forge|defaults)::)?([A-Za-z0-9][\w.\-]*)\s*(?:(={1,2})\s*([^=\s]+)(?:=[^=\s]+)?)?"
)
_NOT_PYTHON = frozenset({"python", "pip"})
"""Conda packages that are no requirement of the model."""
_BUILD = re.compile(r"(?:pip|setuptools|wheel)(?:==[\w.]+)?")
"""What MLflow writes as ``build_dependencies``: tools, no part of the model."""
_CHANNELS = frozenset({"conda-forge", "defaults", "nodefaults"})
_CONDA_KEYS = frozenset({"name", "channels", "dependencies", "prefix"})
_PYTHON = re.compile(r"\d{1,3}(?:\.\d{1,3}){0,2}")
_ENCODING = re.compile(rb"coding[:=]\s*([-\w.]+)")  # pip, req/req_file.py (PEP 263)
_COMMENT = re.compile(r"(?:^|\s+)#.*$")


def requirements(files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Every requirement line, sorted, once each.

    A line that is no requirement (an option, a URL) is kept as it stands, and so is the name of
    a file that cannot be read (``conda.yaml: …``): whoever compares them with an SBOM must see it.

    Args:
        files: the bytes of those of :data:`FILES` and :data:`LOCKS` there are, by name.
    """
    lines = {
        f"{name}: installed from instead of the requirements" for name in LOCKS if name in files
    }
    for name in FILES:
        if name not in files:
            continue
        try:
            lines.update(_READERS[name](_bounded(files[name])))
        except VerificationError as error:
            lines.add(f"{name}: {error.message}")
    kept = sorted(map(_short, lines))
    if len(kept) > MAX_LINES:
        kept = [f"requirements: {len(kept)} lines, more than {MAX_LINES}", *kept[: MAX_LINES - 1]]
    return tuple(kept)


def _short(line: str) -> str:
    """The line, or what is none: what was cut off would decide what is installed."""
    return line if len(line) <= MAX_LINE else f"requirements: {len(line)} characters: {line[:100]}"


def _bounded(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise VerificationError(f"more than {MAX_BYTES} bytes")
    return data


def _plain(data: bytes) -> Iterator[str]:
    """Lines as pip reads them (``pip/_internal/req/req_file.py``): continued ones joined, then
    comments cut. A comment is not continued, whatever its last character is."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise VerificationError("not UTF-8") from None
    for first in data.split(b"\n")[:2]:
        declared = _ENCODING.search(first) if first.startswith(b"#") else None
        if declared and declared[1].lower() not in (b"utf-8", b"utf8", b"ascii"):
            raise VerificationError(f"it says it is {declared[1][:40]!a}")
    begun: list[str] = []
    for line in [*text.splitlines(), ""]:
        comment = _COMMENT.match(line) is not None
        if line.endswith("\\") and not comment:
            begun.append(line.strip("\\"))
            continue
        begun.append(f" {line}" if comment else line)
        bare = " ".join(_COMMENT.sub("", "".join(begun)).split())
        begun = []
        if bare:
            yield bare


def _conda(data: bytes) -> Iterator[str]:
    document = _mapping(data)
    for key in sorted(map(str, document.keys() - _CONDA_KEYS)):
        yield f"conda.yaml: {key}"  # ``variables`` are environment variables: PIP_INDEX_URL
    for channel in _list(document, "channels"):
        if channel not in _CHANNELS:
            yield f"conda.yaml: the channel {str(channel)[:200]}"
    for dependency in _list(document, "dependencies"):
        if isinstance(dependency, str):
            yield from _conda_package(dependency)
        elif (
            isinstance(dependency, dict)
            and dependency.keys() == {"pip"}
            and isinstance(dependency["pip"], list)
        ):
            yield from _pip_lines(dependency["pip"])
        else:
            yield f"conda.yaml: {str(dependency)[:200]}"


def _conda_package(text: str) -> Iterator[str]:
    match = _CONDA.fullmatch(text.strip())
    if match is None:
        yield text.strip()
    elif match[1] not in _NOT_PYTHON:
        yield f"{match[1]}=={match[3]}" if match[3] else match[1]


def _python_env(data: bytes) -> Iterator[str]:
    document = _mapping(data)
    python = str(document.get("python", "3"))
    if not _PYTHON.fullmatch(python):
        yield f"python_env.yaml: python {python[:200]}"  # uv runs what it names
    for line in _pip_lines(_list(document, "build_dependencies")):
        if not _BUILD.fullmatch(line):
            yield line
    yield from _pip_lines(_list(document, "dependencies"))


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


_READERS = {"requirements.txt": _plain, "conda.yaml": _conda, "python_env.yaml": _python_env}
