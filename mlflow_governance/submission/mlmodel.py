"""The file ``MLmodel``: flavors, and the signature as the formats of inputs and outputs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mlflow_governance.errors import VerificationError

_MAX_BYTES = 16 * 1024 * 1024
_MAX_FORMATS = 500
_MAX_FORMAT = 200


@dataclass(frozen=True)
class ModelFile:
    """What ``MLmodel`` says."""

    flavors: tuple[str, ...]
    architecture: str = ""
    """The flavors that are more than ``python_function``, with the library's version."""
    inputs: tuple[str, ...] = ()
    """One format each, such as ``double age`` or ``tensor(float32, [-1, 28, 28])``."""
    outputs: tuple[str, ...] = ()


def read_mlmodel(folder: Path) -> ModelFile:
    """Read ``MLmodel`` in a model directory.

    Raises:
        VerificationError: the directory is no MLflow model.
    """
    try:
        with (folder / "MLmodel").open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise ValueError(f"more than {_MAX_BYTES} bytes")
        document = yaml.safe_load(data.decode("utf-8"))
        flavors = dict(document["flavors"])
        signature = document.get("signature") or {}
        return ModelFile(
            flavors=tuple(sorted(map(str, flavors))),
            architecture=", ".join(sorted(_libraries(flavors))),
            inputs=_formats(signature.get("inputs")),
            outputs=_formats(signature.get("outputs")),
        )
    except (
        *(OSError, ValueError, RecursionError, yaml.YAMLError),
        *(TypeError, KeyError, AttributeError),
    ) as error:
        raise VerificationError(
            f"{folder.name} is no MLflow model: its MLmodel file cannot be read",
            advice="Log it with mlflow.<flavor>.log_model(…) first.",
        ) from error


def _libraries(flavors: Mapping[Any, Any]) -> Iterator[str]:
    for name, settings in flavors.items():
        if name == "python_function":
            continue
        version = settings.get(f"{name}_version", "") if isinstance(settings, dict) else ""
        yield f"{name} {version}".strip()[:_MAX_FORMAT]


def _formats(signature: str | None) -> tuple[str, ...]:
    """The columns or tensors of one side of a signature, which MLflow keeps as JSON text."""
    if not signature:
        return ()
    columns = json.loads(signature)
    formats = list(dict.fromkeys(_format(column)[:_MAX_FORMAT] for column in columns))
    if len(formats) > _MAX_FORMATS:
        return (*formats[:_MAX_FORMATS], f"and {len(formats) - _MAX_FORMATS} more")
    return tuple(formats)


def _format(column: Mapping[str, Any]) -> str:
    kind = column["type"]
    if kind == "tensor":
        spec = column["tensor-spec"]
        kind = f"tensor({spec['dtype']}, {json.dumps(spec['shape'])})"
    optional = "" if column.get("required", True) else " (optional)"
    return f"{kind} {column.get('name') or ''}".strip() + optional
