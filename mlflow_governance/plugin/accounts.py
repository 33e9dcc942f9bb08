"""What administrators do to accounts, roles and permissions becomes a ledger entry.

MLflow keeps accounts in a database of their own, so the change and its entry cannot commit
together. A change is not begun while the ledger cannot be written, and recorded as soon as MLflow
has answered; a process killed between the two leaves a change without an entry. Each start of the
registry records how many accounts, administrators and holders of each role there are.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import flask

from mlflow_governance.errors import GovernanceError
from mlflow_governance.plugin import compat
from mlflow_governance.plugin.refusals import Refusal
from mlflow_governance.plugin.route_table import ACCOUNTS
from mlflow_governance.plugin.routes import Inventory, Route
from mlflow_governance.workflows.accounts import (
    AccountChange,
    record_account,
    record_account_refused,
    require_ledger,
)

if TYPE_CHECKING:
    from mlflow_governance.plugin.assembly import Assembly

_log = logging.getLogger(__name__)
_KEPT = (
    "role_id", "role_permission_id", "name", "workspace", "permission", "resource_type",
    "resource_pattern", "resource_id", "is_admin",
)  # fmt: skip
"""What of a request is worth a record. A password is not, nor a description."""
_LONGEST = 256
_FORBIDDEN = 403
_FAILED = 400
_SEEN = "governance_account_before"


class AccountWatch:
    """Stands around MLflow's routes for accounts in a Flask application.

    Args:
        app: the application; behind the functions that authenticate.
        governance: where entries go.
        inventory: which routes these are.
    """

    def __init__(self, app: flask.Flask, governance: Assembly, inventory: Inventory) -> None:
        self._governance, self._inventory = governance, inventory
        self._asked: dict[tuple[str, str], str] = {}
        app.before_request(self._before)
        app.after_request(self._after)

    def _before(self) -> flask.Response | None:
        if not self._name():
            return None
        try:
            require_ledger(self._governance.ports)
        except GovernanceError as error:
            return _refused(error)
        # Before: whoever deletes their own account is nobody behind it.
        setattr(flask.g, _SEEN, (self._governance.identity.current(), _look(_account())))
        return None

    def _after(self, response: flask.Response) -> flask.Response:
        asked = self._name()
        if not asked or not (response.status_code < _FAILED or response.status_code == _FORBIDDEN):
            return response  # not a change, or MLflow could not make it
        try:
            self._record(asked, allowed=response.status_code < _FAILED)
        except GovernanceError as error:
            _log.exception("%s was answered with %s", asked, response.status)
            return _refused(error)
        return response

    def _record(self, asked: str, *, allowed: bool) -> None:
        ports, account, facts = self._governance.ports, _account(), _facts()
        actor, before = flask.g.get(_SEEN) or (self._governance.identity.current(), {})
        if not allowed:
            record_account_refused(ports, actor, AccountChange(asked, account, facts))
            return
        after = _look(account)
        if asked.endswith(("/create", "/create-ui")) and account and before == after:
            return  # MLflow's page says with HTTP 200 that the name is taken
        record_account(ports, actor, AccountChange(asked, account, facts, before, after))

    def _name(self) -> str:
        rule, method = flask.request.url_rule, flask.request.method
        if rule is None or method in ("GET", "HEAD", "OPTIONS"):
            return ""
        key = (method, rule.rule)
        if key not in self._asked:
            group = self._inventory.find(Route(method, rule.rule, "mlflow"))
            told = "/".join(rule.rule.rsplit("/", 2)[1:])
            self._asked[key] = told if group is not None and group.about == ACCOUNTS else ""
        return self._asked[key]


def _refused(error: GovernanceError) -> flask.Response:
    refusal = Refusal(error)
    return flask.Response(
        refusal.serialize_as_json(), refusal.get_http_status_code(), mimetype="application/json"
    )


def _given() -> Mapping[str, Any]:
    body = flask.request.get_json(silent=True)
    found: dict[str, Any] = {**flask.request.args, **flask.request.form}
    return {**found, **(body if isinstance(body, dict) else {})}


def _account() -> str:
    name = _given().get("username", "")
    return name[:_LONGEST] if isinstance(name, str) else ""


def _facts() -> dict[str, Any]:
    given = _given()
    return {key: _plain(given[key]) for key in _KEPT if given.get(key) is not None}


def _plain(value: object) -> bool | int | str:
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**53):
        return value
    return str(value)[:_LONGEST]


def _look(account: str) -> dict[str, Any]:
    if not account:
        return {}
    found = compat.basic_auth_account(account)
    return {} if found is None else {"admin": found[0], "roles": list(found[1])}
