"""The requirements MLflow recorded with a model, as lines of PEP 508 where they can be.

Read from ``requirements.txt``, ``conda.yaml`` and ``python_env.yaml``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import bounded_yaml

FILES = ("requirements.txt", "conda.yaml", "python_env.yaml")
MAX_BYTES = 1024 * 1024
MAX_LINES = 5_000
MAX_LINE = 2_000

_CONDA = re.compile(r"(?:[\w\-]+::)?([A-Za-z0-9][\w.\-]*)\s*(?:(={1,2})\s*([^=\s]+)(?:=[^=\s]+)?)?")
_NOT_PYTHON = frozenset({"python", "pip"})
"""Conda packages that are no requirement of the model."""


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
    kept = sorted(line[:MAX_LINE] for line in lines)
    return tuple(kept[:MAX_LINES])


def _bounded(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise VerificationError(f"more than {MAX_BYTES} bytes")
    return data


def _plain(data: bytes) -> Iterator[str]:
    """Lines as pip reads them: comments cut, continued lines joined."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise VerificationError("not UTF-8") from None
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        bare = " ".join(re.sub(r"(?:^|\s)#.*", "", line).split())
        if bare:
            yield bare


def _conda(data: bytes) -> Iterator[str]:
    for dependency in _listed(data, "dependencies"):
        if isinstance(dependency, str):
            yield from _conda_package(dependency)
        elif isinstance(dependency, dict) and isinstance(dependency.get("pip"), list):
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
    yield from _pip_lines(_listed(data, "dependencies"))


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


_READERS = {"requirements.txt": _plain, "conda.yaml": _conda, "python_env.yaml": _python_env}
