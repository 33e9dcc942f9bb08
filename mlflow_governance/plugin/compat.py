"""Every private name of MLflow this package touches, in one place.

Checked against MLflow 3.17. When a new minor moves one of these, this is the file to mend.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from mlflow_governance.errors import ConfigurationError

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.store.model_registry.abstract_store import AbstractStore

PREFIX = "governance+"
IS_PROMPT_TAG = "mlflow.prompt.is_prompt"
DELETED_STAGE = "Deleted_Internal"


class ManagedSessionMaker(Protocol):
    """MLflow's session factory: commits at exit, rolls back on any exception."""

    def __call__(self, read_only: bool = True) -> AbstractContextManager[Any]:
        """Open a session."""


def plain_uri(governed: str) -> str:
    """``governance+sqlite:///x`` without the prefix.

    Raises:
        ConfigurationError: it is not a governed URI.
    """
    if not governed.lower().startswith(PREFIX):
        raise ConfigurationError(
            f"not a governed URI: {governed.split('@')[-1]}",
            advice="Start the server with: mlflow-governance server",
        )
    return governed[len(PREFIX) :]


def under_uvicorn() -> bool:
    """True when the app factory must return ASGI."""
    from mlflow.environment_variables import _MLFLOW_SGI_NAME

    return bool(_MLFLOW_SGI_NAME.get() == "uvicorn")


def live_registry_store() -> AbstractStore:
    """The registry store the running server uses."""
    from mlflow.server import handlers

    return handlers._get_model_registry_store()


def live_artifact_destination() -> ArtifactRepository | None:
    """The artifact repository behind the server's proxy; None when it proxies nothing."""
    from mlflow.server import ARTIFACTS_DESTINATION_ENV_VAR, handlers

    if ARTIFACTS_DESTINATION_ENV_VAR not in os.environ:
        return None
    return handlers._get_artifact_repo_mlflow_artifacts()


def artifact_destination_uri() -> str:
    """``--artifacts-destination`` as the server was started with; empty when it has none."""
    from mlflow.server import ARTIFACTS_DESTINATION_ENV_VAR

    return os.environ.get(ARTIFACTS_DESTINATION_ENV_VAR, "")


def proxied_path(uri: str) -> str | None:
    """The path below the artifact destination a proxied URI names; None if not proxied."""
    from mlflow.server import handlers

    if not handlers._is_servable_proxied_run_artifact_root(uri):
        return None
    path = handlers._get_proxied_run_artifact_destination_path(uri)
    return str(handlers._get_workspace_scoped_repo_path_if_enabled(path))


def direct_repository(uri: str) -> ArtifactRepository:
    """A repository for storage the server does not proxy; MLflow refuses foreign hosts."""
    from mlflow.server import handlers

    return handlers._get_artifact_repository_for_uri(uri)


def tracking_location(uri: str) -> str:
    """Follow ``runs:/…`` and ``models:/m-…`` to the storage URI, through the stores."""
    from mlflow.server import handlers
    from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository
    from mlflow.store.artifact.utils.models import _parse_model_uri
    from mlflow.utils.uri import append_to_uri_path

    if uri.startswith("runs:/"):
        run_id, path = RunsArtifactRepository.parse_runs_uri(uri)
        root = handlers._get_tracking_store().get_run(run_id).info.artifact_uri
        return str(append_to_uri_path(root, path or ""))
    if uri.startswith("models:/"):
        parsed = _parse_model_uri(uri)
        if parsed.model_id:
            location = handlers._get_tracking_store().get_logged_model(parsed.model_id)
            return str(location.artifact_location)
    return uri


def named_version(uri: str) -> tuple[str, str] | None:
    """Name and version when a source is ``models:/<name>/<version>``."""
    from mlflow.store.artifact.utils.models import _parse_model_uri

    if not uri.startswith("models:/"):
        return None
    parsed = _parse_model_uri(uri)
    return (parsed.name, parsed.version) if parsed.name and parsed.version else None


def static_prefix() -> str:
    """MLflow's ``--static-prefix``, without a slash at its end."""
    from mlflow.server import handlers

    return str(handlers._add_static_prefix("/")).rstrip("/")


def keep_experiments_inside(check: Callable[[str], None]) -> None:
    """Have ``check`` see every artifact location an experiment of this process is created with.

    On the store itself, so that no spelling of a request gets around it.
    """
    from mlflow.server import handlers

    store = handlers._get_tracking_store()
    create = store.create_experiment

    @functools.wraps(create)
    def checked(name: str, artifact_location: str | None = None, *rest: Any, **more: Any) -> Any:
        if artifact_location:
            check(artifact_location)
        return create(name, artifact_location, *rest, **more)

    store.create_experiment = checked


def basic_auth_app(flask_app: Any) -> Any:
    """MLflow's basic-auth around the Flask app (ASGI under uvicorn)."""
    from mlflow.server import auth

    return auth.create_app(flask_app)


def allow_route_for_everybody_logged_in(path: str, method: str) -> None:
    """Tell basic-auth's fail-closed net that we decide about this route ourselves."""
    from mlflow.server import auth

    auth.BEFORE_REQUEST_VALIDATORS[(path, method)] = auth._allow_authenticated


def open_route_to_everybody(path: str) -> None:
    """Let a route through without a login: health and the signed revocation list."""
    from mlflow.server import auth

    auth._UNPROTECTED_PATH_PREFIXES = (*auth._UNPROTECTED_PATH_PREFIXES, path)


def basic_auth_person(username: str) -> tuple[bool, tuple[str, ...]]:
    """Admin flag and lower-case role names of a basic-auth user."""
    from mlflow.server import auth

    user = auth.store.get_user(username)
    roles = auth.store.list_user_roles(user.id)
    names = {role.name.lower() for role in roles if not role.name.startswith("__")}
    return bool(user.is_admin), tuple(sorted(names))


def create_fastapi_app(flask_app: Any) -> Any:
    """MLflow's FastAPI application around the Flask app."""
    from mlflow.server.fastapi_app import create_fastapi_app as create

    return create(flask_app)


def bootstrap_basic_auth() -> None:
    """Create basic-auth's tables and its first admin here, so that workers need not race."""
    from mlflow.environment_variables import _MLFLOW_AUTH_ADMIN_BOOTSTRAPPED
    from mlflow.server.auth import bootstrap_admin_user

    bootstrap_admin_user()
    os.environ[_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED.name] = "true"
