"""Every private name of MLflow this package touches, in one place.

Checked against MLflow 3.14 to 3.18 by ``make compat``. When a new minor moves one of these, this is
the file to mend.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

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

    # Before 3.17 MLflow had no such question, and refused no host.
    getattr(handlers, "validate_artifact_uri_host", str)(uri)
    return stock_repository(uri)


def tracking_location(uri: str) -> str:
    """Follow ``runs:/…`` and ``models:/m-…`` to the storage URI, through the stores."""
    from mlflow.server import handlers
    from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository
    from mlflow.utils.uri import append_to_uri_path

    if uri.startswith("runs:/"):
        run_id, path = RunsArtifactRepository.parse_runs_uri(uri)
        root = handlers._get_tracking_store().get_run(run_id).info.artifact_uri
        return str(append_to_uri_path(root, path or ""))
    if (logged := logged_model(uri)) is not None:
        location = handlers._get_tracking_store().get_logged_model(logged)
        return str(location.artifact_location)
    return uri


def named_version(uri: str) -> tuple[str, str] | None:
    """Name and version when a source is ``models:/<name>/<version>``."""
    parsed = _model_uri(uri)
    return (parsed.name, parsed.version) if parsed and parsed.name and parsed.version else None


def logged_model(uri: str) -> str | None:
    """The id when a source is ``models:/m-…``."""
    parsed = _model_uri(uri)
    return str(parsed.model_id) if parsed and parsed.model_id else None


def _model_uri(uri: str) -> Any:
    from mlflow.store.artifact.utils.models import _parse_model_uri

    # As MLflow's store takes it: a scheme is one in capitals, too.
    return _parse_model_uri(uri) if urlsplit(uri).scheme == "models" else None


def replace_source(version: Any, source: str) -> None:
    """Have a ModelVersion entity say another ``source`` than its row."""
    version._source = source


def warm_client_store(model_id: str) -> None:
    """Have MLflow's own client, which its registry store asks about logged models, ready.

    In a new workspace its first question inserts rows, on a connection of its own: inside a
    transaction of ours it would wait for itself.
    """
    from mlflow import MlflowClient
    from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES

    if MLFLOW_ENABLE_WORKSPACES.get():
        MlflowClient().get_logged_model(model_id)


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

    # Before 3.16 there was no such net, nor a function of that name.
    allow = getattr(auth, "_allow_authenticated", lambda: True)
    auth.BEFORE_REQUEST_VALIDATORS[(path, method)] = allow


def open_route_to_everybody(path: str) -> None:
    """Let a route through without a login: health and the signed revocation list."""
    from mlflow.server import auth

    auth._UNPROTECTED_PATH_PREFIXES = (*auth._UNPROTECTED_PATH_PREFIXES, path)


def basic_auth_person(username: str) -> tuple[str, bool, tuple[str, ...]]:
    """Name, admin flag and lower-case role names of a basic-auth user.

    The name as stored, not as typed: some databases take "alicé" for "alice" at the login.
    """
    from mlflow.server import auth

    user = auth.store.get_user(username)
    roles = auth.store.list_user_roles(user.id)
    # Only roles of the default workspace: whoever manages another may make roles there, and would
    # otherwise be an approver everywhere.
    names = {
        role.name.lower()
        for role in roles
        if not role.name.startswith("__") and getattr(role, "workspace", "default") == "default"
    }
    return str(user.username), bool(user.is_admin), tuple(sorted(names))


def basic_auth_account(username: str) -> tuple[bool, tuple[str, ...]] | None:
    """Admin flag and role names of an account as they are now; None where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        _, admin, roles = basic_auth_person(username)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return admin, roles


def basic_auth_numbers() -> dict[str, Any]:
    """How many accounts there are, how many are administrators, how many hold each role."""
    from mlflow.server import auth

    users = auth.store.list_users()
    held: dict[str, int] = {}
    for user in users:
        for role in basic_auth_person(user.username)[2]:
            held[role] = held.get(role, 0) + 1
    return {"accounts": len(users), "admins": sum(user.is_admin for user in users), "roles": held}


def create_fastapi_app(flask_app: Any) -> Any:
    """MLflow's FastAPI application around the Flask app."""
    from mlflow.server.fastapi_app import create_fastapi_app as create

    return create(flask_app)


def bootstrap_basic_auth() -> None:
    """Create basic-auth's tables and its first admin here, so that workers need not race."""
    from mlflow import environment_variables
    from mlflow.server import auth

    done = getattr(environment_variables, "_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED", None)
    if done is not None:
        auth.bootstrap_admin_user()
        os.environ[done.name] = "true"
        return
    # Before 3.16 every worker does this again, and finds it done.
    settings = auth.auth_config
    auth.store.init_db(settings.database_uri, read_db_uri=settings.read_database_uri)
    auth.create_admin_user(settings.admin_username, settings.admin_password)


def wants_admin_password_in_file() -> bool:
    """True when MLflow, before 3.16, knows the first admin's password from its file alone."""
    from mlflow import environment_variables

    return not hasattr(environment_variables, "_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED")


def mlflow_version() -> str:
    """MLflow's own version."""
    from mlflow.version import VERSION

    return str(VERSION)


def in_governed_server() -> bool:
    """True in the processes of a governed server, which have gates of their own."""
    return os.environ.get("_MLFLOW_SERVER_REGISTRY_STORE", "").lower().startswith(PREFIX)


def is_logged_model(uri: str) -> bool:
    """True for ``models:/m-…``, which names no registered version.

    Raises:
        MlflowException: it is no ``models:/`` URI at all.
    """
    from mlflow.store.artifact.utils.models import _parse_model_uri

    return _parse_model_uri(uri).model_id is not None


def resolve_model_uris_by(resolver: Callable[[str], str | None]) -> None:
    """Ask ``resolver`` before MLflow follows a ``models:/`` URI to the storage behind it.

    ``transformers``, ``sentence_transformers`` and a few other loaders read MLmodel from there,
    past the repository. What the resolver returns is used instead, unless it is None.
    """
    from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository

    follow = ModelsArtifactRepository.get_underlying_uri
    if getattr(follow, "asks_first", False):
        return

    @functools.wraps(follow)
    def checked(uri: str) -> Any:
        found = resolver(str(uri))
        return follow(uri) if found is None else found

    checked.asks_first = True  # type: ignore[attr-defined]
    ModelsArtifactRepository.get_underlying_uri = staticmethod(checked)


def stock_repository(uri: str, **options: Any) -> ArtifactRepository:
    """A repository as MLflow itself opens it, without a guard before it."""
    from mlflow.store.artifact import artifact_repository_registry as registry

    known = registry._artifact_repository_registry
    opened: ArtifactRepository = type(known).get_artifact_repository(known, uri, **options)
    return opened


def wrap_repositories(wrap: Callable[[str, Any], Any]) -> None:
    """Have every repository MLflow opens in this process pass through ``wrap(uri, repository)``.

    On the one registry all of MLflow's code asks, whatever name it imported it under.
    """
    from mlflow.store.artifact import artifact_repository_registry as registry

    def opened(uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> Any:
        given = {"tracking_uri": tracking_uri, "registry_uri": registry_uri}
        return wrap(uri, stock_repository(uri, **given))

    registry._artifact_repository_registry.get_artifact_repository = opened


def in_workspace(name: str) -> AbstractContextManager[Any]:
    """Have MLflow resolve addresses as for a request in this workspace, where it has any.

    For processes beside the server, which nobody told whether it has.
    """
    from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
    from mlflow.utils.workspace_context import WorkspaceContext
    from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME

    if name != DEFAULT_WORKSPACE_NAME:
        MLFLOW_ENABLE_WORKSPACES.set(True)
    if not MLFLOW_ENABLE_WORKSPACES.get():
        return nullcontext()
    context: AbstractContextManager[Any] = WorkspaceContext(name)
    return context


def live_tracking_store() -> Any:
    """The tracking store the running server uses."""
    from mlflow.server import handlers

    return handlers._get_tracking_store()


def live_workspace_store() -> Any | None:
    """The store of workspaces the running server uses; None without workspaces."""
    from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
    from mlflow.server import handlers

    return handlers._get_workspace_store() if MLFLOW_ENABLE_WORKSPACES.get() else None


DELETIONS = {
    "delete_run": "run",
    "_hard_delete_run": "run",
    "delete_experiment": "experiment",
    "_hard_delete_experiment": "experiment",
    "delete_logged_model": "logged model",
    "_hard_delete_logged_model": "logged model",
}
"""Every method of a tracking store that deletes what artifacts belong to, and what it deletes."""


def artifact_uri_of(kind: str, identifier: str) -> str | None:
    """Where a run, experiment or logged model keeps its artifacts; None when there is none."""
    from mlflow.exceptions import MlflowException

    store = live_tracking_store()
    try:
        if kind == "run":
            return str(store.get_run(identifier).info.artifact_uri)
        if kind == "experiment":
            return str(store.get_experiment(identifier).artifact_location)
        return str(store.get_logged_model(identifier, allow_deleted=True).artifact_location)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def bring_back(kind: str, identifier: str) -> None:
    """Undo the deletion of a run, experiment or logged model."""
    store = live_tracking_store()
    if kind == "run":
        store.restore_run(identifier)
    elif kind == "experiment":
        store.restore_experiment(identifier)
    else:
        from mlflow.store.tracking.dbmodels.models import SqlLoggedModel

        with store.ManagedSessionMaker(read_only=False) as session:
            session.get(SqlLoggedModel, identifier).lifecycle_stage = "active"


def registered_from(kind: str, identifier: str) -> list[tuple[str, str, int]]:
    """Workspace, name and version of every model version whose source names a run or model."""
    from mlflow.store.model_registry.dbmodels.models import SqlModelVersion as Row
    from sqlalchemy import or_, select

    word = {"run": "runs", "logged model": "models"}.get(kind)
    if word is None:
        return []
    start = f"{word}:/{identifier}"
    named = or_(Row.source == start, Row.source.startswith(start + "/", autoescape=True))
    query = select(Row.workspace, Row.name, Row.version).where(named)
    store: Any = live_registry_store()
    with store.ManagedSessionMaker() as session:
        return [tuple(row) for row in session.execute(query)]


@dataclass(frozen=True)
class NativeRoute:
    """A route of FastAPI or Starlette, however its router keeps it.

    Args:
        kind: ``http``, ``websocket`` or ``mount``.
        path: its template, with every prefix.
        methods: of ``http``.
        handler: the function that answers, or the mounted application.
        matches: the router's own question: does this scope belong to it?
    """

    kind: str
    path: str
    methods: frozenset[str]
    handler: Any
    matches: Callable[[dict[str, Any]], tuple[Any, Any]]

    def takes(self, scope: dict[str, Any]) -> bool:
        """True when the router would stop here."""
        from starlette.routing import Match

        return bool(self.matches(scope)[0] is Match.FULL)


def native_routes(fastapi_app: Any) -> Iterator[NativeRoute]:
    """Every route of a FastAPI application, in the order its router asks them.

    What routers call "low priority" is left out: it comes after the catch-all mount of Flask.
    """
    for route in _flat(fastapi_app.router.routes):
        endpoint = getattr(route, "endpoint", None)
        methods = frozenset(getattr(route, "methods", None) or ())
        kind = "mount" if endpoint is None else "http" if methods else "websocket"
        handler = getattr(route, "app", None) if endpoint is None else endpoint
        yield NativeRoute(kind, getattr(route, "path", None) or "", methods, handler, route.matches)


def _flat(routes: Any) -> Iterable[Any]:
    try:
        from fastapi.routing import iter_route_contexts
    except ImportError:  # an older FastAPI copies routes when a router is included
        return list(routes)
    return iter_route_contexts(routes)


def native_route_objects(fastapi_app: Any) -> list[int]:
    """Identities of every route object, those of included routers too; cheap to compare."""

    def walk(routes: Iterable[Any]) -> Iterator[int]:
        for route in routes:
            yield id(route)
            included = getattr(route, "original_router", None)
            if included is not None:
                yield from walk(included.routes)

    return list(walk(fastapi_app.router.routes))


def bridged(mounted: Any) -> Any:
    """The WSGI application behind MLflow's bridge; None for anything else."""
    if type(mounted).__module__.partition(".")[0] not in ("mlflow", "starlette"):
        return None
    return getattr(mounted, "app", None)


def graphql_roots() -> dict[str, dict[str, Any]]:
    """The schema's own tables of fields that a query and a mutation may start from."""
    from mlflow.server.graphql.graphql_schema_extensions import schema

    made = schema.graphql_schema
    roots = {
        "QUERY": made.query_type,
        "MUTATION": made.mutation_type,
        "SUBSCRIPTION": made.subscription_type,
    }
    return {kind: root.fields for kind, root in roots.items() if root is not None}


def local_folder(uri: str) -> Path | None:
    """Where a URI is on the server's own disk; None when it is not there."""
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    return Path(local_file_uri_to_path(uri)) if is_local_uri(uri) else None
