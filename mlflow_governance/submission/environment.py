"""The environment MLflow recorded with a model: what it takes to load it.

Read from the model's own folder: ``requirements.txt`` (pip), ``conda.yaml`` and
``python_env.yaml`` (the interpreter, and what builds the environment), and ``MLmodel`` (the
version of MLflow, and the models this one was made from).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence import bounded_yaml, requirements

_MAX_BYTES = 1024 * 1024
_CONDA = re.compile(r"(?:(?P<channel>[\w./:-]+)::)?(?P<name>[\w.-]+)\s*(?P<rest>.*)")
_CONDA_VERSION = re.compile(r"={1,2}\s*(?P<version>[\w.!+]+)(?:=[\w.]+)?")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NOT_LIBRARIES = frozenset({"python", "pip"})


@dataclass(frozen=True, slots=True)
class CondaPackage:
    """A package from a conda channel; ``version`` and ``channel`` are empty where unsaid."""

    name: str
    version: str = ""
    channel: str = ""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A model this one was made from or runs along with.

    Args:
        reference: a purl, a Hugging Face name (``org/name@commit``), or ``models:/name/3``.
        licence: SPDX expression or name; empty where unknown.
        use: ``fine-tuning`` or ``inference``.
    """

    reference: str
    licence: str = ""
    use: str = "fine-tuning"


@dataclass(frozen=True)
class Environment:
    """Everything recorded; empty where it is not."""

    requirements: tuple[str, ...] = ()
    """Lines for pip, of ``requirements.txt`` and of the ``pip`` part of ``conda.yaml``."""
    build: tuple[str, ...] = ()
    """Requirement lines of what builds the environment and does not run in it."""
    conda: tuple[CondaPackage, ...] = ()
    python: str = ""
    mlflow: str = ""
    base_models: tuple[BaseModel, ...] = ()


def read_environment(folder: Path) -> Environment:
    """Read a model's folder; files that are not there say nothing.

    Raises:
        VerificationError: a file cannot be read.
        InvalidRequest: two of them want different versions of one package.
    """
    python_env = _mapping(folder / "python_env.yaml")
    about = _mapping(folder / "MLmodel")
    conda = _strings(_mapping(folder / "conda.yaml").get("dependencies"))
    lines = tuple(requirements.logical_lines(_text(folder / "requirements.txt")))
    nested = tuple(_conda_pip(_mapping(folder / "conda.yaml")))
    packages = tuple(filter(None, map(_conda_package, conda)))
    interpreter = next((p.version for p in packages if p.name == "python"), "")
    return Environment(
        requirements=_united(lines, nested),
        build=tuple(_strings(python_env.get("build_dependencies"))),
        conda=tuple(p for p in packages if p.name not in _NOT_LIBRARIES),
        python=_plain(python_env.get("python")) or interpreter,
        mlflow=_plain(about.get("mlflow_version")),
        base_models=tuple(_base_models(about.get("flavors"), folder)),
    )


def _united(lines: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    pins: dict[str, str] = {}
    for line in (*lines, *more):
        wanted = requirements.parse(line)
        if wanted is None or not wanted.exact:
            continue
        if pins.setdefault(wanted.name, wanted.exact) != wanted.exact:
            raise InvalidRequest(
                f"the model's requirements.txt and conda.yaml want {wanted.name} "
                f"{pins[wanted.name]} and {wanted.exact}",
                advice="Log the model again with one version: it is not known which one runs.",
            )
    return tuple(dict.fromkeys((*lines, *more)))


def _conda_pip(document: Mapping[str, Any]) -> Iterator[str]:
    entries = document.get("dependencies")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, Mapping):
            for line in _strings(entry.get("pip")):
                yield from requirements.logical_lines(line)


def _conda_package(spec: str) -> CondaPackage | None:
    found = _CONDA.fullmatch(spec.strip())
    if found is None:
        return None
    version = _CONDA_VERSION.fullmatch(found["rest"].strip())
    return CondaPackage(
        found["name"].lower(), version["version"] if version else "", found["channel"] or ""
    )


def _base_models(flavors: object, folder: Path) -> Iterator[BaseModel]:
    """Hugging Face models by the name MLflow kept; a local path names nothing."""
    if not isinstance(flavors, Mapping):
        return
    seen: set[str] = set()
    for flavor in flavors.values():
        name = flavor.get("source_model_name") if isinstance(flavor, Mapping) else None
        if not isinstance(name, str) or not _HUB_NAME.fullmatch(name) or name in seen:
            continue
        seen.add(name)
        revision = _plain(flavor.get("source_model_revision"))
        commit = f"@{revision}" if _COMMIT.fullmatch(revision) else ""
        # MLflow keeps the front matter of that model's own card.
        licence = _plain(_mapping(folder / "model_card_data.yaml").get("license"))
        yield BaseModel(name + commit, licence)


def _mapping(path: Path) -> Mapping[str, Any]:
    try:
        document = bounded_yaml.load(_text(path).encode())
    except VerificationError as error:
        raise VerificationError(f"the model's {path.name} cannot be read: {error}") from error
    return document if isinstance(document, Mapping) else {}


def _text(path: Path) -> str:
    if not path.is_file():
        return ""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise VerificationError(f"the model's {path.name} cannot be read: {error}") from error
    if len(data) > _MAX_BYTES:
        raise VerificationError(f"the model's {path.name} has more than {_MAX_BYTES} bytes")
    return text


def _strings(value: object) -> Iterator[str]:
    entries = value if isinstance(value, list) else []
    return (entry for entry in entries if isinstance(entry, str))


def _plain(value: object) -> str:
    return value.strip() if isinstance(value, str) and "\n" not in value.strip() else ""
