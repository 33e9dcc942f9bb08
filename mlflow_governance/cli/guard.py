"""``guard``: verify a model, then serve the verified copy."""

from __future__ import annotations

import sys

import click

from mlflow_governance.errors import InvalidRequest


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--refresh", default=60.0, show_default=True, help="Seconds between two checks while it runs."
)
@click.option("--verify-only", is_flag=True, help="Verify, print the copy's path, and end.")
@click.argument("uri")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def guard(uri: str, command: tuple[str, ...], refresh: float, verify_only: bool) -> None:
    """Verify the model URI, then run COMMAND on the verified private copy.

    {model} in COMMAND stands for the copy's path. Signature, provenance, the registry's
    verification summary, policy digest and revocation are checked on the very bytes that are
    served, and again while the command runs. Exit code 3: it does not verify.

    \b
    Whom to trust:   MLFLOW_GOVERNANCE_TRUST=trust.yaml   (mlflow-governance trust export)
    Without network: MLFLOW_GOVERNANCE_OFFLINE=true       (uses the last verified copy)

    \b
    mlflow-governance guard models:/churn/Approved -- \\
        mlflow models serve -m {model} --env-manager local --port 8080
    """
    from mlflow_governance.serving.guard import Timing
    from mlflow_governance.serving.guard import guard as run
    from mlflow_governance.serving.settings import ServingSettings
    from mlflow_governance.serving.verify import verify

    settings = ServingSettings.from_env()
    words = command[1:] if command[:1] == ("--",) else command
    if verify_only:
        click.echo(verify(uri, settings).path)
        return
    if words and words[0].startswith("--"):
        raise InvalidRequest(f"{words[0]} goes before the URI: guard {words[0]} {uri}")
    if not words:
        raise InvalidRequest(
            "no command to run on the model",
            advice=f"mlflow-governance guard {uri} -- mlflow models serve -m {{model}}",
        )
    sys.exit(run(uri, words, settings, timing=Timing(refresh=refresh)))
