"""``keys``: signing keys."""

from __future__ import annotations

from pathlib import Path

import click

from mlflow_governance.evidence.key_reference import is_reference
from mlflow_governance.evidence.keys import Algorithm, generate_key_pair, open_key


@click.group()
def keys() -> None:
    """Make, inspect and change signing keys.

    A key signs models and statements only if trust.yaml says so: `mlflow-governance trust add`.
    Keys of cosign (`cosign generate-key-pair`) work everywhere a key file is asked for.
    """


@keys.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--algorithm",
    type=click.Choice(["ecdsa-p256", "ed25519"]),
    default="ecdsa-p256",
    show_default=True,
    help="Models are signed with ecdsa-p256 (OpenSSF Model Signing).",
)
@click.option("--password", is_flag=True, help="Ask for a password to encrypt the key with.")
def new(path: Path, algorithm: Algorithm, password: bool) -> None:
    """Make a private key at PATH (mode 0600) and its public half beside it."""
    secret = click.prompt("password", hide_input=True, confirmation_prompt=True) if password else ""
    generate_key_pair(path, algorithm=algorithm, password=secret.encode() or None)
    public = path.with_suffix(".pub")
    click.echo(f"private key: {path} (keep it; nothing can restore it)")
    click.echo(f"public key:  {public}")
    click.echo(
        f"next: mlflow-governance trust add NAME --key {public} "
        "--for signature,provenance,sbom,model-card,dataset,test-result"
    )


@keys.command()
@click.argument("path")
def show(path: str) -> None:
    """Say which key PATH holds: a file, or a reference such as hsm:2."""
    key = open_key(path).public
    click.echo(f"{key.algorithm} {key.key_id}")


@keys.group()
def rotate() -> None:
    """Change a key of the installation."""


@rotate.command("ledger")
@click.option("--to", default="", help="The new key: a file, or hsm:2, awskms:…; default: made.")
@click.option("--reason", required=True, help="Why, for the record.")
@click.option("--destroy", is_flag=True, help="Remove the old private key instead of keeping it.")
@click.option(
    "--backend-store-uri", default="sqlite:///mlflow.db", show_default=True, help="The database."
)
@click.option("--home", default=None, help="Home folder of the installation.")
def rotate_ledger_key(
    to: str, reason: str, destroy: bool, backend_store_uri: str, home: str | None
) -> None:
    """Hand the ledger over to another key.

    One transaction records `ledger.rekeyed` under the old key and has both keys sign the head.
    From then on the new key signs; the old one counts for what was before and for nothing else,
    whoever has it. The old file is kept beside the new one as ledger-….pem.retired.

    Servers may run meanwhile: those with this home folder go on with the new key by themselves,
    others refuse to write until they have it. Whoever verifies the ledger elsewhere needs nothing
    new: checkpoints/ holds the one that both signed. A witness goes on when its people have given
    it the new key, as one more --log.

    \b
    mlflow-governance keys rotate ledger --reason "yearly"
    mlflow-governance keys rotate ledger --to 'hsm:2?pin-source=/run/secrets/pin' --reason "to HSM"
    """
    from mlflow_governance import config
    from mlflow_governance.cli.operation import open_sessions, open_store, operator
    from mlflow_governance.custody.rotation import Rotation, rotate_ledger
    from mlflow_governance.errors import NotFound
    from mlflow_governance.store.ledger import SqlLedger

    settings = config.load(config.home_folder(home))
    if not settings.installed:
        raise NotFound(
            f"{settings.home} is not the home folder of an installation",
            advice="Name it with --home, or start the server once: mlflow-governance server",
        )
    history = rotate_ledger(
        settings,
        open_store(settings, backend_store_uri),
        SqlLedger(open_sessions(backend_store_uri)),
        Rotation(operator(), reason, to, destroy),
    )
    at = history.handovers[-1].at
    click.echo(f"handed over after {at.size} entries, signed by both keys:")
    click.echo(f"  before {history.keys[-2].encode()}")
    click.echo(f"  now    {history.newest.encode()}")
    click.echo(f"copy off this host: {settings.checkpoint_folder / f'{at.size:012d}.checkpoint'}")
    if to:
        place = to if is_reference(to) else Path(to).resolve()  # config.yaml has its own "here"
        click.echo(f"next: set ledger_key: {place} in config.yaml")
    for witness in settings.checkpoint_options.witnesses:
        click.echo(
            f"next: ask the people of {witness.key.name} to start it with one more "
            f"--log '{history.newest.encode()}'"
        )
