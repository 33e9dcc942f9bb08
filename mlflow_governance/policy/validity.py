"""Is a dossier what its schema says? Asked before every decision, so the answer has to be quick.

Evidence is most of a dossier and stays the same from one decision to the next: the outcome of
each kind is validated once, and what is new in every decision each time.
"""

from __future__ import annotations

import json
from functools import cache, lru_cache
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.core.dossier import Dossier
from mlflow_governance.core.resources import folder
from mlflow_governance.policy.bundle import SCHEMA
from mlflow_governance.policy.interface import EngineError

_MAX_REMEMBERED = 8192
"""Bytes of an outcome whose validity is remembered; a larger one is validated each time."""

_SIMPLE = {"title", "description", "type", "additionalProperties", "properties"}
_ROOT = _SIMPLE | {"$schema", "$id", "$defs", "required"}
"""Keywords with which the schema says nothing about evidence but which kinds there are."""


@cache
def _schema() -> dict[str, Any]:
    return canonical.decode_object((folder("policies") / SCHEMA).read_bytes())


@cache
def _validator(kind: str = "") -> Any:
    # Of a whole dossier, or of the outcome of one kind of evidence.
    import jsonschema_rs

    schema = _schema()
    if kind:
        schema = {"$defs": schema["$defs"], **schema["properties"]["evidence"]["properties"][kind]}
    return jsonschema_rs.Draft202012Validator(schema)


def refuse_unless_valid(dossier: Dossier) -> None:
    """Refuse what ``policies/dossier.schema.json`` does not describe.

    Raises:
        EngineError: ``ENG-SCHEMA``, with the first place that is wrong.
        InvalidRequest: the dossier has no canonical form.
    """
    if _valid_in_parts(dossier):
        return
    document, validator = json.loads(dossier.encoded), _validator()
    if validator.is_valid(document):
        return
    first = next(iter(validator.iter_errors(document)))
    path = ".".join(str(step) for step in first.instance_path)
    raise EngineError(
        "ENG-SCHEMA", f"the dossier is malformed at {path or 'its root'}: {first.message}"
    )


@cache
def _separable() -> frozenset[str]:
    # The kinds of evidence whose outcome is valid or not whatever stands around it; none if the
    # schema ties evidence to something else.
    schema = _schema()
    evidence = schema["properties"]["evidence"]
    simple = evidence.keys() <= _SIMPLE and schema.keys() <= _ROOT
    return frozenset(evidence["properties"] if simple else ())


def _valid_in_parts(dossier: Dossier) -> bool:
    # Evidence is what is large and stays the same from one decision to the next.
    if not dossier.evidence.keys() <= _separable():
        return False
    try:
        frame = _validator().is_valid(dossier.frame)
    except ValueError:  # a type the validator does not know; its JSON may be valid all the same
        return False
    return frame and all(_is_valid(k, outcome.encoded) for k, outcome in dossier.evidence.items())


def _is_valid(kind: str, outcome: bytes) -> bool:
    known = _remembered if len(outcome) <= _MAX_REMEMBERED else _remembered.__wrapped__
    return known(kind, outcome)


@lru_cache(maxsize=1024)
def _remembered(kind: str, outcome: bytes) -> bool:
    return bool(_validator(kind).is_valid(json.loads(outcome)))
