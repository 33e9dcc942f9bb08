"""``trust``: who may sign what."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from mlflow_governance import config
from mlflow_governance.core import moment
from mlflow_governance.errors import InvalidRequest, NotFound
from mlflow_governance.evidence.keys import PublicKey
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.trust import Signer, TrustPolicy, add_signer

_home = click.option("--home", default=None, help="Home folder of the installation.")


@click.group()
def trust() -> None:
    """Say who may sign what (trust.yaml in the home folder).

    The running server sees a change at once.
    """


@trust.command()
@click.argument("name")
@click.option("--key", required=True, type=click.Path(path_type=Path), help="Public key, PEM.")
@click.option(
    "--for",
    "purposes",
    required=True,
    help="Comma-separated: " + ", ".join(purpose.value for purpose in Purpose),
)
@click.option("--models", default="*", show_default=True, help="Comma-separated name patterns.")
@click.option("--from", "since", help="Valid from this instant (RFC 3339).")
@click.option("--until", help="Valid until this instant (RFC 3339).")
@_home
def add(name: str, key: Path, purposes: str, home: str | None, **options: str | None) -> None:
    """Trust the key of NAME for some purposes and models."""
    if not key.is_file():
        raise NotFound(f"there is no public key file {key}")
    signer = Signer(
        name=name,
        key=PublicKey.from_pem(key.read_bytes()),
        purposes=frozenset(_purpose(word) for word in purposes.split(",")),
        models=tuple(pattern.strip() for pattern in str(options["models"]).split(",")),
        since=_instant(options["since"]),
        until=_instant(options["until"]),
    )
    settings = config.load(config.home_folder(home))
    if not settings.ledger_key.exists():
        raise NotFound(
            f"{settings.home} is not the home folder of an installation",
            advice="Name it with --home, or start the server once: mlflow-governance server",
        )
    path = settings.trust_file
    add_signer(path, signer)
    click.echo(f"{path}: {name} is trusted for {', '.join(sorted(signer.purposes))}")


@trust.command()
@_home
def show(home: str | None) -> None:
    """List everybody who is trusted, and for what."""
    policy = TrustPolicy.load(config.load(config.home_folder(home)).trust_file)
    for signer in policy.signers:
        limits = "".join(
            f" {word} {moment.to_text(at)}"
            for word, at in (("from", signer.since), ("until", signer.until))
            if at
        )
        click.echo(
            f"{signer.name}: {', '.join(sorted(signer.purposes))} "
            f"for {', '.join(signer.models)}{limits}  {signer.key.key_id}"
        )
    if not policy.signers:
        click.echo("nobody is trusted: mlflow-governance trust add NAME --key FILE.pub --for …")


@trust.command()
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File; default: print.")
def export(output: Path | None) -> None:
    """Fetch the trust policy a serving process needs (signers and the registry's key).

    Bring it to serving hosts over a way you trust: everything verified there rests on it.
    """
    from mlflow_governance.cli.client import RegistryClient

    document = RegistryClient().trust()
    if output is None:
        click.echo(document, nl=False)
    else:
        output.write_bytes(document)
        click.echo(f"{output}: set MLFLOW_GOVERNANCE_TRUST={output} where models are loaded")


def _purpose(word: str) -> Purpose:
    try:
        return Purpose(word.strip())
    except ValueError as error:
        known = ", ".join(purpose.value for purpose in Purpose)
        raise InvalidRequest(f"unknown purpose {word!r}", advice=f"Purposes: {known}.") from error


def _instant(text: str | None) -> datetime | None:
    return moment.parse(text) if text else None
