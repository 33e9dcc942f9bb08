"""Entry points. Nothing heavy is imported here.

MLflow loads tracking-store entry points while ``mlflow.tracking`` is still being imported; a
module that imports MLflow's stores at its top would silently lose its scheme.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository
    from mlflow.store.model_registry.abstract_store import AbstractStore


def registry_store(store_uri: str) -> AbstractStore:
    """The governed registry store for ``governance+<database URI>``."""
    from mlflow_governance.plugin.methods import close_unknown
    from mlflow_governance.plugin.registry_store import build

    store = build(store_uri)
    close_unknown(type(store))
    return store


def artifact_guard(
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> ArtifactRepository:
    """The guarded artifact destination for ``governance+<artifact URI>``."""
    from mlflow_governance.plugin.artifact_guard import build

    options: dict[str, Any] = {"tracking_uri": tracking_uri, "registry_uri": registry_uri}
    return build(artifact_uri, options)


def __getattr__(name: str) -> Any:
    # MLflow takes ``models`` when its table of repositories is being made, before any loader runs:
    # the moment to close the short cuts some loaders have around that table.
    if name != "models":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mlflow_governance.plugin import compat

    compat.resolve_model_uris_by(_unresolved)
    return _models


def _unresolved(uri: str) -> str | None:
    if not os.environ.get("MLFLOW_GOVERNANCE_TRUST"):
        return None
    from mlflow_governance.plugin.models_repository import unresolved

    return unresolved(uri)


def _models(
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> ModelsArtifactRepository:
    """The repository for ``models:/…`` on a host that loads models."""
    from mlflow_governance.plugin.models_repository import build

    return build(artifact_uri, {"tracking_uri": tracking_uri, "registry_uri": registry_uri})
