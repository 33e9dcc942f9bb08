"""``policy``: check, test and ask the policy bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from mlflow_governance import config
from mlflow_governance.cli import policy_bundle, policy_change, policy_log
from mlflow_governance.cli.policy_differences import differences
from mlflow_governance.cli.policy_explain import explain_command
from mlflow_governance.cli.policy_rates import rates
from mlflow_governance.cli.policy_replay import replay
from mlflow_governance.core.dossier import Gate
from mlflow_governance.errors import InvalidRequest

if TYPE_CHECKING:
    from mlflow_governance.policy.bundle import Bundle

_bundle = click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True),
    help="Folder or .tar.gz; default: the one of the home folder, else the one that ships.",
)
_home = click.option("--home", default=None, help="Home folder of the installation.")


@click.group()
def policy() -> None:
    """Check, ask, build and sign the policy bundle that decides about versions."""


@policy.command()
@_bundle
@_home
def check(bundle: Path | None, home: str | None) -> None:
    """Compile the bundle, lint it for portability, and see that it denies an empty input."""
    from mlflow_governance.policy.embedded import EmbeddedEngine
    from mlflow_governance.policy.lint import lint

    loaded = _load(bundle, home)
    problems = lint(loaded)
    for problem in problems:
        click.echo(str(problem))
    engine = EmbeddedEngine(loaded)
    if problems:
        raise InvalidRequest(f"{len(problems)} portability problems")
    click.echo(f"the bundle is usable: {loaded.digest} on {engine.name}")


@policy.command()
@click.argument("gate", type=click.Choice([gate.value for gate in Gate]))
@click.argument("dossier", type=click.File("rb"))
@_bundle
@_home
def ask(gate: str, dossier: BinaryIO, bundle: Path | None, home: str | None) -> None:
    """Evaluate a GATE for a dossier document (JSON file, - for standard input)."""
    from mlflow_governance.core import canonical
    from mlflow_governance.policy.embedded import EmbeddedEngine

    document = canonical.encode(canonical.decode_object(dossier.read()))
    engine = EmbeddedEngine(_load(bundle, home))
    click.echo(json.dumps(engine.evaluate(Gate(gate), document), indent=2, sort_keys=True))


def _load(bundle: Path | None, home: str | None) -> Bundle:
    from mlflow_governance import bootstrap
    from mlflow_governance.policy import bundle as bundles

    if bundle is not None:
        return bundles.load(bundle)
    return bootstrap.load_bundle(config.load(config.home_folder(home)))


for _command in (*policy_bundle.COMMANDS, *policy_change.COMMANDS, policy_log.log):
    policy.add_command(_command)
for _command in (replay, explain_command, rates, differences):
    policy.add_command(_command)
