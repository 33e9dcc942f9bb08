"""``submit``: what producers run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_governance.cli.sealing import sealing
from mlflow_governance.errors import Denied

if TYPE_CHECKING:
    from mlflow_governance.submission.seal import SealOptions
    from mlflow_governance.submission.submit import Progress

_path = click.Path(path_type=Path, exists=True, dir_okay=False)
_folder = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command()
@click.argument("model_uri")
@sealing
@click.option("--name", help="Registered model; needed unless the URI names one.")
@click.option("--model-card", type=_path, help="model_card.yaml of the author.")
@click.option("--test-result", type=_path, help='JSON {"result": "PASSED"} or JUnit XML.')
@click.option("--test-key", help="Key that signs the test result; default: who signs the model.")
@click.option("--sbom", type=_path, help="SBOM of another tool; default: from this environment.")
@click.option("--dataset", "datasets", type=_path, multiple=True, help="A data file; repeatable.")
@click.option("--layout", type=_folder, help="Folder with an in-toto layout and its links.")
@click.option("--builder-id", default="", help="Who built the model, e.g. the pipeline's URL.")
@click.option("--no-register", is_flag=True, help="Write the evidence only.")
def submit(
    model_uri: str, name: str | None, no_register: bool, seal: SealOptions, **files: Any
) -> None:
    """Sign, describe and register the model MODEL_URI.

    Writes into the model's own directory, under governance/evidence: the manifest, the OpenSSF
    Model Signing signature, SLSA provenance, the data sets logged with the run, a CycloneDX
    ML-BOM with the model card inside, and model_card.md. Then registers it, which judges it.
    Exit code 4: all that is done, and the version is not accepted; it says why.

    \b
    mlflow-governance submit runs:/RUN/model --name churn --key signer.pem \\
        --model-card model_card.yaml --test-result report.xml
    mlflow-governance submit models:/churn/3 --key signer.pem     (registered already)
    mlflow-governance submit runs:/RUN/model --name churn --keyless     (in a CI job)
    """
    from mlflow_governance.submission.seal import open_seal
    from mlflow_governance.submission.submit import SubmitOptions
    from mlflow_governance.submission.submit import submit as run

    with _bar() as progress:
        options = SubmitOptions(
            **files, password=seal.password, register=not no_register, progress=progress
        )
        done = run(model_uri, key=open_seal(seal), name=name, options=options)
    click.echo(f"submitted {done.model_digest} with {len(done.files)} files of evidence")
    if done.version is None:
        return
    if done.stage == "None":
        raise Denied(
            f"{done.version} is not accepted yet", advice=f"mlflow-governance show {done.version}"
        )
    click.echo(f"{done.version} is at {done.stage}")
    if done.warnings:
        click.echo(f"warnings, which deny nothing now:\n{done.warnings}")


@contextmanager
def _bar() -> Iterator[Progress | None]:
    """A progress bar over the bytes hashed, on terminals only."""
    if not sys.stderr.isatty():
        yield None
        return
    with ExitStack() as stack:
        bars: list[Any] = []

        def tell(count: int, total: int) -> None:
            if not bars:
                bar = click.progressbar(length=total, label="hashing", file=sys.stderr)
                bars.append(stack.enter_context(bar))
            bars[0].update(count)

        yield tell
