"""GUARD: verify on the consuming side, before a byte of a model is loaded.

Everything but fetching works without the server::

    from mlflow_governance.serving import load_model
    model = load_model("models:/churn@champion")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow_governance.serving.guard import guard
    from mlflow_governance.serving.loader import load_model
    from mlflow_governance.serving.settings import ServingSettings
    from mlflow_governance.serving.verify import Verified, verify

__all__ = ["ServingSettings", "Verified", "guard", "load_model", "verify"]

_HOMES = {
    "ServingSettings": "settings",
    "Verified": "verify",
    "guard": "guard",
    "load_model": "loader",
    "verify": "verify",
}


def __getattr__(name: str) -> Any:
    # The server imports this package for the revocation list alone; the rest waits for its use.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
