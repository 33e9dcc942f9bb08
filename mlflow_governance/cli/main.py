"""``mlflow-governance``: the command group, loaded lazily so that ``--help`` answers at once."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from typing import NoReturn

import click

from mlflow_governance.errors import GovernanceError, InvalidRequest

_log = logging.getLogger(__name__)

# Command name → module, attribute, one line of help.
_COMMANDS: dict[str, tuple[str, str, str]] = {
    "server": ("serve", "server", "Start a governed MLflow server."),
    "worker": ("serve", "worker", "Run another worker beside a server."),
    "doctor": ("doctor", "doctor", "Say what is configured, active and missing."),
    "users": ("users", "users", "Add people and their roles to MLflow's basic-auth."),
    "keys": ("keys", "keys", "Make signing keys; change the ledger's."),
    "trust": ("trust", "trust", "Say who may sign what."),
    "card": ("card", "card", "Begin, check, show and exchange model cards."),
    "submit": ("submit", "submit", "Sign, describe and register a model."),
    "sign": ("sign", "sign", "Add your signature where several must sign."),
    "manifest": ("manifest", "manifest", "Write what a signature of a model is over."),
    "attest": ("attest", "attest", "Sign a result and attach it to a version."),
    "show": ("decide", "show", "Show a version: stage, failed checks, approvals, evidence."),
    "judge": ("decide", "judge", "Judge a version again, under the policy of now."),
    "approve": ("decide", "approve", "Approve (or reject) a version for your role."),
    "revoke": ("decide", "revoke", "Revoke a version and its content for ever."),
    "quarantine": ("decide", "quarantine", "Block a version while it is investigated."),
    "restore": ("decide", "restore", "Return a quarantined version to its stage."),
    "alias": ("alias", "alias", "Where aliases point; move them, and take a move back."),
    "history": ("decide", "history", "What happened to a version, from the ledger."),
    "explain": ("explain", "explain_command", "Why it was decided so, proved and made again."),
    "as-of": ("as_of", "as_of_command", "What stood where at an instant, proved."),
    "guard": ("guard", "guard", "Verify a model, then run a serving command on it."),
    "evidence": ("evidence", "evidence", "One archive for an auditor: a version or a period."),
    "privacy": ("privacy", "privacy", "Show or erase what is kept about a person."),
    "ledger": ("ledger", "ledger", "Verify the ledger and prove entries."),
    "witness": ("witness", "witness", "Vouch for ledgers of others."),
    "retention": ("retention", "retention", "How long the record is kept; letting old entries go."),
    "validate": ("validate", "validate", "Compare registry, files and ledger."),
    "advisories": ("advisories", "advisories", "Take in advisories; judge again by them."),
    "outbox": ("outbox", "outbox", "What still has to be told, and telling it again."),
    "policy": ("policy", "policy", "Write, check, test and try the policy bundle."),
}


class LazyGroup(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, _: click.Context) -> list[str]:
        """The commands, in the order a reader needs them."""
        return list(_COMMANDS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        """The command, imported now."""
        if name not in _COMMANDS:
            return None
        module, attribute, _help = _COMMANDS[name]
        loaded = importlib.import_module(f"mlflow_governance.cli.{module}")
        command: click.Command = getattr(loaded, attribute)
        return command

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mlflow-governance")
@click.option("--verbose", is_flag=True, help="Log what happens inside.")
def cli(verbose: bool) -> None:
    """A fail-closed governance layer for the MLflow model registry.

    \b
    Start here:
      mlflow-governance server                        a governed MLflow on this machine
      mlflow-governance keys new signer.pem           a key to sign models with
      mlflow-governance trust add ci --key signer.pub --for signature,provenance,…
      mlflow-governance submit runs:/RUN/model --name churn --key signer.pem
      mlflow-governance show churn/1                  what is missing, and the mending command

    \b
    Commands that ask a server find it as MLflow's own client does: MLFLOW_TRACKING_URI,
    MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD.

    \b
    Exit codes: 0 done, 2 wrong usage, 3 verification failed, 4 denied, 5 somebody was
    faster, 6 the installation must be mended, 7 a part is away, 1 anything else.
    """
    logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING)


def main() -> NoReturn:
    """Run the command line; governance errors end with their own exit code.

    So does what the system says of a file somebody named; ``--verbose`` shows where it was met.
    """
    if not sys.stderr.isatty():  # MLflow's progress bars would clutter every log
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("aborted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except GovernanceError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is None:  # of no file: a fault of ours, to be seen in full
            raise
        _log.debug("where it was met", exc_info=error)
        click.echo(f"error: {error.filename}: {error.strerror}", err=True)
        sys.exit(InvalidRequest.exit_code)
    sys.exit(0)


if __name__ == "__main__":
    main()
