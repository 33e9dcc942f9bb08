"""``trust``: who may sign what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from mlflow_governance import config
from mlflow_governance.core import moment
from mlflow_governance.custody import apart
from mlflow_governance.errors import InvalidRequest, NotFound
from mlflow_governance.evidence import authority
from mlflow_governance.evidence.authority import Authority
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.trust import (
    Signer,
    TrustPolicy,
    Withdrawal,
    add_signer,
    withdraw_signer,
)

_file = click.Path(path_type=Path)
_home = click.option("--home", default=None, help="Home folder of the installation.")


@click.group()
def trust() -> None:
    """Say who may sign what (trust.yaml in the home folder).

    The running server sees a change at once.
    """


@trust.command()
@click.argument("name")
@click.option("--key", type=_file, help="Public key, PEM.")
@click.option("--roots", type=_file, help="Certificates of the authority that issues NAME's.")
@click.option("--identity", help="Whom a certificate or an issuer names, letter by letter.")
@click.option("--issuer", help="Keyless signing: who knows the identity, a URL.")
@click.option("--sigstore-root", type=_file, help="trusted_root.json; default: public Sigstore.")
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
def add(name: str, purposes: str, models: str, home: str | None, **options: Any) -> None:
    """Trust NAME for some purposes and models: by a key, a certificate or an identity.

    \b
    mlflow-governance trust add training --key training.pub --for signature,provenance
    mlflow-governance trust add lab --roots ca.pem --identity lab@acme.example \\
        --for signature
    mlflow-governance trust add workflow --for signature,provenance \\
        --issuer https://token.actions.githubusercontent.com \\
        --identity https://github.com/acme/models/.github/workflows/train.yml@refs/heads/main
    """
    signer = Signer(
        name=name,
        by=_authority(options),
        purposes=frozenset(_purpose(word) for word in purposes.split(",")),
        models=tuple(pattern.strip() for pattern in models.split(",")),
        since=_instant(options["since"]),
        until=_instant(options["until"]),
    )
    path = _trust_file(home)
    own = apart.own_keys(config.load(config.home_folder(home)))
    apart.refuse_own(TrustPolicy((signer,)), own)
    add_signer(path, signer)
    click.echo(f"{path}: {name} is trusted for {', '.join(sorted(signer.purposes))}")


@trust.command()
@click.argument("name")
@click.option("--reason", required=True, help="Why, for whoever is refused because of it.")
@click.option("--at", "since", help="From this instant on (RFC 3339); default: now.")
@_home
def withdraw(name: str, reason: str, since: str | None, home: str | None) -> None:
    """Stop counting what NAME signs: a key was lost, or somebody left.

    What was signed before that instant goes on counting only where a time stamp of an authority
    under `timestamping` in trust.yaml proves it. Comments in trust.yaml are lost.
    """
    path = _trust_file(home)
    at = _instant(since) or moment.now()
    withdraw_signer(path, name, Withdrawal(at, reason))
    click.echo(f"{path}: {name} is withdrawn as of {moment.to_text(at)}")


@trust.command()
@_home
def show(home: str | None) -> None:
    """List everybody who is trusted, and for what."""
    policy = TrustPolicy.load(config.load(config.home_folder(home)).trust_file)
    for signer in policy.signers:
        limits = "".join(
            f" {word} {moment.to_text(at)}"
            for word, at in (
                ("from", signer.since),
                ("until", signer.until),
                ("withdrawn", signer.withdrawn and signer.withdrawn.at),
            )
            if at
        )
        click.echo(
            f"{signer.name}: {', '.join(sorted(signer.purposes))} "
            f"for {', '.join(signer.models)}{limits}  {signer.by.id}"
        )
    for threshold in policy.thresholds:
        click.echo(
            f"{threshold.least} of {', '.join(sorted(threshold.of)) or 'all'} must sign "
            f"{', '.join(sorted(threshold.purposes))} for {', '.join(threshold.models)}"
        )
    for stamping in policy.timestamping:
        click.echo(f"{stamping.name}: time stamps")
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


def _trust_file(home: str | None) -> Path:
    settings = config.load(config.home_folder(home))
    if not settings.installed:
        raise NotFound(
            f"{settings.home} is not the home folder of an installation",
            advice="Name it with --home, or start the server once: mlflow-governance server",
        )
    return settings.trust_file


def _authority(options: Mapping[str, Any]) -> Authority:
    """The one authority the options describe, by way of what they would be in trust.yaml."""
    given = [word for word in ("key", "roots", "issuer") if options[word]]
    if len(given) != 1 or bool(options["identity"]) == (given == ["key"]):
        raise InvalidRequest(
            "say who it is in one way",
            advice="Give --key FILE, or --roots FILE and --identity, or --issuer and --identity.",
        )
    if given == ["key"]:
        return authority.read({"key": _content(options["key"])}, Path())
    if given == ["roots"]:
        named = {"roots": _content(options["roots"]), "identity": options["identity"]}
        return authority.read({"certificate": named}, Path())
    keyless = {"issuer": options["issuer"], "identity": options["identity"]}
    if options["sigstore_root"]:
        keyless["root"] = _content(options["sigstore_root"])
    return authority.read({"keyless": keyless}, Path())


def _content(path: Path) -> str:
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{path} is not a text file") from error


def _purpose(word: str) -> Purpose:
    try:
        return Purpose(word.strip())
    except ValueError as error:
        known = ", ".join(purpose.value for purpose in Purpose)
        raise InvalidRequest(f"unknown purpose {word!r}", advice=f"Purposes: {known}.") from error


def _instant(text: str | None) -> datetime | None:
    return moment.parse(text) if text else None
