"""``policy rates``: what relaxed checks would have denied, and which waivers were used."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mlflow_governance.cli.history import Wanted, backend, counted, gather, print_alarms, scoped
from mlflow_governance.errors import VerificationError
from mlflow_governance.workflows.rates import Rates
from mlflow_governance.workflows.rates import rates as count
from mlflow_governance.workflows.recorded import Scope

if TYPE_CHECKING:
    from mlflow_governance.workflows.validation.books import DecisionRow


@dataclass(frozen=True)
class RatesJob:
    """``store.spread.Job``: counting."""

    scope: Scope

    def start(self) -> Callable[[Sequence[DecisionRow]], Rates]:
        """Nothing to make ready."""
        return lambda rows: count(rows, self.scope)


@click.command("rates")
@scoped
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True,
    help="How it is printed.",
)  # fmt: skip
@backend
def rates(backend_store_uri: str, form: str, **options: Any) -> None:
    """Say how often checks in warn and shadow mode would have denied.

    "Only reason" counts what nothing else denied: so many more would be denied if the check
    were enforced. Waivers are counted apart, each with the check it was used for.

    Permitted downloads leave no record: of the download gate only refusals are counted here.
    A shadow bundle sees them all: mlflow-governance policy differences

    \b
    Before a switch to enforce:  mlflow-governance policy rates --since 30d

    Exit code 3: some decisions are not as they were stored; they are named and not counted.
    """
    wanted = Wanted.from_options(backend_store_uri, options)
    found = Rates()
    gather(wanted, RatesJob(wanted.scope), found.add)
    document = {**wanted.to_document(), **found.to_document()}
    if form == "json":
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        _print(document)
    if found.corrupt:
        sys.exit(VerificationError.exit_code)


def _print(document: Mapping[str, Any]) -> None:
    since = f" since {document['since'][:16]}Z" if document["since"] else ""
    click.echo(f"{document['decisions']:,} recorded decisions{since}")
    if document["checks"]:
        click.echo(
            f"  {'gate':<9} {'check':<9} {'mode':<7} {'asked':>9} {'would deny':>11} "
            f"{'only reason':>12} {'rate':>7}  models most hit"
        )
    else:
        click.echo("  no check was in warn or shadow mode")
    for check in document["checks"]:
        click.echo(
            f"  {check['gate']:<9} {check['code']:<9} {check['mode']:<7} {check['asked']:>9,} "
            f"{check['would_deny']:>11,} {check['only_reason']:>12,} {check['rate']:>7.1%}  "
            f"{_models(check)}".rstrip()
        )
    if any(check["gate"] == "download" for check in document["checks"]):
        click.echo("  of downloads only refusals are recorded, and counted here")
    if document["waivers"]:
        click.echo(f"\n  {'waiver':<20} {'gate':<9} {'check':<9} {'used':>9}  models")
    for waiver in document["waivers"]:
        click.echo(
            f"  {waiver['waiver']:<20} {waiver['gate']:<9} {waiver['code']:<9} "
            f"{waiver['used']:>9,}  {_models(waiver)}"
        )
    print_alarms(document)


def _models(entry: Mapping[str, Any]) -> str:
    return counted((model["model"], model["decisions"]) for model in entry["models"])
