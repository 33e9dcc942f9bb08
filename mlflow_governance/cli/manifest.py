"""``manifest``: what a signature of a model is over, for tools other than ours."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click


@click.command()
@click.argument("model")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File; default: print.")
def manifest(model: str, output: Path | None) -> None:
    """Write the manifest of MODEL, a folder or a model URI.

    It names every file with its size and SHA-256, and its own SHA-256 is the digest of the
    model. So whoever signs this file signs the model, and an attestation about it is one about
    the model; put what they write beside the model, under governance/evidence:

    \b
    mlflow-governance manifest runs:/RUN/model -o manifest.json
    cosign sign-blob --key cosign.key --bundle manifest.json.sigstore.json manifest.json
    cosign attest-blob --key cosign.key --type slsaprovenance1 --predicate p.json \\
        --bundle provenance.intoto.json manifest.json     (into attestations/)

    cosign 3 tells the public log unless it gets --use-signing-config=false --tlog-upload=false.
    """
    from mlflow_governance.core import digest
    from mlflow_governance.evidence.hashing import hash_directory
    from mlflow_governance.evidence.signature import manifest_file
    from mlflow_governance.submission import source as sources

    with tempfile.TemporaryDirectory(prefix="mlflow-governance-") as temporary:
        folder = Path(model)
        private = not folder.is_dir()
        if private:
            folder = sources.download(sources.resolve(model), Path(temporary))
        data = manifest_file(hash_directory(folder, private=private))
    if output is None:
        click.echo(data, nl=False)
    else:
        output.write_bytes(data)
        click.echo(f"{output}: {digest.of_bytes(data)}")
