"""What the data of a bundle must look like: ``config.schema.json`` beside the policies."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow_governance.core import canonical
from mlflow_governance.core.resources import folder
from mlflow_governance.policy.bundle import Bundle

SCHEMA = "config.schema.json"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One value that is not as the schema says; ``path`` is dotted, below ``registry.config``."""

    path: str
    message: str


def problems(bundle: Bundle) -> list[Problem]:
    """Everything in ``data.registry.config`` that the schema does not admit, in order."""
    import jsonschema_rs

    try:
        schema = canonical.decode_object((folder("policies") / SCHEMA).read_bytes())
    except FileNotFoundError:
        return []
    config = bundle.data.get("registry", {}).get("config", {})
    validator = jsonschema_rs.validator_for(schema)
    return sorted(
        Problem(".".join(map(str, error.instance_path)), error.message)
        for error in validator.iter_errors(config)
    )
