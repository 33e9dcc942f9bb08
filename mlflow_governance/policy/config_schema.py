"""The settings of the policies that ship, held to their schema before they decide anything.

Rego asks a setting that is not there and goes on without it: a misspelt ``blocking_cvs`` would
never be noticed. ``policies/config.schema.json`` knows every key of ``registry/config/data.json``;
whoever writes rules of their own keeps their settings under ``custom``, or elsewhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.core.resources import folder
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy.bundle import CONFIG_SCHEMA, Bundle

_MAX_TOLD = 20
_MAX_TEXT = 300


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong. ``path`` is the place in data.json, such as ``waivers[0].expires``."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def problems(bundle: Bundle) -> list[Problem]:
    """What is wrong with the bundle's settings, by place; ``[]`` too when it has none."""
    registry = bundle.data.get("registry")
    settings = registry.get("config") if isinstance(registry, Mapping) else None
    if settings is None:
        return []
    found = {
        Problem(_place(error.instance_path), _message(error, settings))
        for error in _validator().iter_errors(settings)
    }
    return sorted(found | set(_unknown_codes(bundle, settings)))


def require(bundle: Bundle) -> None:
    """Refuse a bundle whose settings are not what the policies read.

    Raises:
        ConfigurationError: naming every problem.
    """
    found = problems(bundle)
    if not found:
        return
    lines = [f"  - {problem}" for problem in found[:_MAX_TOLD]]
    if len(found) > _MAX_TOLD:
        lines.append(f"  - and {len(found) - _MAX_TOLD} more")
    raise ConfigurationError(
        "\n".join(
            ["the settings of the policies (registry/config/data.json) are refused:", *lines]
        ),
        advice="Correct them, or put settings of your own under custom; then: "
        "mlflow-governance policy check --bundle FOLDER",
    )


@cache
def schema() -> dict[str, Any]:
    """``policies/config.schema.json``."""
    return canonical.decode_object((folder("policies") / CONFIG_SCHEMA).read_bytes())


@cache
def _validator() -> Any:
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator(schema(), validate_formats=True)


def _place(path: list[str | int]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")[:_MAX_TEXT] or "registry/config/data.json"


def _message(error: Any, settings: Any) -> str:
    """The validator's sentence; for an unknown key the one that was probably meant."""
    message = str(error.message)[:_MAX_TEXT]
    names = getattr(error.kind, "unexpected", None)
    if not names:
        return message
    known = _properties(list(error.schema_path))
    meant = [near for name in names for near in difflib.get_close_matches(str(name), known, n=1)]
    return f"{message}; did you mean {', '.join(meant)}?" if meant else message


def _properties(path: list[str | int]) -> list[str]:
    """The keys that stand beside the ``additionalProperties`` at this place of the schema."""
    here: Any = schema()
    for step in path[:-1]:
        here = here[step] if step != "$ref" else _target(here["$ref"])
    return list(here.get("properties", ()))


def _target(reference: str) -> Any:
    here: Any = schema()
    for step in reference.removeprefix("#/").split("/"):
        here = here[step]
    return here


def _unknown_codes(bundle: Bundle, settings: Any) -> Iterator[Problem]:
    """Modes and waivers of checks no rule has: misspelt, they would never be heard of again."""
    named = []
    if isinstance(settings, Mapping):
        modes, waivers = settings.get("modes"), settings.get("check_waivers")
        if isinstance(modes, Mapping):
            named += [(f"modes.{code}", code) for code in modes]
        if isinstance(waivers, list):
            named += [
                (f"check_waivers[{number}].check", waiver["check"])
                for number, waiver in enumerate(waivers)
                if isinstance(waiver, Mapping) and isinstance(waiver.get("check"), str)
            ]
    for place, code in named:
        if not any(f'"{code}"' in source for source in bundle.modules.values()):
            yield Problem(place, f"no gate has a check {code[:60]!r}")
