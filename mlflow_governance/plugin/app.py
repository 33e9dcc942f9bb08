"""The application MLflow starts with ``--app-name governance``.

It refuses to start unless the live registry store and the artifact destination are ours:
nothing else would stop a plain registry from answering on the same database. Routes and methods
of the store that nobody has looked at are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from mlflow.server import app as mlflow_app

from mlflow_governance.errors import ConfigurationError, Denied
from mlflow_governance.plugin import compat
from mlflow_governance.plugin.accounts import AccountWatch
from mlflow_governance.plugin.artifact_guard import guard_every_repository
from mlflow_governance.plugin.ground import keep_ground
from mlflow_governance.plugin.identity import claimed_user, user_of
from mlflow_governance.plugin.methods import close_unknown
from mlflow_governance.plugin.refusals import Refusal
from mlflow_governance.plugin.registry_store import GovernedStore
from mlflow_governance.plugin.route_table import UPGRADE
from mlflow_governance.plugin.routes import (
    FlaskGate,
    Inventory,
    NativeGate,
    Route,
    close_graphql,
    flask_routes,
    native_routes,
)
from mlflow_governance.web.mount import blueprints, exact_routes
from mlflow_governance.web.services import WebServices

_log = logging.getLogger(__name__)
_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def create_app(app: Any = mlflow_app) -> Any:
    """The governed application: ASGI under uvicorn, WSGI otherwise.

    Raises:
        ConfigurationError: the server was not started as a governed one.
    """
    store = _governed_store()
    _refuse_open_destination()
    governance = store.governance
    guard_every_repository()
    keep_ground(governance)
    basic = governance.settings.auth == "basic"
    inner = compat.basic_auth_app(app) if basic else app
    services = WebServices(
        ports=governance.ports,
        actor=governance.identity.current,
        ledger=governance.ledger,
        revocations=governance.publications.revocations,
        trust=governance.publications.trust,
        evidence=governance.evidence.bundle,
        adopt=store.adopt,
        past=governance.past,
    )
    prefix = compat.static_prefix()
    for blueprint in blueprints(services, prefix):
        app.register_blueprint(blueprint)
    if basic:
        for route in exact_routes(prefix):
            if route.public:
                compat.open_route_to_everybody(route.path)
            else:
                compat.allow_route_for_everybody_logged_in(route.path, route.method)
    inventory = Inventory(prefix, people=basic)
    FlaskGate(app, inventory)
    if basic:
        AccountWatch(app, governance, inventory)
    close_unknown(type(store))
    unknown = close_graphql(inventory)
    if not compat.under_uvicorn():
        _name_in_log([*unknown, *inventory.unknown(flask_routes(app))])
        return inner
    asgi = inner if basic else compat.create_fastapi_app(app)
    routes = [*flask_routes(app), *native_routes(asgi, app)]
    _name_in_log([*unknown, *inventory.unknown(routes)])
    return ClaimedUser(NativeGate(asgi, app, inventory))


def _name_in_log(unknown: list[Route]) -> None:
    if unknown:
        names = ", ".join(sorted(map(str, unknown)))
        _log.warning("routes nobody knows are refused: %s. %s", names, UPGRADE)


def _governed_store() -> GovernedStore:
    store = compat.live_registry_store()
    if not isinstance(store, GovernedStore):
        raise ConfigurationError(
            f"the live registry store is {type(store).__name__}, not a governed one",
            advice="Start the server with: mlflow-governance server",
        )
    return store


def _refuse_open_destination() -> None:
    uri = compat.artifact_destination_uri()
    if not uri.lower().startswith(compat.PREFIX):
        raise ConfigurationError(
            f"the artifact destination {uri or 'of this server (it has none)'} is not guarded",
            advice=f"Start with --artifacts-destination {compat.PREFIX}{uri}, "
            "or use: mlflow-governance server",
        )
    compat.live_artifact_destination()
    compat.keep_experiments_inside(_refuse_outside)


def _refuse_outside(location: str) -> None:
    # MLflow opens such a location itself, past the guard, for whoever owns the experiment.
    if urlsplit(location).scheme != "mlflow-artifacts":
        raise Refusal(
            Denied(
                f"an experiment may not keep artifacts at {location[:200]!r}: nothing there "
                "would be guarded",
                advice="Create it without an artifact location.",
            )
        )


class ClaimedUser:
    """Outermost ASGI layer: remembers whom a request says it is from, for the artifact guard."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        # The first of several headers, which is the one MLflow checks the password of.
        header = next((v for k, v in scope["headers"] if k.lower() == b"authorization"), b"")
        token = claimed_user.set(user_of(header))
        try:
            await self._inner(scope, receive, send)
        finally:
            claimed_user.reset(token)
