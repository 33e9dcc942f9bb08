"""``alias``: where names like ``champion`` point, moving them, and taking a move back."""

from __future__ import annotations

import json

import click

from mlflow_governance.cli.client import AliasSwap, Document, RegistryClient
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import Conflict, NotFound

_name = click.argument("name")
_alias = click.argument("name_of_alias", metavar="ALIAS")
_reason = click.option("--reason", required=True, help="Why; it goes into the ledger.")


@click.group()
def alias() -> None:
    """Where the aliases of a model point, and pointing them elsewhere.

    Each move is asked of the alias gate. It is a swap: if somebody else moved the alias
    meanwhile, nothing happens (exit code 5). The stock client may move aliases, too.
    """


@alias.command("list")
@_name
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")
def list_(name: str, as_json: bool) -> None:
    """The aliases of model NAME, with the version each pointed at before."""
    found = RegistryClient().aliases(name)["aliases"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for row in found:
        before = f"  (before: {row['before']})" if row["before"] else ""
        click.echo(f"{row['alias']:<24} {row['version'] or 'nowhere':<8} {row['at'][:19]}{before}")
    if not found:
        click.echo(f"no alias of {name!r} is or was governed")


@alias.command("set")
@click.argument("version", metavar="NAME/VERSION")
@_alias
@_reason
def set_(version: str, name_of_alias: str, reason: str) -> None:
    """Point ALIAS at NAME/VERSION."""
    ref, client = VersionRef.parse(version), RegistryClient()
    now = _row(client, ref.name, name_of_alias)["version"]
    client.point_alias(ref.name, AliasSwap(name_of_alias, now, ref.version), reason)
    click.echo(f"{ref.name}@{name_of_alias} points at version {ref.version}")


@alias.command()
@_name
@_alias
@_reason
def rollback(name: str, name_of_alias: str, reason: str) -> None:
    """Point ALIAS of model NAME at the version it pointed at before.

    That version must still pass the alias gate. Rolling back twice returns.
    """
    client = RegistryClient()
    row = _row(client, name, name_of_alias)
    if not row["at"]:
        raise NotFound(f"{name!r} never had an alias {name_of_alias!r}")
    if row["before"] is None:
        raise Conflict(f"{name}@{name_of_alias} pointed at no version before")
    client.point_alias(name, AliasSwap(name_of_alias, row["version"], row["before"]), reason)
    click.echo(f"{name}@{name_of_alias} points at version {row['before']} again")


def _row(client: RegistryClient, name: str, name_of_alias: str) -> Document:
    nowhere: Document = {"alias": name_of_alias, "version": None, "before": None, "at": ""}
    found = client.aliases(name)["aliases"]
    return next((row for row in found if row["alias"] == name_of_alias), nowhere)
