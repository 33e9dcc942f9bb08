"""What is done to accounts is told: by whom, to whom, with what before and after."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flask
import pytest
from mlflow.server import app as mlflow_app

from mlflow_governance.core import canonical
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.event import Act
from mlflow_governance.errors import Unavailable
from mlflow_governance.ledger.entry import opens
from mlflow_governance.plugin import compat
from mlflow_governance.plugin.accounts import AccountWatch
from mlflow_governance.plugin.route_table import ACCOUNTS
from mlflow_governance.plugin.routes import Inventory, Route
from mlflow_governance.store.events import event_body
from mlflow_governance.workflows.repeats import FIRST
from tests.unit.workflows.builders import InProcessRegistry

API = "/api/2.0/mlflow/users/"
ROLES = "/api/3.0/mlflow/roles/"
SECRET = "correct horse battery staple"


@dataclass
class People:
    """MLflow's basic-auth: accounts with admin flag and roles; only ``root`` may change them."""

    known: dict[str, tuple[bool, tuple[str, ...]]] = field(default_factory=dict)

    def look(self, name: str) -> tuple[bool, tuple[str, ...]] | None:
        return self.known.get(name)

    def app(self) -> flask.Flask:  # noqa: C901  (a view each)
        app = flask.Flask("mlflow.server")

        @app.before_request
        def authenticate() -> Any:
            flask.g.mlflow_authenticated_user = flask.request.headers.get("user", "root")
            if flask.request.method != "GET" and flask.g.mlflow_authenticated_user != "root":
                return flask.Response("Permission denied", 403)
            return None

        def named() -> Any:
            return flask.request.get_json()["username"]

        def create() -> Any:
            if named() in self.known:
                return flask.Response("taken", 400)
            self.known[named()] = (False, ())
            return {}

        def create_ui() -> Any:
            self.known.setdefault(flask.request.form["username"], (False, ()))
            return "<html>"

        def admin() -> Any:
            self.known[named()] = (flask.request.get_json()["is_admin"], ())
            return {}

        def assign() -> Any:
            self.known[named()] = (False, ("security",))
            return {}

        def delete() -> Any:
            del self.known[named()]
            return {}

        for method, path, view in (
            ("POST", API + "create", create),
            ("POST", API + "create-ui", create_ui),
            ("PATCH", API + "update-admin", admin),
            ("PATCH", API + "update-password", lambda: {}),
            ("DELETE", API + "delete", delete),
            ("GET", API + "get", lambda: {}),
            ("POST", ROLES + "assign", assign),
            ("POST", ROLES + "permissions/add", lambda: {}),
        ):
            app.add_url_rule(path, path, view, methods=[method])
        return app


class Told:
    """A registry whose administrators are watched."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.registry = InProcessRegistry(folder)
        self.people = People({"root": (True, ())})
        monkeypatch.setattr(compat, "basic_auth_account", self.people.look)

        def current() -> Actor:
            return Actor(flask.g.mlflow_authenticated_user, (), authenticated=True)

        self.governance: Any = SimpleNamespace(
            ports=self.registry.ports, identity=SimpleNamespace(current=current)
        )
        app = self.people.app()
        AccountWatch(app, self.governance, Inventory())
        self.client = app.test_client()

    def entries(self) -> list[dict[str, Any]]:
        with self.registry.ports.store.read() as reading:
            found = reading.entries_of([Act.ACCOUNT_CHANGED])
        return [canonical.decode_object(data) for _, data in found]

    def name(self, commitment: str) -> str:
        with self.registry.ports.store.read() as reading:
            salt, name = reading.sealed([commitment])[commitment]
        assert opens(commitment, salt, name)
        return name


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(tmp_path, monkeypatch)


def test_each_change_is_an_entry_with_before_and_after_and_no_name(told: Told) -> None:
    ann = {"username": "ann@example.org"}
    told.client.post(API + "create", json={**ann, "password": SECRET})
    told.client.patch(API + "update-password", json={**ann, "password": SECRET})
    told.client.patch(API + "update-admin", json={**ann, "is_admin": True})
    told.client.post(ROLES + "assign", json={**ann, "role_id": 3})
    told.client.delete(API + "delete", json=ann)

    entries = told.entries()
    nobody, plain = {}, {"admin": False, "roles": []}
    admin, security = {"admin": True, "roles": []}, {"admin": False, "roles": ["security"]}
    assert [(e["facts"]["asked"], e["before"], e["after"]) for e in entries] == [
        ("users/create", nobody, plain),
        ("users/update-password", plain, plain),
        ("users/update-admin", plain, admin),
        ("roles/assign", admin, security),
        ("users/delete", security, nobody),
    ]
    assert all(entry["allowed"] for entry in entries)
    assert {told.name(entry["facts"]["account"]) for entry in entries} == {"ann@example.org"}
    assert {told.name(entry["actor"]) for entry in entries} == {"root"}
    assert entries[3]["facts"]["role_id"] == 3
    everything = b"".join(data for _, data in told.registry.ledger.entries())
    assert b"ann@" not in everything
    assert b"horse" not in everything


def test_what_leaves_the_registry_names_the_account(told: Told) -> None:
    told.client.post(API + "create", json={"username": "ann", "password": SECRET})

    with told.registry.sessions.engine.connect() as connection:
        body = event_body(connection, 0)
    assert canonical.decode_object(body)["facts"]["account"] == "ann"


def test_what_is_refused_is_told_and_a_loop_of_it_summed_up(told: Told) -> None:
    for _ in range(10):
        answer = told.client.patch(
            API + "update-admin",
            json={"username": "eve", "is_admin": True},
            headers={"user": "eve"},
        )
        assert answer.status_code == 403

    entries = told.entries()
    assert [entry["allowed"] for entry in entries] == [False] * FIRST
    assert {told.name(entry["actor"]) for entry in entries} == {"eve"}
    assert {told.name(entry["facts"]["account"]) for entry in entries} == {"eve"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (API + "get", None),
        (API + "create", {"username": "root", "password": SECRET}),
    ],
)
def test_what_changes_nothing_is_no_entry(told: Told, path: str, body: Any) -> None:
    told.client.get(path) if body is None else told.client.post(path, json=body)
    told.client.post(API + "create-ui", data={"username": "root", "password": SECRET})

    assert told.entries() == []


def test_the_sign_up_page_is_told_too(told: Told) -> None:
    told.client.post(API + "create-ui", data={"username": "new", "password": SECRET})

    (entry,) = told.entries()
    assert told.name(entry["facts"]["account"]) == "new"


def test_nothing_is_changed_while_the_ledger_cannot_be_written(told: Told) -> None:
    class Away:
        def begin(self) -> Any:
            raise Unavailable("the database does not answer")

    told.governance.ports = replace(told.registry.ports, store=Away())
    answer = told.client.post(API + "create", json={"username": "ann", "password": SECRET})

    assert answer.status_code == 503
    assert "ann" not in told.people.known


def test_a_permission_of_a_role_is_told_without_an_account(told: Told) -> None:
    grant = {"role_id": 1, "resource_type": "registered_model", "resource_pattern": "*",
             "permission": "MANAGE", "password": SECRET, "description": "x"}  # fmt: skip
    told.client.post(ROLES + "permissions/add", json=grant)

    (entry,) = told.entries()
    assert entry["facts"] == {
        "asked": "permissions/add", "role_id": 1, "resource_type": "registered_model",
        "resource_pattern": "*", "permission": "MANAGE",
    }  # fmt: skip


@pytest.mark.parametrize(
    "body", [[], "x", {"username": ["ann"]}, {"username": "a" * 10_000, "role_id": 10**30}]
)
def test_a_strange_request_is_told_within_bounds(told: Told, body: Any) -> None:
    answer = told.client.post(ROLES + "permissions/add", json=body)

    assert answer.status_code == 200
    assert len(str(told.entries()[0])) < 2000


@pytest.mark.filterwarnings("ignore:starlette.middleware.wsgi is deprecated")
def test_no_route_for_accounts_gets_past_the_watch() -> None:
    inventory = Inventory()
    native = compat.native_routes(compat.create_fastapi_app(mlflow_app))
    found = [
        inventory.find(Route(method, route.path, "mlflow"))
        for route in native
        if route.kind == "http"
        for method in route.methods
    ]

    assert found
    assert not any(group is not None and group.about == ACCOUNTS for group in found)
