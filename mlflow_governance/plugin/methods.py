"""Every public method of MLflow's registry store, and who decides about it.

A method that MLflow adds later is in none of these groups. It is refused when it is called: it
might change the registry, or tell where bytes are, past everything ``GovernedStore`` overrides.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from typing import Any, NoReturn

from mlflow_governance.errors import Denied
from mlflow_governance.plugin.refusals import Refusal
from mlflow_governance.plugin.route_table import UPGRADE

_log = logging.getLogger(__name__)

GOVERNED = frozenset(
    {
        "create_model_version",
        "create_registered_model",
        "create_webhook",
        "delete_model_version",
        "delete_model_version_tag",
        "delete_registered_model",
        "delete_registered_model_alias",
        "delete_registered_model_tag",
        "delete_webhook",
        "get_latest_versions",
        "get_model_version_download_uri",
        "rename_registered_model",
        "set_model_version_tag",
        "set_registered_model_alias",
        "set_registered_model_tag",
        "transition_model_version_stage",
        "update_webhook",
    }
)
"""Overridden. What moves a version, an alias, a name or a webhook is in the ledger; tags outside
our name space and new, empty models are not, and ``get_latest_versions`` only tells."""

COMPOSED = frozenset(
    {
        "copy_model_version",
        "create_prompt",
        "create_prompt_version",
        "delete_prompt",
        "delete_prompt_alias",
        "delete_prompt_tag",
        "delete_prompt_version",
        "delete_prompt_version_tag",
        "set_prompt_alias",
        "set_prompt_tag",
        "set_prompt_version_tag",
    }
)
"""Made by MLflow of governed methods alone; the test looks into them."""

READ = frozenset(
    {
        "get_model_version",
        "get_model_version_by_alias",
        "get_prompt",
        "get_prompt_version",
        "get_prompt_version_by_alias",
        "get_registered_model",
        "get_webhook",
        "list_webhooks",
        "list_webhooks_by_event",
        "search_model_versions",
        "search_prompt_versions",
        "search_prompts",
        "search_registered_models",
        "supports_workspaces",
    }
)
"""Tell of the registry and hand out no bytes; ``GovernedStore`` may leave something out."""

DESCRIPTIVE = frozenset({"update_model_version", "update_registered_model"})
"""Change a description, and nothing that a gate reads; the reply may leave something out."""

BESIDE = frozenset(
    {
        "link_prompt_version_to_model",
        "link_prompt_version_to_run",
        "link_prompts_to_trace",
        "test_webhook",
    }
)
"""A try of a webhook, and notes on runs and traces which prompt they used."""

KNOWN = GOVERNED | COMPOSED | READ | DESCRIPTIVE | BESIDE


def close_unknown(store: type) -> list[str]:
    """Refuse, on this class, every public method of MLflow that nobody has looked at.

    Returns:
        The names of those methods, which stand in the log; none the second time.
    """
    names = sorted(unknown(store))
    if names:
        _log.warning("methods of MLflow's registry nobody knows are refused: %s", ", ".join(names))
    for name in names:
        if isinstance(_defined(store, name), property):
            setattr(store, name, property(functools.partial(_refuse, name=name)))
        else:
            setattr(store, name, functools.partialmethod(_refuse, name))
    return names


def unknown(store: type) -> Iterator[str]:
    """Public methods and properties that a store has from MLflow and that are not classified."""
    for name in dir(store):
        if name.startswith("_") or name in KNOWN or _is_ours(store, name):
            continue
        found = _defined(store, name)
        if callable(found) or isinstance(found, property | classmethod | staticmethod):
            yield name


def _is_ours(store: type, name: str) -> bool:
    owner = next(kind for kind in store.__mro__ if name in vars(kind))
    return owner.__module__.partition(".")[0] == __name__.partition(".")[0]


def _defined(store: type, name: str) -> Any:
    return next(vars(kind)[name] for kind in store.__mro__ if name in vars(kind))


def _refuse(store: object, name: str, *_: object, **__: object) -> NoReturn:
    raise Refusal(
        Denied(
            f"this governed registry does not know the method {name}: nobody has looked at what "
            "it changes",
            advice=UPGRADE,
        )
    )
