"""``users``: people and roles in MLflow's basic-auth."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import click

from mlflow_governance.errors import Conflict, InvalidRequest, Unavailable

_WORKSPACE = "default"


@click.group()
def users() -> None:
    """Add people and their roles to MLflow's basic-auth.

    Roles live in MLflow; governance reads them. `security` and `product` approve and
    withdraw, `security` also restores, `evaluator` may load versions that are not released yet.
    Log in as an administrator: MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD.
    """


@users.command()
@click.argument("name")
@click.option("--role", "roles", multiple=True, help="May be given several times.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def add(name: str, roles: tuple[str, ...], password_stdin: bool) -> None:
    """Create a user, or give an existing one more roles."""
    from mlflow.exceptions import MlflowException

    client = _client()
    password = _password(password_stdin)
    try:
        try:
            client.create_user(name, password)
            click.echo(f"user {name} created")
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            click.echo(f"user {name} exists already; its password stays")
        for role in roles:
            _assign(client, name, role.strip().lower())
    except MlflowException as error:
        raise Conflict(f"MLflow refused: {error}") from error
    except OSError as error:
        raise Unavailable(f"the server does not answer: {error}") from error


@users.command()
@click.argument("name")
def remove(name: str) -> None:
    """Delete a user's login. What is kept about them stays.

    To have that erased, too: mlflow-governance privacy erase NAME --reason WHY
    """
    from mlflow.exceptions import MlflowException

    try:
        _client().delete_user(name)
    except MlflowException as error:
        raise Conflict(f"MLflow refused: {error}") from error
    except OSError as error:
        raise Unavailable(f"the server does not answer: {error}") from error
    click.echo(f"user {name} removed")


def _client() -> Any:
    uri = _tracking_uri()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages MLflow's server stands on, for its authors
        from mlflow.server.auth.client import AuthServiceClient
    return AuthServiceClient(uri)


def _assign(client: Any, name: str, role: str) -> None:
    existing = {r.name.lower(): r for r in client.list_roles(_WORKSPACE)}
    found = existing.get(role) or client.create_role(_WORKSPACE, role)
    held = {r.id for r in client.list_user_roles(name)}
    if found.id not in held:
        client.assign_role(name, found.id)
    click.echo(f"{name} has the role {role}")


def _password(from_stdin: bool) -> str:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = click.prompt("password", hide_input=True, confirmation_prompt=True)
    if len(password) < 12:
        raise InvalidRequest("MLflow asks for a password of at least 12 characters")
    return str(password)


def _tracking_uri() -> str:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri.startswith("http"):
        raise InvalidRequest(
            "no server is named", advice="export MLFLOW_TRACKING_URI=http://127.0.0.1:5000"
        )
    return uri
