"""``sign``: a further signature over a registered model, where several people must sign."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_governance.cli.sealing import sealing
from mlflow_governance.core import moment
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import VerificationError

if TYPE_CHECKING:
    from mlflow_governance.submission.seal import SealOptions


@click.command()
@click.argument("version", metavar="NAME/VERSION")
@sealing
def sign(version: str, seal: SealOptions) -> None:
    """Sign the files of NAME/VERSION and attach the signature.

    Fetches the model, hashes it and compares it with what the registry knows, so that nobody
    signs what they have not got. `submit` signs first; this adds the others where trust.yaml has
    a threshold for signatures.

    \b
    mlflow-governance sign churn/3 --key security.pem
    """
    from mlflow_governance.cli.client import RegistryClient
    from mlflow_governance.evidence.hashing import hash_directory
    from mlflow_governance.submission import source as sources
    from mlflow_governance.submission.seal import open_seal

    ref = VersionRef.parse(version)
    signer = open_seal(seal)
    client = RegistryClient()
    known = client.version(ref)["digest"]
    with tempfile.TemporaryDirectory(prefix="mlflow-governance-") as temporary:
        source = sources.resolve(f"models:/{ref}")
        manifest = hash_directory(sources.download(source, Path(temporary)), private=True)
    if manifest.digest != known:
        raise VerificationError(
            f"the files of {ref} are {manifest.digest}, the registry knows {known}",
            advice=f"Have it looked at: mlflow-governance quarantine {ref} --reason tampered",
        )
    file = f"signatures/{moment.now():%Y%m%dT%H%M%S%f}.sig"
    client.attach(ref, file, signer.model(manifest, ref.name))
    click.echo(f"attached {file} to {ref}: {manifest.digest}")
