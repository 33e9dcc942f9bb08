"""``policy build``, ``sign``, ``verify`` and ``show``: a bundle as it travels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_governance import config
from mlflow_governance.cli import policy_source
from mlflow_governance.cli.policy_source import bundle_option, home_option
from mlflow_governance.core import moment
from mlflow_governance.errors import ConfigurationError, InvalidRequest

if TYPE_CHECKING:
    from mlflow_governance.policy.bundle import Bundle
    from mlflow_governance.policy.signing import SigningKey, TrustedKey

_scope = click.option("--scope", default="", help="What the signature says the bundle is for.")
_password = click.option("--password", is_flag=True, help="Ask for its password, or PIN.")
_existing = click.Path(path_type=Path, exists=True)
_KEY = "Private key: a file (PEM or cosign; RSA, too), or hsm:2, awskms:…, hv:…"
_KEY_ID = "Name of the key, as trust.yaml and OPA (--verification-key-id) know it."


@click.command()
@bundle_option
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="FILE.tar.gz")
@click.option("--key", help=_KEY)
@click.option("--key-id", help=_KEY_ID)
@_password
@_scope
@home_option
def build(bundle: Path | None, output: Path, home: str | None, **signing: Any) -> None:
    """Write the bundle as one file, and print its digest; with --key it is signed.

    The same policies give the same bytes on any machine. Tests and Markdown are left out, and the
    revision in it is the digest, so that an OPA server says which policies it has.

    \b
    mlflow-governance policy build --bundle policies -o bundle.tar.gz \\
        --key security.pem --key-id security
    opa run --server -b bundle.tar.gz --verification-key security.pub \\
        --verification-key-id security --signing-alg ES256
    """
    from mlflow_governance.policy import bundle as bundles
    from mlflow_governance.policy import signing as signatures

    key = _signing_key(**_named(signing)) if signing["key"] or signing["key_id"] else None
    loaded = bundles.from_files(policy_source.files(bundle, home))
    signed = signatures.sign(loaded.published(), key, signing["scope"]) if key else None
    _write(output, loaded.archive(signed))
    click.echo(loaded.digest)


@click.command()
@click.option("--bundle", type=_existing, required=True, help="Folder or .tar.gz; signed in place.")
@click.option("--key", required=True, help=_KEY)
@click.option("--key-id", required=True, help=_KEY_ID)
@_password
@_scope
def sign(bundle: Path, scope: str, **signing: Any) -> None:
    """Sign a bundle in OPA's own format; a signature that is there is replaced.

    A file is written anew with .signatures.json in it, a folder gets that file. It covers every
    file that is there, so that adding, removing, renaming or changing one is refused.

    \b
    mlflow-governance policy sign --bundle bundle.tar.gz --key security.pem --key-id security
    """
    from mlflow_governance.policy import archive
    from mlflow_governance.policy import bundle as bundles
    from mlflow_governance.policy import signing as signatures

    files = {n: data for n, data in bundles.read(bundle).items() if n != bundles.SIGNATURES}
    loaded = bundles.from_files(files)  # nobody signs what no engine would take
    made = signatures.sign(files, _signing_key(**_named(signing)), scope)
    if bundle.is_dir():
        _write(bundle / bundles.SIGNATURES, made)
    else:
        _write(bundle, archive.pack({**files, bundles.SIGNATURES: made}))
    click.echo(f"{bundle}: {loaded.digest} signed by {signing['key_id']}")


@click.command()
@click.argument("bundle", type=_existing)
@click.option("--key", type=_existing, help="Public key, PEM; default: trust.yaml of the home.")
@_scope
@home_option
def verify(bundle: Path, key: Path | None, scope: str, home: str | None) -> None:
    """Say who signed a BUNDLE (folder or .tar.gz), or why the signature does not count.

    \b
    mlflow-governance policy verify bundle.tar.gz --key security.pub
    mlflow-governance policy verify bundle.tar.gz       signers for policy in trust.yaml
    """
    from mlflow_governance.policy import bundle as bundles
    from mlflow_governance.policy import signing

    files = bundles.read(bundle)
    signer = signing.verify(files, _trusted(key, home), moment.now(), scope)
    click.echo(f"{bundles.from_files(files).digest} is signed by {signer}")


@click.command()
@home_option
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def show(home: str | None, as_json: bool) -> None:
    """Say where the policies come from, their digest, who signed them, and their gates.

    Fetches them as a start of the server would.
    """
    from mlflow_governance import bootstrap

    loaded = bootstrap.policy_source(config.load(config.home_folder(home))).fetch()
    found = {
        "from": loaded.origin,
        "digest": loaded.bundle.digest,
        "signer": loaded.signer,
        "stale": loaded.stale,
        "gates": _gates(loaded.bundle),
    }
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"from:   {loaded.origin}")
    if loaded.stale:
        click.echo(f"        the kept copy: {loaded.stale}")
    click.echo(f"digest: {loaded.bundle.digest}")
    click.echo(f"signer: {loaded.signer or 'not asked for'}")
    for gate, checks in _gates(loaded.bundle).items():
        click.echo(f"gate:   {gate}, {checks} checks")


def _gates(bundle: Bundle) -> dict[str, int]:
    # Which checks there are may depend on the dossier, so an empty one would not tell.
    from mlflow_governance.policy import gate_check
    from mlflow_governance.policy.syntax import parse

    trees, _ = parse(bundle.modules)
    return {gate.value: len(codes) for gate, codes in gate_check.codes(bundle, trees).items()}


def _named(signing: dict[str, Any]) -> dict[str, Any]:
    secret = click.prompt("password", hide_input=True).encode() if signing["password"] else None
    return {"reference": signing["key"], "key_id": signing["key_id"], "password": secret}


def _signing_key(reference: str | None, key_id: str | None, password: bytes | None) -> SigningKey:
    from mlflow_governance.evidence.keys import open_key
    from mlflow_governance.policy.signing import SigningKey

    if not reference or not key_id:
        raise InvalidRequest(
            "a signature needs a key and its name", advice="Give both: --key KEY.pem --key-id NAME"
        )
    rsa = _rsa(Path(reference), key_id, password)
    if rsa is not None:
        return rsa
    key = open_key(reference, password)
    return SigningKey(key_id, key.public.pem, key.sign)


def _rsa(path: Path, key_id: str, password: bytes | None) -> SigningKey | None:
    """An RSA key from a PEM file, which signs bundles for OPA and no evidence; else None."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from mlflow_governance.evidence.keys import read_secret
    from mlflow_governance.policy.signing import rsa_signing_key

    if not path.is_file():
        return None
    try:
        key = load_pem_private_key(read_secret(path, "private key", f"chmod 600 {path}"), password)
    except (ValueError, TypeError):
        return None  # open_key says what is wrong with it
    return rsa_signing_key(key_id, key) if isinstance(key, RSAPrivateKey) else None


def _trusted(key: Path | None, home: str | None) -> list[TrustedKey]:
    from mlflow_governance import bootstrap
    from mlflow_governance.policy.signing import TrustedKey

    if key is None:
        return bootstrap.policy_keys(config.load(config.home_folder(home)))
    try:
        return [TrustedKey(key.name, key.read_text("utf-8"))]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the public key {key} cannot be read: {error}") from error


def _write(path: Path, data: bytes) -> None:
    from mlflow_governance.policy.sources import write_atomically

    try:
        write_atomically(path, data, 0o644)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error}") from error


COMMANDS = (build, sign, verify, show)
