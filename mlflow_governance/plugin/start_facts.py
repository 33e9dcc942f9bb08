"""What a start of the registry records of its configuration: everything but the secrets."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mlflow_governance.bootstrap import ledger_signer
from mlflow_governance.custody.registry import registry_key
from mlflow_governance.plugin import compat

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from mlflow_governance.config import Settings

_SECRET = ("secret", "token", "password", "salt")
"""Fields whose values are secrets, if there are any: ``token_variable`` names a variable only."""


def configuration(settings: Settings) -> dict[str, Any]:
    """Every setting as it is in effect, a JSON value without secrets, addresses without queries."""
    return {
        name: value for name, value in _plain(settings, settings.home).items() if name != "home"
    }


def start_facts(settings: Settings, engine: Engine) -> dict[str, Any]:
    """Versions, database, keys and accounts of a server that is about to start.

    Raises:
        ConfigurationError: a key is absent or unsafe.
    """
    ledger, registry = ledger_signer(settings).key, registry_key(settings)
    return {
        "auth": settings.auth,
        "versions": {
            "mlflow": compat.mlflow_version(),
            "mlflow_governance": version("mlflow-governance"),
            "python": platform.python_version(),
        },
        "database": engine.dialect.name,
        "keys": {"ledger": ledger.encode(), "registry": registry.public.key_id},
        "checkpoints": [_name(one) for one in settings.checkpoint_options.destinations],
        "accounts": compat.basic_auth_numbers() if settings.auth == "basic" else None,
    }


def _name(destination: Any) -> str:
    return str(destination.name)


def _plain(value: Any, home: Path) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        shown = (field for field in dataclasses.fields(value) if _is_shown(field))
        return {field.name: _plain(getattr(value, field.name), home) for field in shown}
    if isinstance(value, Mapping):
        return {str(key): _plain(one, home) for key, one in value.items()}
    if isinstance(value, Path):
        # Where the home folder lies says nothing of how the registry behaves.
        return value.relative_to(home).as_posix() if value.is_relative_to(home) else str(value)
    if isinstance(value, str):
        return _without_query(value) if "://" in value else value
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_plain(one, home) for one in value]
    return value if value is None or isinstance(value, bool | int) else str(value)


def _is_shown(field: dataclasses.Field[Any]) -> bool:
    return field.repr and field.name not in _SECRET


def _without_query(address: str) -> str:
    # A query or a user name may hold a token.
    try:
        parts = urlsplit(address)
    except ValueError:
        return "an address that cannot be read"
    return parts._replace(query="", fragment="", netloc=parts.netloc.rpartition("@")[2]).geturl()
