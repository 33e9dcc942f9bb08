"""Good dossiers, one a gate, to spoil one thing at a time, and bundles to judge them by."""

from __future__ import annotations

import json
from typing import Any

from mlflow_governance.core.resources import folder
from mlflow_governance.policy import config_schema
from mlflow_governance.policy.bundle import Bundle, from_files, load
from mlflow_governance.policy.samples import (
    EVIDENCE,
    MODEL,
    NOW,
    OLD_POLICY,
    POLICY,
    approval,
    document,
    dossier,
)

__all__ = [
    "CONFIG",
    "EVIDENCE",
    "MODEL",
    "NOW",
    "OLD_POLICY",
    "POLICY",
    "approval",
    "configured",
    "document",
    "dossier",
    "shipped",
    "with_module",
]

CONFIG = "registry/config/data.json"


def shipped() -> Bundle:
    """The bundle in this repository."""
    return load(folder("policies"))


def configured(**settings: Any) -> Bundle:
    """The shipped bundle with other numbers in its data."""
    bundle = shipped()
    config = json.loads(bundle.files[CONFIG]) | settings
    return from_files({**bundle.files, CONFIG: json.dumps(config).encode()})


def everything() -> Bundle:
    """The shipped bundle with every rule of the library on, by the examples in its schema."""
    rules = config_schema.schema()["properties"]["library"]["properties"]
    return configured(library={name: rule["examples"][0] for name, rule in rules.items()})


def with_module(source: str, name: str = "registry/extra/extra.rego") -> Bundle:
    """The shipped bundle with one more module."""
    return from_files({**shipped().files, name: source.encode()})
