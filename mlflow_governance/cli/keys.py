"""``keys``: signing keys."""

from __future__ import annotations

from pathlib import Path

import click

from mlflow_governance.evidence.keys import Algorithm, generate_key_pair, load_private_key


@click.group()
def keys() -> None:
    """Make and inspect signing keys.

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
@click.argument("path", type=click.Path(path_type=Path))
def show(path: Path) -> None:
    """Say which key PATH holds."""
    key = load_private_key(path).public
    click.echo(f"{key.algorithm} {key.key_id}")
