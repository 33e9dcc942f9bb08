"""Who asks, from the authentication app that stands in front of MLflow."""

from __future__ import annotations

import base64
import binascii
import time
from contextvars import ContextVar

import flask

from mlflow_governance.core.actor import Actor
from mlflow_governance.plugin import compat

_ROLE_SECONDS = 5.0
"""How long roles may be reused for downloads. Approvals and withdrawals read them afresh."""

claimed_user: ContextVar[str | None] = ContextVar("governance_claimed_user", default=None)
"""The user a request *says* it is, for artifact routes that never enter Flask. MLflow's own
middleware checks the password before such a route runs, so a false claim reaches nothing."""


class Identity:
    """Names the actor of the request being served.

    Args:
        auth: ``basic`` or ``none``, as configured.
    """

    def __init__(self, auth: str) -> None:
        self._auth = auth
        self._roles: dict[str, tuple[float, Actor]] = {}

    def current(self, *, fresh: bool = True) -> Actor:
        """The actor; anonymous when the server authenticates nobody.

        Args:
            fresh: read roles now; False allows those of the last seconds.
        """
        if self._auth == "none":
            return Actor.anonymous()
        name = self._name()
        if name is None:
            return Actor.anonymous()
        known = self._roles.get(name)
        if not fresh and known is not None and known[0] > time.monotonic():
            return known[1]
        stored, admin, roles = compat.basic_auth_person(name)
        actor = Actor(stored, roles, admin, authenticated=True)
        if len(self._roles) > 10_000:
            self._roles.clear()
        self._roles[name] = (time.monotonic() + _ROLE_SECONDS, actor)
        return actor

    @staticmethod
    def _name() -> str | None:
        if flask.has_request_context():
            user = flask.g.get("mlflow_authenticated_user")
            return str(user) if user else None
        return claimed_user.get()


def user_of(header: bytes) -> str | None:
    """The user name in a Basic ``Authorization`` header; None when there is none."""
    scheme, _, credentials = header.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, _, _ = base64.b64decode(credentials.strip(), validate=True).partition(b":")
        return user.decode("ascii") or None
    except (binascii.Error, UnicodeDecodeError):
        return None
